"""What an evaluation consists of: units, each one model on one task or group.

A unit's digest covers everything that decides its results. It is written into them, so a
second run repeats nothing that is finished and never mixes results of changed inputs.
"""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal

from kv_adapters.backends import TRAITS, BackendName
from kv_adapters.chat_template import arguments_of, dated
from kv_adapters.engine_settings import cpu_dtype, gpu, installed
from kv_adapters.evaluation.included import included
from kv_adapters.evaluation.local_data import data_checksum
from kv_adapters.evaluation.models import Models
from kv_adapters.evaluation.task_names import config_checksum, fixed_shots, is_own, single_protocol
from kv_tasks.files import sha256_file
from kv_tasks.model_arguments import TooLong

ChatTemplate = Literal["auto", "on", "off"]
RECORD = "kv_adapters"
# Of --vllm-args, what says how much is computed together, and where: no input.
_CAPACITY = (
    "cpu_offload_gb", "distributed_executor_backend", "enforce_eager", "kv_cache_memory_bytes",
    "max_num_batched_tokens", "max_num_seqs",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        base: folder, hub name or short name of the base model.
        adapters: adapter folders.
        tasks: task or group names of the harness.
        include_path: folder of further task files, as the harness's own option has it.
        out: folder that gets one folder a model.
        limit: documents a task, None for all.
        num_fewshot: examples before each question, None for what each task has; those that have
            none by definition, all of this project's among them, refuse any other number.
        backend: who computes.
        chat_template: ``auto`` follows the protocols: on for this project's tasks where the
            tokenizer has a template, off for the harness's own.
        chat_template_args: what the template is called with, None for what the adapters were
            trained with.
        max_length: context in tokens, None for the model's own.
        batch_size: prompts computed together, for the backend that does not decide itself.
        too_long: whether a prompt that does not fit is an error, or left out and counted; tasks
            of the harness's own know only the error.
        seed: of engine and few-shot sampling.
        url: of the server, for the backends that ask one.
        tensor_parallel: GPUs that share one model.
        gpu_memory_utilization: share of a GPU that vLLM may fill, None for vLLM's default.
        vllm_args: further arguments of vLLM's engine, by its names; those that options or adapters
            decide are refused.
        workers: engines side by side, on the GPUs of a Ray cluster.
        tokenizer: what counts the tokens of tasks of a given length where the model is behind an
            interface and has none.
        command: what was typed, for the record.
    """

    base: str
    adapters: Sequence[Path]
    tasks: Sequence[str]
    out: Path
    limit: int | None = None
    num_fewshot: int | None = None
    backend: BackendName = "vllm"
    chat_template: ChatTemplate = "auto"
    chat_template_args: Mapping[str, Any] | None = None
    max_length: int | None = None
    batch_size: int | None = None
    too_long: TooLong = "error"
    seed: int = 1234
    url: str | None = None
    tensor_parallel: int = 1
    gpu_memory_utilization: float | None = None
    vllm_args: Mapping[str, Any] | None = None
    workers: int = 1
    tokenizer: str | None = None
    include_path: Path | None = None
    command: str = field(default_factory=lambda: shlex.join(sys.argv))


@dataclass(frozen=True)
class Unit:
    """One model on one task; equal digests mean equal inputs.

    How many prompts are computed together is no input: batches change answers by rounding alone,
    and a run whose memory was too small goes on in smaller ones.
    """

    label: str
    task: str
    task_sha256: str | None
    base_sha256: str
    tokenizer_sha256: str | None
    adapter: Path | None
    adapter_sha256: str | None
    limit: int | None
    backend: str
    url: str | None
    chat_template: ChatTemplate
    max_length: int | None
    too_long: TooLong
    seed: int
    versions: tuple[str, ...]
    chat_template_args: str | None = None
    data_sha256: str | None = None
    generation_sha256: str | None = None
    num_fewshot: int | None = None
    vllm_args: str | None = None
    date: str | None = None
    include_sha256: str | None = None

    @property
    def digest(self) -> str:
        """Identify the unit's inputs; the adapter counts by its weights, not by its path."""
        inputs = {key: value for key, value in asdict(self).items() if key != "adapter"}
        # What may be absent came later: results of before there was any keep their digest.
        for one in fields(self):
            if one.default is None and inputs[one.name] is None:
                del inputs[one.name]
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def journal(self, out: Path) -> Path:
        """Return where the unit's answers are kept until it is finished."""
        return out / self.label / f".answers_{self.task}_{self.digest[:16]}.jsonl"


def plan(request: Request, models: Models) -> list[Unit]:
    """Return the units model by model, base first, so that adapters switch seldom.

    Raises:
        UsageError: few-shot examples for a task that has none by definition, or a folder of tasks
            with none of those asked for, or with one of a name of ours.
    """
    versions = tuple(_versions(request.backend))
    arguments = arguments_of(list(models.adapters), request.chat_template_args)
    template = json.dumps(arguments, sort_keys=True) if arguments else None
    further = {k: v for k, v in (request.vllm_args or {}).items() if k not in _CAPACITY}
    # Where the template writes it, prompts of another day are others.
    today = date.today().isoformat() if dated(models.base, arguments) else None
    names = single_protocol(request.tasks)
    if request.num_fewshot and (own := next(filter(is_own, names), None)):
        raise fixed_shots(request.num_fewshot, own)
    data = {own: data_checksum(own=own) for own in {is_own(name) for name in names}}
    mine = included(request.include_path, names, request.out)
    url = request.url
    if request.backend == "openai":
        url = url or os.environ.get("OPENAI_BASE_URL")
    # Engines take what ends an answer from it.
    ends = models.base / "generation_config.json"
    generation = sha256_file(ends) if ends.is_file() else None
    return [
        Unit(
            label=adapter.name if adapter else "base",
            task=task,
            task_sha256=config_checksum(task),
            base_sha256=models.base_sha256,
            # Behind an interface there is nothing to hash but the name of who counts.
            tokenizer_sha256=models.tokenizer_sha256 or request.tokenizer,
            adapter=adapter,
            adapter_sha256=models.adapters[adapter] if adapter else None,
            limit=request.limit,
            backend=request.backend,
            url=url,
            chat_template=request.chat_template,
            max_length=request.max_length,
            too_long=request.too_long,
            seed=request.seed,
            versions=versions,
            chat_template_args=template if _templated(request, task) else None,
            data_sha256=data[is_own(task)],
            generation_sha256=generation,
            num_fewshot=request.num_fewshot,
            vllm_args=json.dumps(further, sort_keys=True) if further else None,
            date=today if _templated(request, task) else None,
            include_sha256=mine.get(task),
        )
        for adapter in [None, *models.adapters]
        for task in names
    ]


def _templated(request: Request, task: str) -> bool:
    """Say whether this side may call the chat template: never of the harness's own tasks."""
    if request.backend == "openai" or request.chat_template == "off":
        return False
    return request.chat_template == "on" or is_own(task)


def _versions(backend: BackendName) -> Iterator[str]:
    """Yield the versions that decide answers, and the precision where nobody chooses it."""
    names = ("kv-tasks", "lm_eval", *TRAITS[backend].packages)
    yield from (f"{name} {version}" for name, version in installed(names).items())
    if TRAITS[backend].packages and not gpu():
        yield cpu_dtype()
