"""Answers as they come: refused where a prompt would be cut, kept when a run is killed.

The harness hands a model all requests of a task or group at once and gets all answers at
once. Between the two, :func:`recorded` computes them in parts: sorted by their text, so that
prompts that begin alike follow one another and an engine finds their prefix in its cache
(all positions of a question, all questions of a haystack), and each part's answers written
down before the next part begins.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kv_adapters.evaluation.truncation import merged, refuse_truncation
from kv_tasks import console
from kv_tasks.journal import Journal

Compute = Callable[..., list[Any]]
# Requests computed together: enough to fill an engine, few enough to lose at a kill.
PART = 64
PART_ON_GPU = 1024
# Characters of a prompt, on average, with which a part is that large; longer ones make fewer. A
# part is then some minutes of work: what a kill loses, and the time between two looks.
_LETTERS = 16_000


def recorded(
    harness_class: type[Any], *, refuses: bool = True, part: int | None = None, least: int = 1
) -> type[Any]:
    """Return a subclass of a harness LM that computes in parts and keeps its answers.

    The subclass keeps its name, which the harness writes into the results. Its ``journal`` is
    set before each unit, and its ``fit``, how the prompts fitted, taken away; without a journal
    nothing is written down.

    Args:
        harness_class: a harness model.
        refuses: whether prompts that would be cut are refused here; not where the model has no
            tokenizer, and a service refuses them itself.
        part: requests whose answers are written down together, :data:`PART` unless said.
        least: of them, however long they are.
    """

    def method(name: str) -> Compute:
        compute: Compute = getattr(harness_class, name)

        def answer(self: Any, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
            if refuses:
                self.fit = merged(self.fit, refuse_truncation(self, requests))
            return _answer(self, name, requests, compute, part or PART, least)

        return answer

    methods = {name: method(name) for name in ("generate_until", "loglikelihood")}
    return type(harness_class.__name__, (harness_class,), {"journal": None, "fit": None, **methods})


def _answer(
    lm: Any, kind: str, requests: Sequence[Any], compute: Compute, size: int, least: int
) -> list[Any]:
    journal: Journal | None = lm.journal
    keys = list(_keys(kind, requests))
    found: dict[str, Any] = {}
    if journal is not None:
        found = {key: journal[key] for key in keys if key in journal}
        if found:
            console.note(f"{len(found)} of {len(keys)} answers kept from an interrupted run")
    missing = [place for place, key in enumerate(keys) if key not in found]
    missing.sort(key=lambda place: str(requests[place].args[0]))
    letters = [len(str(request.args[0])) for request in requests]
    parts = list(_parts(missing, letters, size, least))
    named = f"parts of up to {size} answers"
    for part in console.progress(parts, total=len(parts), named=named):
        answers = compute(lm, [requests[place] for place in part], disable_tqdm=True)
        part_keys = [keys[place] for place in part]
        if journal is not None:
            journal.add(part_keys, answers)
        found |= dict(zip(part_keys, answers, strict=True))
    return [found[key] for key in keys]


def _parts(
    places: Sequence[int], letters: Sequence[int], size: int, least: int
) -> Iterator[list[int]]:
    """Yield places in turn, in parts of up to ``size``, fewer where their prompts are long."""
    part: list[int] = []
    total = 0
    for place in places:
        long = letters[place]
        full = len(part) >= least and total + long > size * _LETTERS
        if part and (full or len(part) == size):
            yield part
            part, total = [], 0
        part.append(place)
        total += long
    if part:
        yield part


def _keys(kind: str, requests: Sequence[Any]) -> Iterator[str]:
    """Yield what a request is known by; one that is asked again, as repeats are, gets another."""
    seen: Counter[str] = Counter()
    for request in requests:
        asked = json.dumps([kind, *request.args[:2]], sort_keys=True, default=str)
        digest = hashlib.sha256(asked.encode()).hexdigest()
        yield f"{digest}:{seen[digest]}"
        seen[digest] += 1
