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

import itertools
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import datasets

from kv_tasks.cache import cached_rows
from kv_tasks.corpora import load_corpus, retrieved
from kv_tasks.documents import check_choice, check_samples, document
from kv_tasks.errors import DataError
from kv_tasks.mdqa_prompt import prompt
from kv_tasks.mdqa_windows import check_window, documents_fitting, proven
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.normalize import best_subspan_em, contains_answer
from kv_tasks.questions import Corpus, Question
from kv_tasks.registration import refuse_stale
from kv_tasks.windows import Window, window

ANSWER_TOKENS = 100
Distractors = Literal["random", "retrieved"]


def distractors(
    question: Question, corpus: Corpus, count: int, seed: int, *, beside: Sequence[Question] = ()
) -> list[int]:
    """Return the corpus rows of ``count`` documents that do not answer ``question``.

    They are the first admissible rows of a random order that the seed and the question
    decide, so that a shorter list is a prefix of a longer one.

    Args:
        question: the question.
        corpus: whose documents are chosen.
        count: how many.
        seed: of the order.
        beside: further questions over the same documents, not to be answered either.

    Raises:
        DataError: when the corpus has fewer than ``count`` such documents.
    """
    admissible = _admissible((question, *beside), corpus, seed)
    rows = list(itertools.islice(admissible, count))
    if len(rows) < count:
        raise DataError(
            f"question {question.question_id}: {len(rows)} distractors in corpus "
            f"{corpus.name}, {count} wanted; ask for {len(rows) + 1} documents or fewer"
        )
    return rows


def _admissible(asked: Sequence[Question], corpus: Corpus, seed: int) -> Iterator[int]:
    """Yield rows in random order, less those that would answer or repeat.

    Not admissible are the questions' own rows, the text of a gold document or of an earlier
    distractor under any title, and a document whose title and text hold an answer as a run of
    whole words.
    """
    rng = random.Random(f"mdqa-distractors:{seed}:{asked[0].question_id}")
    own, shown = {question.question_id for question in asked}, {q.text for q in asked}
    answers = [answer for question in asked for answer in question.answers]
    for row in _shuffled(rng, len(corpus.questions)):
        other, words = corpus.questions[row], corpus.normalized[row]
        if other.question_id in own or other.text in shown:
            continue
        if not contains_answer(words, answers):
            yield row
            shown.add(other.text)


def _shuffled(rng: random.Random, count: int) -> Iterator[int]:
    """Yield 0 to ``count`` - 1 in random order, at the cost of what is taken only."""
    moved: dict[int, int] = {}
    for place in range(count):
        drawn = rng.randrange(place, count)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(place, place)


@lru_cache(maxsize=16)
def _asked(name: str) -> tuple[Question, ...]:
    """Return the questions of a corpus in the order asked."""
    questions = load_corpus(name).questions
    # Shuffled, since the source may be sorted and --limit takes the first questions; by the
    # corpus alone, so that every seed and number of documents asks the same ones.
    order = _shuffled(random.Random(f"mdqa-order:{name}"), len(questions))
    return tuple(questions[row] for row in order if questions[row].askable)


@lru_cache(maxsize=8)
def _haystacks(name: str, count: int, seed: int) -> tuple[tuple[Question, list[int]], ...]:
    """Return all questions with their distractors, which are those of every gold position."""
    corpus = load_corpus(name)
    return tuple((q, distractors(q, corpus, count, seed)) for q in _asked(name))


