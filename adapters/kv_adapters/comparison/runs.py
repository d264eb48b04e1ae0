"""Read what the harness wrote: one folder, one model, scores by document.

Any ``lm_eval --log_samples`` output folder will do, not only ours. Where a task was evaluated
several times the newest results count.
"""

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kv_adapters.comparison.provenance import own_record, provenance
from kv_adapters.comparison.samples import TaskRun, read_task
from kv_tasks.errors import MetricError, RunError
from kv_tasks.paths import group_members

# Of a model's arguments, those that say which it is.
_NAMING = ("pretrained", "revision", "peft", "delta", "lora_local_path", "adapter", "model")
# Those that compute with coarser numbers than the weights' own.
_QUANTIZING = ("quantization", "kv_cache_dtype", "load_in_4bit", "load_in_8bit")
_RECORDED = ("base_sha256", "adapter_sha256")
_ADAPTERS = ("adapter_sha256", "peft", "delta", "lora_local_path", "adapter")


@dataclass(frozen=True)
class Run:
    """One model's results: tasks, groups of them, and where they came from.

    ``without_samples`` names the tasks whose newest results came without scores by document,
    ``unfit`` those that have none from 0 to 1, with the reason. ``base_sha256`` and ``adapter`` say
    whose they are, where the results do; the latter a checksum, or what lm_eval was given.
    ``computed`` has by what each task was: backend, precision, quantization, how answers were
    generated, and the task's version, each as far as that is known.
    """

    label: str
    folder: Path
    tasks: Mapping[str, TaskRun]
    groups: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, str]
    without_samples: tuple[str, ...]
    unfit: Mapping[str, str] = field(default_factory=dict)
    base_sha256: str | None = None
    adapter: str | None = None
    computed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read several runs, labelled by as much of their paths as tells them apart.

    Raises:
        RunError: as :func:`load_run`, or a folder is named twice.
    """
    twice = [str(one) for one, count in Counter(f.resolve() for f in folders).items() if count > 1]
    if twice:
        raise RunError(f"{twice[0]}: is named twice; name each folder once")
    labels = _labels([folder.absolute() for folder in folders])
    return [
        replace(load_run(folder), label=label)
        for folder, label in zip(folders, labels, strict=True)
    ]


def load_run(folder: Path) -> Run:
    """Read a run.

    Args:
        folder: holds ``results_*.json`` and ``samples_*.jsonl``, itself or in the one
            sub-folder that the harness makes for the model.

    Raises:
        RunError: no such folder, nothing or several models in it, or a file that cannot be read.
    """
    place = _model_folder(folder)
    evaluations = {
        file.stem.removeprefix("results_"): _read_results(file)
        for file in sorted(place.glob("results_*.json"))
    }
    newest = {name: date for date, results in evaluations.items() for name in results["configs"]}
    files = {name: place / f"samples_{name}_{date}.jsonl" for name, date in newest.items()}
    tasks: dict[str, TaskRun] = {}
    unfit: dict[str, str] = {}
    for name, file in files.items():
        if not file.is_file():
            continue
        try:
            tasks[name] = read_task(name, file, evaluations[newest[name]])
        except MetricError as error:
            unfit[name] = str(error)
    if not tasks:
        problem = "results without samples; run lm_eval with --log_samples"
        raise RunError(next(iter(unfit.values()), f"{place}: {problem}"))
    groups: dict[str, tuple[str, ...]] = {}
    for results in evaluations.values():
        groups |= _groups(results["group_subtasks"])
    counting = {date: evaluations[date] for date in sorted({newest[name] for name in tasks})}
    _refuse_several_models(place, counting)
    model = dict(_model(next(iter(counting.values()))))
    return Run(
        label=folder.absolute().name,
        folder=place,
        tasks=tasks,
        groups=groups | _asked_one_by_one(tasks, groups),
        provenance=provenance(counting),
        without_samples=tuple(name for name in newest if name not in {*tasks, *unfit}),
        unfit=unfit,
        base_sha256=model.get("base_sha256"),
        adapter=next((model[name] for name in _ADAPTERS if name in model), None),
        computed={name: _computed(evaluations[newest[name]], name) for name in tasks},
    )


def _refuse_several_models(place: Path, evaluations: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a folder whose newest results are of more than one model.

    lm_eval names folders by ``pretrained`` or ``peft``: an adapter that vLLM got as
    ``lora_local_path`` lies among its base's.
    """
    found = {_model(results): date for date, results in evaluations.items()}
    if len(found) > 1:
        each = "; ".join(
            f"{date}: {', '.join(map('='.join, model)) or 'none'}" for model, date in found.items()
        )
        raise RunError(
            f"{place}: results of several models ({each}); delete what is "
            "out of date, or evaluate each into a folder of its own"
        )


