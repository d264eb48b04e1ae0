"""Whether two runs are the ones that were meant: of one base, computed alike, the base first.

Said, not refused, where it may be meant: a merged model beside its base is another base model. What
cannot be meant is refused, for a gate's exit code is read without its warnings.
"""

from collections.abc import Iterator

from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.unread import INVALID
from kv_tasks.errors import RunError


def refuse_mistaken(base: Run, other: Run) -> None:
    """Refuse runs that nobody compares on purpose.

    Raises:
        RunError: the base comes second, or is not the one that the adapter is of.
    """
    if base.adapter and not other.adapter:
        raise RunError(
            f"{base.folder}: an adapter's run, and {other.folder} is none; name the base first"
        )
    sums = base.base_sha256, other.base_sha256
    if other.adapter and all(sums) and sums[0] != sums[1]:
        raise RunError(
            f"{other.folder}: an adapter of another base model than {base.folder} is of "
            f"({str(sums[1])[:12]} and {str(sums[0])[:12]}); compare it with its own"
        )


def doubts(base: Run, other: Run) -> list[str]:
    """Say where what the results record speaks against a comparison; nothing where they do not."""
    found = []
    if base.base_sha256 and other.base_sha256 and base.base_sha256 != other.base_sha256:
        found.append(
            f"{base.label} and {other.label} are of different base models "
            f"({base.base_sha256[:12]} and {other.base_sha256[:12]}); what changed need not be "
            "training's doing"
        )
    if count := unchanged(base, other):
        found.append(
            f"all {count} answers of {other.label} are those of {base.label}, to the letter: the "
            "adapter was not applied, or does nothing; kv-adapters verify tells which"
        )
    found += [
        f"{base.label} was computed by {one}, {other.label} by {two}; part of what changed may be "
        "their doing"
        for one, two in dict.fromkeys(_computed(base, other))
    ]
    return found


def unchanged(base: Run, other: Run) -> int:
    """Return how many answers two runs have in common if that is all of them, else 0.

    What no filter could read, and silence, is nobody's answer, and does not count; where only one
    run has it, the two differ.
    """
    count = 0
    for name in base.tasks.keys() & other.tasks.keys():
        answers = {sample.key: sample.response for sample in base.tasks[name].samples}
        for sample in other.tasks[name].samples:
            if sample.key not in answers:
                continue
            if answers[sample.key] != sample.response:
                return 0
            count += sample.response not in ("", INVALID)
    return count


def _computed(base: Run, other: Run) -> Iterator[tuple[str, str]]:
    """Yield by what shared tasks were computed, where that is known of both and differs."""
    for name in (name for name in base.computed if name in other.computed):
        for ways in zip(base.computed[name], other.computed[name], strict=True):
            if all(ways) and ways[0] != ways[1]:
                yield ways