def load(
    *,
    corpus: str,
    documents: int | None = None,
    gold_position: int | None = None,
    tokens: int | None = None,
    depth: float | None = None,
    distractors: Distractors = "random",
    samples: int | None = None,
    data_seed: int = 0,
    config_source: str | None = None,
    **metadata: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        corpus: a name of :data:`kv_tasks.corpora.CORPORA`.
        documents: number of documents in the prompt; 1 is the oracle, 0 the closed book.
        gold_position: 1-based place of the gold document; None for the closed book.
        tokens: instead of ``documents``, the window that prompt, chat template and answer fill.
        depth: instead of ``gold_position``, with ``tokens``: 0 first, the default, 1 last.
        distractors: gold documents of other questions, or those that were retrieved for the
            question and published with it.
        samples: number of questions; None for all.
        data_seed: of the choice of distractors; the questions and their order do not depend on it.
        config_source: the YAML file, as the harness passes it.
        metadata: what else the harness merges in; a window needs ``tokenizer`` or
            ``pretrained`` of it.

    Returns:
        One split, ``test``. A document holds the numbers of its distractors; the prompt is
        made by :func:`doc_to_text` when it is asked for.

    Raises:
        DataError: when the YAML is a registered copy of another version, the corpus cannot be
            had, the gold position lies outside the documents, a window has no tokenizer, or keys
            of a window and of a number of documents meet.
    """
    refuse_stale(config_source)
    check_choice("mdqa_pos", "distractors", distractors, get_args(Distractors))
    check_samples("mdqa_pos", samples, len(_asked(corpus)))
    if tokens is not None:
        check_window(tokens, documents, gold_position, distractors)
        wanted = window(
            tokens,
            ModelArguments.of(metadata),
            answer_tokens=ANSWER_TOKENS,
            task="mdqa_pos_synth",
        )
        settings = {"depth": depth or 0.0, "samples": samples, "seed": data_seed}
        key: dict[str, Any] = {"corpus": corpus, **settings}
        return {"test": cached_rows(key, wanted, lambda: _fitted(wanted, **key))}
    if depth is not None:
        raise DataError(
            f"depth {depth} without tokens: among a number of documents the place is gold_position"
        )
    docs = fixed_rows(
        corpus=corpus,
        documents=documents,
        gold_position=gold_position,
        distractors=distractors,
        samples=samples,
        data_seed=data_seed,
    )
    return {"test": datasets.Dataset.from_list(docs)}


def fixed_rows(
    *,
    corpus: str,
    documents: int | None,
    gold_position: int | None = None,
    distractors: Distractors = "random",
    samples: int | None = None,
    data_seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the documents of prompts with a number of documents; arguments as :func:`load`."""
    known = type(documents) is int and type(gold_position) in (int, type(None))
    if documents is None or not known or (gold_position is None) != (documents == 0):
        raise DataError(
            f"gold_position {gold_position!r} of {documents!r} documents: choose 1 to documents, "
            "or null with 0 documents for the closed book"
        )
    count = max(0, documents - 1)
    if distractors == "retrieved":
        made = _retrieved(corpus, count)
    else:
        made = list(_haystacks(corpus, count, data_seed))
    return [
        _document(question, corpus, rows, distractors, gold_position, documents)
        for question, rows in made[:samples]
    ]


def _retrieved(name: str, count: int) -> list[tuple[Question, list[int]]]:
    """Return all questions with the numbers of their retrieved distractors, best first."""
    passages = retrieved()
    found = []
    for question in _asked(name):
        known = len(passages.get(question.question, ()))
        if known < count:
            raise DataError(
                f"question {question.question_id}: {known} retrieved distractors, {count} wanted; "
                "the file of retrieved documents is another one or incomplete"
            )
        found.append((question, list(range(count))))
    return found


def _fitted(
    window: Window, *, corpus: str, depth: float, samples: int | None, seed: int
) -> Iterator[dict[str, Any]]:
    source = load_corpus(corpus)
    for question in _asked(corpus)[:samples]:
        rows = list(_admissible((question,), source, seed))
        fit = documents_fitting(corpus, question, rows, window)
        if fit > len(rows):
            raise DataError(
                f"a window of {window.tokens} tokens: all {fit} documents of the corpus {corpus} "
                "that may be shown fill less; choose a shorter window or a larger corpus"
            )
        rows = rows[: max(0, fit - 1)]
        shown = [(source.questions[row].title, source.questions[row].text) for row in rows]
        position, proof = proven(question, shown, depth, window)
        rows = rows[: proof.lines - 1]
        doc = _document(question, corpus, rows, "random", position, proof.lines)
        yield {**doc, "length": proof.length}


def _document(
    question: Question,
    corpus: str,
    rows: Sequence[int],
    setting: str,
    gold_position: int | None,
    documents: int,
) -> dict[str, Any]:
    return document(
        question_id=question.question_id,
        answers=question.answers,
        gold_position=gold_position,
        candidates=documents,
        question=question.question,
        title=question.title,
        text=question.text,
        corpus=corpus,
        setting=setting,
        distractors=list(rows),
    )


def doc_to_text(doc: dict[str, Any]) -> str:
    """Return the prompt of a document that :func:`load` made."""
    if doc["gold_position"] is None:
        return prompt(doc["question"], [])
    if doc["setting"] == "retrieved":
        passages = retrieved()[doc["question"]]
        shown = [passages[row] for row in doc["distractors"]]
    else:
        rows = load_corpus(doc["corpus"]).questions
        shown = [(rows[row].title, rows[row].text) for row in doc["distractors"]]
    shown.insert(doc["gold_position"] - 1, (doc["title"], doc["text"]))
    return prompt(doc["question"], shown)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score the raw response ``results[0]`` (the harness's ``process_results``)."""
    return {"best_subspan_em": best_subspan_em(results[0], doc["answers"])}
