"""YAML that people write: what would be lost in it without a word is an error."""

from typing import Any

import yaml


def load_once(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        yaml.YAMLError: it is none, or a key is there twice.
    """
    return yaml.load(text, _Once)


class _Once(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error: the last would count, unseen."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it stands in the text, before others are merged into it."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is a list or mapping, not a word", key.start_mark
                )
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is there twice", key.start_mark
                )
            seen.add((key.tag, key.value))
        return node
