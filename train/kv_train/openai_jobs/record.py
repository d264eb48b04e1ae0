"""The record of a fine-tuning job: ``job.json``, by which the same command goes on.

It is written after every stage: file uploaded, job created, each look at it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel, ConfigDict, ValidationError

from kv_tasks.errors import RunError, ServiceError
from kv_tasks.files import write_text
from kv_train.recipe import Recipe

RECORD = "job.json"
FAILED = ("failed", "cancelled")
ENDED = ("succeeded", *FAILED)


class Record(BaseModel):
    """What is known of a job: the content of ``job.json``.

    Attributes:
        identity: digest of the training file and of all that is asked of the service.
        train_sha256: digest of the training file.
        tokens: of the training file, one epoch.
        counted_by: the encoding they were counted with, or the rule of an estimate.
        file_id, job_id: the provider's names.
        status: of the job, as the provider calls it.
        error: why it failed.
        fine_tuned_model: the result's name.
        trained_tokens: what the provider bills.
        result_files: ids of its reports.
        replaced: earlier jobs of the same identity that are not to be taken up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    train_sha256: str
    tokens: int
    counted_by: str
    file_id: str | None = None
    job_id: str | None = None
    status: str | None = None
    error: str | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    def with_job(self, job: FineTuningJob) -> "Record":
        """Return the record with what the provider now says of the job."""
        # Of a cancelled job the provider sends an error without a word in it.
        failed = job.status in FAILED and job.error and job.error.message
        failure = job.error if failed else None
        return self.model_copy(
            update={
                "job_id": job.id,
                "status": job.status,
                "error": failure and " ".join(f"{failure.message} ({failure.code})".split()),
                "fine_tuned_model": job.fine_tuned_model,
                "trained_tokens": job.trained_tokens,
                "result_files": tuple(job.result_files or ()),
            }
        )


def asked_of(recipe: Recipe) -> dict[str, Any]:
    """Return what is asked of the service, beside the training file."""
    assert recipe.openai is not None
    wanted = recipe.openai
    return {
        "model": recipe.model,
        "seed": wanted.seed,
        "suffix": wanted.suffix,
        "hyperparameters": {
            "n_epochs": wanted.epochs,
            "batch_size": wanted.batch_size,
            "learning_rate_multiplier": wanted.learning_rate_multiplier,
        },
    }


def identity(recipe: Recipe, train_sha256: str) -> str:
    """Digest everything that decides the fine-tuned model."""
    content = f"{json.dumps(asked_of(recipe), sort_keys=True)}\0{train_sha256}"
    return hashlib.sha256(content.encode()).hexdigest()


def claim(out: Path, fresh: Record, *, overwrite: bool = False) -> Record:
    """Return the record to go on from: the folder's own if it is of the same job, or ``fresh``.

    Args:
        out: the folder.
        fresh: the record of a job of which nothing is done yet.
        overwrite: start anew where the folder's job is over, whatever it was.

    Raises:
        RunError: the folder holds another job, a broken record, or something else.
    """
    record = _read(out)
    if record is None:
        return fresh
    over = record.job_id is None or record.status in ENDED
    if record.identity == fresh.identity:
        if not (overwrite and record.job_id and over):
            return record
        replaced = (*record.replaced, record.job_id)
        return fresh.model_copy(update={"file_id": record.file_id, "replaced": replaced})
    if not over:
        raise RunError(
            f"{out}: {record.job_id} of another recipe is not over as far as {RECORD} knows; "
            f"finish it with: kv-train openai {out}/recipe.yaml --out {out}; or choose another "
            "--out"
        )
    if not overwrite:
        raise RunError(
            f"{out}: {RECORD} is of another recipe or other data; choose another --out, or "
            "replace it with --overwrite"
        )
    return fresh


def check(out: Path, record: Record) -> None:
    """Raise ServiceError for a job that is over without a model."""
    if record.status in FAILED:
        raise ServiceError(
            f"{record.job_id} {record.status} at the provider"
            f"{': ' + record.error if record.error else ''}; change what it names, or start "
            f"another job with --overwrite ({out})"
        )


def save(out: Path, record: Record) -> Record:
    """Write the record into its folder, atomically, and return it."""
    write_text(out / RECORD, record.model_dump_json(indent=2) + "\n")
    return record


def _read(out: Path) -> Record | None:
    path = out / RECORD
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunError(
            f"{path}: not the record of a job; restore it, or choose another --out"
        ) from error
