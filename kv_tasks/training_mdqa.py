"""Training on multi-document questions themselves: the paper's baseline for its synthetic data.

One row, shortened:

    {"messages": [{"role": "user", "content": "Write a high-quality answer for the ..."},
                  {"role": "assistant", "content": "Wilhelm Conrad Röntgen"}],
     "context_id": "nq-open-0017", "gold_position": 12, "depth": 0.579}

Questions and documents are those that no task evaluates (:mod:`kv_tasks.corpora`). Gold
positions are balanced: every part of the rows covers all of them. The answer is one that the
gold document states word for word; training on another would teach to answer from memory.
"""

import random
from collections.abc import Iterator
from typing import Any

from kv_tasks.corpora import load_corpus
from kv_tasks.dictionaries import gold_places
from kv_tasks.errors import UsageError
from kv_tasks.mdqa import distractors
from kv_tasks.mdqa_prompt import prompt
from kv_tasks.normalize import contains_answer, normalize
from kv_tasks.questions import Question
from kv_tasks.training_forms import Form, shaped

CORPORA = ("nq-open-training", "encyclopedia-training")


def rows(
    *,
    samples: int,
    documents: int,
    corpus: str,
    seed: int = 0,
    start: int = 0,
    form: Form = "messages",
) -> Iterator[dict[str, Any]]:
    """Yield training rows, each of another question.

    Args:
        samples: number of rows.
        documents: in each prompt, the gold one included.
        corpus: one of :data:`CORPORA`.
        seed: of the order of questions, the gold positions and the distractors.
        start: questions to leave out, in that order: those after ``samples`` are held out.
        form: see :func:`kv_tasks.training_forms.shaped`.

    Raises:
        UsageError: when the corpus is evaluated, or has fewer questions.
        DataError: when the corpus cannot be had, or has too few documents.
    """
    if corpus not in CORPORA:
        raise UsageError(f"corpus {corpus!r}: choose one of {', '.join(CORPORA)}")
    source = load_corpus(corpus)
    asked = [(question, stated) for question in source.questions if (stated := _stated(question))]
    if start + samples > len(asked):
        raise UsageError(
            f"samples {start + samples}: {corpus} has {len(asked)} questions; ask for fewer"
        )
    random.Random(f"mdqa-training:{seed}").shuffle(asked)
    for index, (question, answer) in enumerate(asked[start : start + samples], start):
        rng = random.Random(f"mdqa-training:{seed}:{index}")
        chosen = [source.questions[n] for n in distractors(question, source, documents - 1, seed)]
        place = gold_places(rng, index, documents, 1, "even")[0]
        chosen.insert(place, question)
        text = prompt(question.question, [(shown.title, shown.text) for shown in chosen])
        where = {
            "context_id": question.question_id,
            "gold_position": place + 1,
            "depth": place / max(1, documents - 1),
        }
        yield shaped([(text, answer)], form, where)


def _stated(question: Question) -> str | None:
    """Return the first answer that the gold document states, None when it states none."""
    if not question.askable:
        return None
    words = normalize(f"{question.title} {question.text}")
    return next((answer for answer in question.answers if contains_answer(words, [answer])), None)
