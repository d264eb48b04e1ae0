"""Join two runs document by document; what does not join is counted and named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.samples import Sample
from kv_tasks.errors import RunError

NAMED = 10


@dataclass(frozen=True)
class Pair:
    """The same prompt answered by both models."""

    base: Sample
    other: Sample


@dataclass(frozen=True)
class Unmatched:
    """Documents of one task that could not be compared, by ``doc_id``, and why."""

    task: str
    reason: str
    documents: tuple[int, ...]

    @property
    def summary(self) -> str:
        """How many, and why."""
        return f"{self.task}: {len(self.documents)} prompts {self.reason}"

    def __str__(self) -> str:
        names = ", ".join(map(str, self.documents[:NAMED]))
        rest = len(self.documents) - NAMED
        return f"{self.summary}: {names}" + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class Pairing:
    """One task of two runs: what joined, and what did not."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]


def pair(base: Run, other: Run, task: str) -> Pairing:
    """Join a task of two runs by document id, document hash and prompt hash.

    Raises:
        RunError: the runs were scored by other metrics, or share no prompt.
    """
    mine, theirs = base.tasks[task], other.tasks[task]
    if (mine.metric, mine.filter) != (theirs.metric, theirs.filter):
        raise RunError(
            f"{task}: {base.label} has {mine.metric},{mine.filter} and {other.label} has "
            f"{theirs.metric},{theirs.filter}; evaluate both with the same task version (or the "
            "first metric lies outside 0 to 1 in one of them alone)"
        )
    by_key = {sample.key: sample for sample in theirs.samples}
    pairs = tuple(Pair(s, by_key[s.key]) for s in mine.samples if s.key in by_key)
    if not pairs:
        raise RunError(
            f"{task}: no prompt of {base.label} is also in {other.label}; were chat template, "
            "limit or seed different, or the date that the chat template writes?"
        )
    joined = {found.base.key for found in pairs}
    left = {_document(s) for s in mine.samples if s.key not in joined}
    right = {_document(s) for s in theirs.samples if s.key not in joined}
    reasons = (
        (f"that differ between {base.label} and {other.label}", left & right),
        (f"only in {base.label}", left - right),
        (f"only in {other.label}", right - left),
    )
    return Pairing(
        pairs, tuple(Unmatched(task, reason, _ids(found)) for reason, found in reasons if found)
    )


def missing_tasks(base: Run, other: Run) -> list[str]:
    """Name the tasks that only one of two runs has, or that came without what can be compared."""
    lines = []
    for run, rest in ((base, other), (other, base)):
        # One that came without samples is named as that alone.
        known = {*rest.tasks, *rest.without_samples, *rest.unfit}
        lines += [f"{name}: {why}" for name, why in run.unfit.items()]
        lone = [name for name in run.tasks if name not in known]
        lines += [f"{name}: only in {run.label}" for name in _by_group(lone, run.groups)]
        lines += [
            f"{name}: no samples in {run.label}; run lm_eval with --log_samples"
            for name in run.without_samples
        ]
    return lines


def _by_group(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield names, or their group's where all of its members are among them; largest first."""
    left = dict.fromkeys(names)
    for group, members in sorted(groups.items(), key=lambda item: len(item[1]), reverse=True):
        if len(members) > 1 and all(name in left for name in members):
            yield f"{group} ({len(members)} tasks)"
            for name in members:
                del left[name]
    yield from left


def _document(sample: Sample) -> tuple[int, str]:
    return sample.doc_id, sample.doc_hash


def _ids(documents: Iterable[tuple[int, str]]) -> tuple[int, ...]:
    return tuple(sorted(doc_id for doc_id, _ in documents))
