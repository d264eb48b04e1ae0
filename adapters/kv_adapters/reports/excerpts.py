"""A prompt as a reader wants it: the gold document marked, long stretches of others left out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Characters kept on each side of what is marked, at the prompt's beginning and at its end.
AROUND, FIRST, LAST = 160, 240, 700
# The gold document of one question may be as long as a whole prompt of another.
LONGEST = 2_000


@dataclass(frozen=True)
class Part:
    """A stretch of a prompt: shown plain, marked as gold, or left out and counted."""

    kind: Literal["plain", "gold", "left out"]
    text: str


def excerpt(prompt: str, doc: Mapping[str, Any]) -> list[Part]:
    """Return a prompt in parts, whatever it holds; the parts' order is the prompt's."""
    marked = sorted(_spans(prompt, doc))
    shown = [(0, FIRST), (max(0, len(prompt) - LAST), len(prompt))]
    shown += [(max(0, start - AROUND), end + AROUND) for start, end in marked]
    parts, place = [], 0
    for start, end in _merged(shown, len(prompt)):
        if start > place:
            parts.append(Part("left out", f"{start - place:,} characters"))
        parts += _marked(prompt, start, end, marked)
        place = end
    return parts


def _spans(prompt: str, doc: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield where the gold stands; nothing for a task that does not say what it is."""
    facts = doc.get("facts")
    texts = str(doc.get("gold") or "").splitlines() or (facts if isinstance(facts, list) else [])
    for text in texts:
        if text and (start := prompt.find(str(text))) >= 0:
            yield start, start + min(len(str(text)), LONGEST)
    position = doc.get("gold_position")
    if not texts and position is not None:
        # A document or a dictionary begins with its number and goes to the end of its line.
        for match in re.finditer(rf"^(Document|Dictionary) \[{position}\].*$", prompt, re.M):
            yield match.start(), min(match.end(), match.start() + LONGEST)


def _merged(spans: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], min(stop, end)))
        else:
            merged.append((start, min(stop, end)))
    return merged


def _marked(prompt: str, start: int, end: int, marked: list[tuple[int, int]]) -> Iterator[Part]:
    place = start
    for first, last in marked:
        if place <= first and last <= end:
            if first > place:
                yield Part("plain", prompt[place:first])
            yield Part("gold", prompt[first:last])
            place = last
    if place < end:
        yield Part("plain", prompt[place:end])
