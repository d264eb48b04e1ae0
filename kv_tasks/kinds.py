"""The kinds of dictionary retrieval by name; a further kind is one more entry."""

from kv_tasks.dictionaries import Kind
from kv_tasks.errors import UsageError
from kv_tasks.kv_multi_query import MULTI_QUERY
from kv_tasks.kv_multi_subkey import MULTI_SUBKEY
from kv_tasks.kv_simple import SIMPLE

KINDS: dict[str, Kind] = {kind.name: kind for kind in (SIMPLE, MULTI_SUBKEY, MULTI_QUERY)}


def kind_of(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        UsageError: when there is none of that name.
    """
    if name not in KINDS:
        raise UsageError(f"kind {name!r}: unknown; choose one of {', '.join(KINDS)}")
    return KINDS[name]
