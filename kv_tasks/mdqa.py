"""``mdqa_pos``: answer a question from many documents, one of which holds the answer.

One prompt, shortened, and its target (Liu et al., "Lost in the Middle", arXiv 2307.03172):

    Write a high-quality answer for the given question using only the provided search results
    (some of which might be irrelevant).

    Document [1](Title: Deadpool 2) Deadpool 2 is scheduled to be released in ...
    Document [2](Title: List of Nobel laureates in Physics) The first Nobel Prize in Physics ...

    Question: who got the first nobel prize in physics
    Answer:

    Wilhelm Conrad Röntgen

The first sentence is one line in the prompt. The distractors are gold documents of other
questions. A question keeps its distractors and their order at every gold position, and
fewer documents are a prefix of more, so that two tasks differ in what their names say.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import datasets

from kv_tasks.corpora import corpus as load_corpus
from kv_tasks.documents import document
from kv_tasks.errors import DataError
from kv_tasks.normalize import best_subspan_em, contains_answer
from kv_tasks.questions import Corpus, Question
from kv_tasks.registration import refuse_stale
from kv_tasks.tokens import prompt_lengths

INSTRUCTION = (
    "Write a high-quality answer for the given question using only the provided search "
    "results (some of which might be irrelevant)."
)


def prompt(question: str, documents: Sequence[tuple[str, str]]) -> str:
    """Return the protocol's prompt, without a final line break.

    Args:
        question: as the data has it; no capital or question mark is added.
        documents: (title, text) in the order shown, line breaks in the texts kept; none at
            all is the closed book, which has no instruction either.
    """
    asked = f"Question: {question}\nAnswer:"
    if not documents:
        return asked
    shown = "\n".join(
        f"Document [{number}](Title: {title}) {text}"
        for number, (title, text) in enumerate(documents, start=1)
    )
    return f"{INSTRUCTION}\n\n{shown}\n\n{asked}"


def distractors(question: Question, corpus: Corpus, count: int, seed: int) -> list[int]:
    """Return the corpus rows of ``count`` documents that do not answer ``question``.

    They are the first admissible rows of a random order that the seed and the question
    decide, so that a shorter list is a prefix of a longer one. Not admissible are the
    question's own row, the text of its gold document or of an earlier distractor under any
    title, and a document whose title and text hold an answer as a run of whole words.

    Raises:
        DataError: when the corpus has fewer than ``count`` such documents.
    """
    rng = random.Random(f"mdqa-distractors:{seed}:{question.question_id}")
    shown = {question.text}
    rows: list[int] = []
    order = _shuffled(rng, len(corpus.questions))
    while len(rows) < count:
        row = next(order, None)
        if row is None:
            raise DataError(
                f"question {question.question_id}: {len(rows)} distractors in corpus "
                f"{corpus.name}, {count} wanted; ask for {len(rows) + 1} documents or fewer"
            )
        other, words = corpus.questions[row], corpus.normalized[row]
        if other.question_id == question.question_id or other.text in shown:
            continue
        if not contains_answer(words, question.answers):
            rows.append(row)
            shown.add(other.text)
    return rows


def _shuffled(rng: random.Random, count: int) -> Iterator[int]:
    """Yield 0 to ``count`` - 1 in random order, at the cost of what is taken only."""
    moved: dict[int, int] = {}
    for place in range(count):
        drawn = rng.randrange(place, count)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(place, place)


@lru_cache(maxsize=8)
def _haystacks(name: str, count: int, seed: int) -> tuple[tuple[Question, list[int]], ...]:
    """Return the questions in the order asked with their distractors, for all gold positions."""
    corpus = load_corpus(name)
    # Shuffled, since the source may be sorted and --limit takes the first questions; by the
    # corpus alone, so that every seed and number of documents asks the same ones.
    order = _shuffled(random.Random(f"mdqa-order:{name}"), len(corpus.questions))
    asked = (corpus.questions[row] for row in order)
    return tuple((q, distractors(q, corpus, count, seed)) for q in asked if q.askable)


def load(
    *,
    corpus: str,
    documents: int,
    gold_position: int | None,
    data_seed: int = 0,
    tokenizer: str | None = None,
    config_source: str | None = None,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        corpus: ``nq-open`` or ``encyclopedia``.
        documents: number of documents in the prompt; 1 is the oracle, 0 the closed book.
        gold_position: 1-based place of the gold document; None for the closed book.
        data_seed: of the choice of distractors; the questions and their order do not depend on it.
        tokenizer: folder or hub name; fills in ``length`` when given.
        config_source: the YAML file, as the harness passes it.
        _: what else the harness merges in (model arguments, the user's metadata).

    Returns:
        One split, ``test``. A document holds the corpus rows of its distractors; the prompt
        is made by :func:`doc_to_text` when it is asked for.

    Raises:
        DataError: when the YAML is a registered copy of another version, the corpus cannot be
            had, or the gold position lies outside the documents.
        ModelError: when the tokenizer cannot be loaded.
    """
    refuse_stale(config_source)
    if (gold_position is None) != (documents == 0):
        raise DataError(
            f"gold_position {gold_position} of {documents} documents: choose 1 to documents, or "
            "null with 0 documents for the closed book"
        )
    docs = [
        document(
            question_id=question.question_id,
            answers=question.answers,
            gold_position=gold_position,
            candidates=documents,
            question=question.question,
            title=question.title,
            text=question.text,
            corpus=corpus,
            distractors=rows,
        )
        for question, rows in _haystacks(corpus, max(0, documents - 1), data_seed)
    ]
    if tokenizer is not None:
        lengths = prompt_lengths([doc_to_text(doc) for doc in docs], tokenizer)
        for doc, length in zip(docs, lengths, strict=True):
            doc["length"] = length
    return {"test": datasets.Dataset.from_list(docs)}


def doc_to_text(doc: dict[str, Any]) -> str:
    """Return the prompt of a document that :func:`load` made."""
    if doc["gold_position"] is None:
        return prompt(doc["question"], [])
    rows = load_corpus(doc["corpus"]).questions
    shown = [(rows[row].title, rows[row].text) for row in doc["distractors"]]
    shown.insert(doc["gold_position"] - 1, (doc["title"], doc["text"]))
    return prompt(doc["question"], shown)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score the raw response ``results[0]`` (the harness's ``process_results``)."""
    return {"best_subspan_em": best_subspan_em(results[0], doc["answers"])}
