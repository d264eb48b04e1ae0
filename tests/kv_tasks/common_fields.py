"""The fields that the comparison and the report read of every task's documents."""

from typing import Any

FIELDS = {"question_id", "gold_position", "depth", "length", "answers"}


def check_document(doc: dict[str, Any], *, where: str) -> None:
    """Fail, naming ``where``, when a document lacks one of the common fields."""
    assert set(doc) >= FIELDS, f"{where}: {sorted(FIELDS - set(doc))} missing"
