"""How fast are prompts of an exact length generated, against the ways in common use?

    python benchmarks/generate.py --tokenizer DIR [--short 350] [--long 1000] [--baseline 3]

Two sets of key-value prompts: all of one window of about 3.9K tokens, and windows drawn from
16K to 32K tokens. Each is made by kv_tasks.training_data, and by three ways of finding how many
dictionaries fit, all of which tokenize the whole prompt for every number they try:

    grow     one dictionary more until the prompt no longer fits, for each prompt
    bisect   doubling and halving the number, for each prompt
    once     the number is sought for the first prompt in steps of 10 % of it (of the default 25
             at least), then kept, and lowered by a step for a prompt that does not fit: the way
             of the public long-context generators; it leaves prompts up to a step short and
             cannot draw a length a prompt, so each set's longest window is used

The slow ways make fewer prompts (printed), and are compared by seconds a prompt, one process
each; ours also with all cores. Chat template and answer are reserved alike.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kv_tasks.dictionaries import Needle, Reserved, needles, prompt, render
from kv_tasks.kv_simple import SIMPLE
from kv_tasks.tokens import load_tokenizer
from kv_tasks.training_data import Specification, generate


@dataclass(frozen=True)
class Side:
    """One way's prompts: how many, in how many seconds, and their tokens."""

    name: str
    prompts: int
    seconds: float
    lengths: tuple[int, ...]

    @property
    def each(self) -> float:
        """Seconds a prompt."""
        return self.seconds / self.prompts


class Straightforward:
    """Builds and tokenizes the whole prompt for each number of dictionaries it tries."""

    def __init__(self, tokenizer: str, seed: int, index: int) -> None:
        self.tokenizer = load_tokenizer(tokenizer)
        self.rng = random.Random(f"benchmark:{seed}:{index}")
        self.golds = SIMPLE.golds(self.rng, 1)
        self.reserved = Reserved.of(self.golds)
        self.others = [SIMPLE.dictionary(self.rng, None, self.reserved)]
        self.gold = SIMPLE.dictionary(self.rng, self.golds[0], self.reserved)

    def build(self, count: int) -> tuple[str, Needle]:
        """Return the prompt of ``count`` dictionaries."""
        while len(self.others) < count:
            self.others.append(SIMPLE.dictionary(self.rng, None, self.reserved))
        shown, place = self.others[:count], count // 2
        shown[place] = self.gold
        (needle,) = needles(SIMPLE, "benchmark", self.golds, [place])
        lines = [render(number, dictionary) for number, dictionary in enumerate(shown, start=1)]
        return prompt(lines, needle.asked(template=True)), needle

    def tokens(self, count: int) -> int:
        """Return the tokens of the whole chat and its answer."""
        text, needle = self.build(count)
        turns = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": needle.answer},
        ]
        return len(self.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False))


def grow(made: Straightforward, window: int, start: int) -> int:
    """Return the largest number of dictionaries, one by one."""
    count = 1
    while made.tokens(count + 1) <= window:
        count += 1
    return count


def bisect(made: Straightforward, window: int, start: int) -> int:
    """Return the largest number of dictionaries by halving."""
    low, high = 1, 2
    while made.tokens(high) <= window:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if made.tokens(middle) <= window else (low, middle)
    return low


def once(made: Straightforward, window: int, start: int) -> int:
    """Return a number that fits, from that of the first prompt (``start``) on."""
    step = 25
    if start == 0:
        count = step
        while made.tokens(count + step) <= window:
            count += step
            step = max(25, count // 10)
        return count
    count = start
    while made.tokens(count) > window:
        count -= step
    return count


def windows(tokens: int, shortest: int | None, prompts: int) -> Iterator[int]:
    """Yield the window of each prompt."""
    specification = Specification(
        samples=prompts, tokens=tokens, shortest=shortest, tokenizer="none"
    )
    for index in range(prompts):
        yield specification.window(index).tokens


def time_theirs(
    name: str,
    way: Callable[[Straightforward, int, int], int],
    specification: Specification,
    prompts: int,
) -> Side:
    """Make ``prompts`` prompts in one of the straightforward ways."""
    assert specification.tokenizer and specification.tokens
    shortest = None if way is once else specification.shortest
    started, lengths, count = time.perf_counter(), [], 0
    for index, window in enumerate(windows(specification.tokens, shortest, prompts)):
        made = Straightforward(specification.tokenizer, 0, index)
        count = way(made, window, count)
        lengths.append(made.tokens(count))
    return Side(name, prompts, time.perf_counter() - started, tuple(lengths))


def time_ours(name: str, specification: Specification, workers: int) -> Side:
    """Make all prompts; the lengths are counted outside of the time."""
    started = time.perf_counter()
    contexts = list(generate(specification, workers=workers))
    seconds = time.perf_counter() - started
    lengths = []
    for context in contexts[:50]:
        turns = [
            {"role": "user", "content": context.prompt(context.needles[0], template=True)},
            {"role": "assistant", "content": context.needles[0].answer},
        ]
        tokenizer = load_tokenizer(specification.tokenizer or "")
        encoded = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        lengths.append(len(encoded))
    return Side(name, specification.samples, seconds, tuple(lengths))


def report(title: str, sides: list[Side], ours: Side) -> None:
    """Print one set's table."""
    print(f"\n{title}")
    for side in sides:
        mean = sum(side.lengths) / len(side.lengths)
        print(
            f"  {side.name:18} {side.prompts:6} prompts {side.seconds:8.1f} s "
            f"{side.each * 1000:9.1f} ms each   mean {mean:8.0f} tokens   "
            f"{side.each / ours.each:7.1f} x ours"
        )


def main() -> None:
    """Measure both sets and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--short", type=int, default=350)
    parser.add_argument("--long", type=int, default=1000)
    parser.add_argument("--baseline", type=int, default=3, help="long prompts of the slow ways")
    arguments = parser.parse_args()
    load_tokenizer(arguments.tokenizer)
    cores = len(os.sched_getaffinity(0))
    print(f"tokenizer {arguments.tokenizer}, {cores} cores")
    short = Specification(samples=arguments.short, tokens=3900, tokenizer=arguments.tokenizer)
    long = replace(short, samples=arguments.long, tokens=32768, shortest=16384)
    for title, specification, few in (
        (f"{short.samples} prompts of 3,900 tokens", short, 10 * arguments.baseline),
        (f"{long.samples} prompts of 16,384 to 32,768 tokens", long, arguments.baseline),
    ):
        ours = time_ours("ours, 1 process", specification, 1)
        sides = [ours, time_ours(f"ours, {cores} processes", specification, cores)]
        for name, way, prompts in (
            ("grow", grow, few),
            ("bisect", bisect, 10 * few),
            # Its first prompt pays for all.
            ("once", once, min(specification.samples, 50 * few)),
        ):
            sides.append(time_theirs(name, way, specification, prompts))
        report(title, sides, ours)
    halves = [replace(long, samples=20, shortest=None, tokens=tokens) for tokens in (16384, 32768)]
    one, two = (time_ours("", half, 1).each for half in halves)
    print(f"\n32,768 tokens take {two / one:.2f} times as long as 16,384 (linear is 2)")


if __name__ == "__main__":
    main()
