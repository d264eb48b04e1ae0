"""A fine-tuning job of the OpenAI API that survives being killed and never runs twice.

Between a request and its record lies a moment in which a kill would lose an id, so whatever is
created carries the digest of its content and is looked for first: the file by its name, the
job by its metadata. The same look comes before each repetition of a request that failed, for it
may have been carried out; the service knows no idempotency keys.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from kv_tasks import console
from kv_tasks.errors import ServiceError
from kv_train.openai_jobs.events import Events
from kv_train.openai_jobs.record import ENDED, FAILED, RECORD, Record, asked_of, check, save
from kv_train.openai_jobs.service import ask
from kv_train.recipe import Recipe

# Under this key of a job's metadata lies its identity.
MARK = "kv_train"
# Looks at a file that is not said to be processed; the job's own validation follows anyway.
_PATIENCE = 90


def start(
    client: openai.OpenAI, recipe: Recipe, file: Path, record: Record, *, interval: float
) -> Record:
    """Upload and create, each unless it is done, and return the record of the job.

    One process at a time may do so for a folder.

    Args:
        client: of the service.
        recipe: with an ``openai`` section.
        file: the training file; the record lies beside it.
        record: what is done so far.
        interval: seconds from one attempt to the next.

    Raises:
        ServiceError: the service refuses or is out of reach.
    """
    if record.file_id is None:
        uploaded = _upload(client, file, record, interval)
        record = save(file.parent, record.model_copy(update={"file_id": uploaded}))
    if record.job_id is None:
        _await_file(client, record, interval)
        job = _create(client, recipe, record, interval)
        record = save(file.parent, record.with_job(job))
    return record


def follow(client: openai.OpenAI, folder: Path, record: Record, *, interval: float) -> Record:
    """Wait for the job to end, and return the finished record.

    Args:
        client: of the service.
        folder: that the record lies in.
        record: of a job.
        interval: seconds from one look at the job to the next.

    Raises:
        ServiceError: the service is out of reach, or the job fails.
    """
    try:
        for job in _looks(client, record, interval):
            if job.status != record.status:
                console.note(f"{job.id}: {job.status}")
            record = save(folder, record.with_job(job))
    except KeyboardInterrupt:
        console.note(f"{record.job_id} goes on at the provider; the same command follows it again")
        raise
    check(folder, record)
    return record


def _upload(client: openai.OpenAI, file: Path, record: Record, interval: float) -> str:
    name = f"kv-train-{record.train_sha256}.jsonl"

    def request() -> FileObject:
        for found in client.files.list(purpose="fine-tune"):
            if found.filename == name and found.status != "error":
                return found
        with file.open("rb") as stream:
            return client.files.create(file=(name, stream), purpose="fine-tune")

    uploaded = ask("uploading the file", request, pause=interval)
    console.note(f"{file} is at the provider as {uploaded.id}")
    return uploaded.id


def _await_file(client: openai.OpenAI, record: Record, interval: float) -> None:
    assert record.file_id is not None
    file_id = record.file_id
    for _ in range(_PATIENCE):
        found = ask("checking the file", lambda: client.files.retrieve(file_id), pause=interval)
        if found.status == "processed":
            return
        if found.status == "error":
            raise ServiceError(
                f"{file_id}: the provider could not read the file: "
                f"{found.status_details or 'no reason given'}; delete {RECORD} to send it again"
            )
        time.sleep(interval)


def _create(
    client: openai.OpenAI, recipe: Recipe, record: Record, interval: float
) -> FineTuningJob:
    assert record.file_id is not None
    file_id, wanted = record.file_id, asked_of(recipe)

    def request() -> FineTuningJob:
        for job in client.fine_tuning.jobs.list(limit=100):
            if _is_ours(job, record):
                return job
        return client.fine_tuning.jobs.create(
            model=wanted["model"],
            training_file=file_id,
            seed=wanted["seed"],
            suffix=wanted["suffix"],
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": wanted["hyperparameters"]},
            },
            metadata={MARK: record.identity},
        )

    job = ask("creating the job", request, pause=interval)
    console.note(f"{job.id} of {job.model}: {job.status}")
    return job


def _is_ours(job: FineTuningJob, record: Record) -> bool:
    return (
        job.training_file == record.file_id
        and (job.metadata or {}).get(MARK) == record.identity
        and job.status not in FAILED
        and job.id not in record.replaced
    )


def _looks(client: openai.OpenAI, record: Record, interval: float) -> Iterator[FineTuningJob]:
    """Yield the job again and again, its events shown, until it is over."""
    assert record.job_id is not None
    job_id = record.job_id
    events = Events(client, job_id)
    with events.bar:
        while True:
            job = ask(job_id, lambda: client.fine_tuning.jobs.retrieve(job_id), pause=interval)
            ask(job_id, events.show, pause=interval)
            yield job
            if job.status in ENDED:
                return
            time.sleep(interval)