def _model(results: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a model is known by: checksums where our own record has them, or arguments."""
    record = own_record(results)
    if sums := tuple((name, str(record[name])) for name in _RECORDED if record.get(name)):
        return sums
    given = _arguments(results)
    return tuple((name, str(given[name])) for name in _NAMING if given.get(name))


def _computed(results: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """Return what :attr:`Run.computed` has of a task, each empty where nobody said."""
    given = _arguments(results)
    backend = own_record(results).get("backend") or results["config"].get("model") or ""
    precision = str(given.get("dtype") or "").removeprefix("torch.")
    coarser = [
        f"{name}={value}"
        for name in _QUANTIZING
        if (value := str(given.get(name))) not in ("None", "False", "auto")
    ]
    # Nobody tells what a server computes with.
    said = given and "base_url" not in given
    quantized = " ".join(coarser) or ("unquantized weights" if said else "")
    generated = _generated(results, task)
    version = results["versions"].get(task)
    return (
        str(backend),
        precision.replace("auto", ""),
        quantized,
        f"generation settings {generated}" if generated else "",
        f"version {version} of the task" if version is not None else "",
    )


def _generated(results: Mapping[str, Any], task: str) -> str:
    """Return the settings of a task, those of the command line among them; 0 is 0.0."""
    config = results["configs"].get(task)
    found = config.get("generation_kwargs") if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        return ""
    plain = {key: float(x) if type(x) is int else x for key, x in found.items()}
    return json.dumps(plain, sort_keys=True)


def _arguments(results: Mapping[str, Any]) -> Mapping[str, Any]:
    given = results["config"].get("model_args")
    if isinstance(given, str):
        given = dict(part.partition("=")[::2] for part in given.split(","))
    return given if isinstance(given, Mapping) else {}


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the last name of each path, or as many of the last as it takes to differ."""
    names: list[str] = []
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def _model_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give what lm_eval's --output_path wrote")
    if any(folder.glob("results_*.json")):
        return folder
    inner = sorted({file.parent for file in folder.glob("*/results_*.json")})
    if len(inner) == 1:
        return inner[0]
    if inner:
        names = ", ".join(str(place) for place in inner)
        raise RunError(f"{folder}: holds several runs; name one of: {names}")
    raise RunError(
        f"{folder}: no results_*.json; the evaluation did not finish, or lm_eval's --output_path "
        "named a file (name a folder)"
    )


def _read_results(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file}: not JSON ({error}); delete it and evaluate again") from error
    if not isinstance(results, dict) or "results" not in results:
        raise RunError(f"{file}: no results of lm_eval; expected a key 'results'")
    for section in (
        "configs", "config", "group_subtasks", "higher_is_better", "n-samples", "versions",
    ):  # fmt: skip
        if not isinstance(results.setdefault(section, {}), dict):
            raise RunError(
                f"{file}: {section!r} is {results[section]!r}; expected an object: evaluate again"
            )
    return results


def _groups(subtasks: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return group name to its leaf tasks, nested groups resolved."""
    children = {
        name: [str(child) for child in below]
        for name, below in subtasks.items()
        if isinstance(below, list)
    }

    def leaves(name: str, within: tuple[str, ...]) -> Iterator[str]:
        for child in children.get(name, []):
            if children.get(child) and child not in within:
                yield from leaves(child, (*within, child))
            else:
                yield child

    return {name: tuple(leaves(name, (name,))) for name, below in children.items() if below}


def _asked_one_by_one(
    tasks: Container[str], asked: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return this project's groups whose tasks were all asked, and none of them by a group.

    That is how they are asked to keep many workers busy.
    """
    by_group = {leaf for leaves in asked.values() for leaf in leaves}
    return {
        name: leaves
        for name, leaves in _groups(group_members()).items()
        if all(leaf in tasks and leaf not in by_group for leaf in leaves)
    }
