"""Whether two runs are the ones that were meant: of one base model, and the base first.

Said, not refused: a merged model beside its base is another base model, on purpose.
"""

from kv_adapters.comparison.runs import Run


def doubts(base: Run, other: Run) -> list[str]:
    """Say where what the results record speaks against a comparison; nothing where they do not."""
    found = []
    if base.base_sha256 and other.base_sha256 and base.base_sha256 != other.base_sha256:
        found.append(
            f"{base.label} and {other.label} are of different base models "
            f"({base.base_sha256[:12]} and {other.base_sha256[:12]}); what changed need not be the "
            "adapter's doing"
        )
    if base.adapter and not other.adapter:
        found.append(
            f"{base.label} is an adapter's run and {other.label} is none: the base comes first; "
            "the two look swapped"
        )
    return found
