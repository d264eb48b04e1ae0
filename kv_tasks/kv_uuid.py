"""``kv_uuid``: report the value of a key in a JSON object of random identifiers.

One prompt, shortened, and its target (Liu et al., "Lost in the Middle", arXiv 2307.03172):

    Extract the value corresponding to the specified key in the JSON object below.

    JSON data:
    {"2a8d601d-1d69-4e64-9f90-8ad825a74195": "bb3ba2a5-7de8-434b-a86e-a88bb9fa7289",
     "9f4a92b9-5f69-4725-ba1e-403f08dea695": "703a7ce5-f17f-4e6d-b895-5836ba5ec71c"}

    Key: "9f4a92b9-5f69-4725-ba1e-403f08dea695"
    Corresponding value:

    703a7ce5-f17f-4e6d-b895-5836ba5ec71c
"""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import datasets

from kv_tasks.datafiles import PUBLISHED_KEYS, UUID_RECORDS, published, read_jsonl_gz, remedy
from kv_tasks.dictionaries import gold_places
from kv_tasks.documents import check_choice, check_samples, document
from kv_tasks.errors import DataError
from kv_tasks.registration import refuse_stale
from kv_tasks.scores import by_depth

ANSWER_TOKENS = 100
INSTRUCTION = "Extract the value corresponding to the specified key in the JSON object below."
Record = tuple[str, str]
Source = Literal["published", "generated"]
PUBLISHED_OBJECTS = 500


def prompt(records: Sequence[Sequence[str]], key: str) -> str:
    """Return the protocol's prompt, without a final line break.

    Args:
        records: (key, value) in the order shown.
        key: the one asked for.
    """
    shown = ",\n ".join(f'"{name}": "{value}"' for name, value in records)
    return f'{INSTRUCTION}\n\nJSON data:\n{{{shown}}}\n\nKey: "{key}"\nCorresponding value:'


def load(
    *,
    keys: int,
    source: Source = "published",
    gold_position: int | None = None,
    samples: int | None = 500,
    data_seed: int = 0,
    config_source: str | None = None,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        keys: records of the object; 75, 140 or 300 are published.
        source: the published objects, or objects made from ``data_seed``.
        gold_position: 1-based place to move the asked record to, as the source's experiments
            do; None leaves it where it is: anywhere in the published data, evenly spread over
            any number of documents in the generated.
        samples: number of documents; 500 are published, None for all of them.
        data_seed: of the generated objects.
        config_source: the YAML file, as the harness passes it.
        _: what else the harness merges in.

    Raises:
        DataError: when the YAML is a registered copy of another version, the data cannot be had,
            a row is not of the published form, or the position lies outside the object.
    """
    refuse_stale(config_source)
    check_choice("kv_uuid", "source", source, get_args(Source))
    most = PUBLISHED_OBJECTS if source == "published" else None
    check_samples("kv_uuid", samples, most, endless=most is None)
    samples = samples or PUBLISHED_OBJECTS
    if keys < 1 or (source == "published" and keys not in PUBLISHED_KEYS):
        raise DataError(
            f"kv_uuid: keys {keys}; {', '.join(map(str, PUBLISHED_KEYS))} are published, and "
            "source generated makes any number from 1"
        )
    made = _published(keys) if source == "published" else _generated(keys, samples, data_seed)
    docs = [
        _document(f"kv-uuid-{source}-{keys}-{data_seed}-{number:04d}", *row, gold_position)
        for number, row in zip(range(samples), made, strict=False)
    ]
    return {"test": datasets.Dataset.from_list(docs)}


def _published(keys: int) -> Iterator[tuple[list[Record], Record]]:
    path = published(UUID_RECORDS.format(keys=keys))
    for line, row in enumerate(read_jsonl_gz(path), start=1):
        try:
            records = [(str(key), str(value)) for key, value in row["ordered_kv_records"]]
            gold = (row["key"], row["value"])
            if len(records) != keys or gold not in records:
                raise ValueError(f"{len(records)} records, the asked one {gold in records}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, line {line}: expected {keys} ordered_kv_records, key and value among "
                f"them ({error}); {remedy(path)}"
            ) from error
        yield records, gold


def _generated(keys: int, samples: int, seed: int) -> Iterator[tuple[list[Record], Record]]:
    for index in range(samples):
        rng = random.Random(f"kv-uuid:eval:{seed}:{keys}:{index}")
        # 122 random bits each: no two are equal.
        names = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(2 * keys)]
        records = list(zip(names[:keys], names[keys:], strict=True))
        yield records, records[gold_places(rng, index, keys, 1, "even")[0]]


def _document(
    question_id: str, records: list[Record], gold: Record, gold_position: int | None
) -> dict[str, Any]:
    if gold_position is not None:
        records = [record for record in records if record != gold]
        records.insert(gold_position - 1, gold)
    return document(
        question_id=question_id,
        answers=[gold[1]],
        gold_position=records.index(gold) + 1 if gold_position is None else gold_position,
        candidates=len(records),
        key=gold[0],
        value=gold[1],
        ordered_kv_records=[list(record) for record in records],
    )


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the prompt of a document that :func:`load` made."""
    return prompt(doc["ordered_kv_records"], doc["key"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score the raw response ``results[0]`` (the harness's ``process_results``).

    Returns:
        ``acc``: 1.0 when the value occurs in the response, both in lower case;
        ``depth_1_of_5`` to ``depth_5_of_5``: the same in the document's own fifth.
    """
    right = float(doc["value"].lower() in results[0].lower())
    return {"acc": right, **by_depth([(doc["depth"], right)])}
