"""The adapter folder: what PEFT and vLLM load, and what says where it came from.

adapter_model.safetensors  adapter_config.json     what PEFT and vLLM load
README.md  training.png                            model card, and how training went
recipe.yaml  data.jsonl  held-out.jsonl  log.jsonl how it was made, with all defaults and seeds
runs/                                              tensorboard's files, if it was reported to
manifest.json                                      versions, and checksums of every file above
                                                   but runs/; written last
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonlines
import yaml

from kv_tasks.errors import AdapterError, reason_of
from kv_tasks.files import atomic_path, sha256_file
from kv_train.model_card import RESULTS_FIGURE, model_card
from kv_train.recipe import Recipe
from kv_train.recipe_files import dump_recipe

MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECIPE = "recipe.yaml"
DATA, HELD_OUT = "data.jsonl", "held-out.jsonl"
CARD = "README.md"
RECORDED_PACKAGES = (
    "kv-tasks", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class Base:
    """The base model an adapter belongs to; ``sha256`` is its identity."""

    name: str
    revision: str | None
    sha256: str


@dataclass(frozen=True)
class Job:
    """What a training is known by.

    Attributes:
        base: the model that is trained on.
        loadable: what PEFT loads the base by: a hub name or a folder.
        hub_name: the base's name on the hub, None for a model that is not there.
        identity: digest of recipe, base and data; equal identities mean equal training.
    """

    base: Base
    loadable: str
    hub_name: str | None
    identity: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds.

    Attributes:
        base: the model that was trained on.
        identity: see :class:`Job`.
        files: file name to SHA-256.
        versions: distribution to version at training time.
    """

    base: Base
    identity: str
    files: Mapping[str, str]
    versions: Mapping[str, str]


def assemble(
    out: Path, work: Path, job: Job, recipe: Recipe, log: Sequence[Mapping[str, Any]]
) -> None:
    """Make the adapter folder from a finished work folder; it appears whole.

    Args:
        out: the adapter folder, missing or empty.
        work: holds ``final/``, where the trainer saved the model, and the rows.
        job: what was trained.
        recipe: as run.
        log: lines of ``log.jsonl``.
    """
    # matplotlib takes a second to import, which the commands that only read adapters save.
    from kv_train.plots import draw

    text = dump_recipe(recipe)
    with atomic_path(out) as draft:
        draft.mkdir()
        for name in (WEIGHTS, CONFIG):
            shutil.copyfile(work / "final" / name, draft / name)
        _tidy_config(draft, job.loadable, job.base.revision)
        for rows in sorted(work.glob("*.jsonl")):
            if rows.stat().st_size:
                shutil.copyfile(rows, draft / rows.name)
        (draft / RECIPE).write_text(text, encoding="utf-8")
        with jsonlines.open(draft / "log.jsonl", "w") as writer:
            writer.write_all(log)
        draw(log, draft / "training.png")
        card = model_card(
            recipe, job.base.name, job.hub_name, log, name=out.name, revision=job.base.revision
        )
        (draft / CARD).write_text(card, encoding="utf-8")
        if (work / "runs").is_dir():
            shutil.copytree(work / "runs", draft / "runs")
        write_manifest(draft, job.base, job.identity)


def write_manifest(
    folder: Path, base: Base, identity: str, versions: Mapping[str, str] | None = None
) -> Manifest:
    """Write the checksums of all files in ``folder``; its presence marks a whole adapter.

    Args:
        folder: the adapter.
        base: the model that was trained on.
        identity: see :class:`Job`.
        versions: at training time, None for the installed ones.
    """
    files = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    if versions is None:
        versions = {name: version(name) for name in RECORDED_PACKAGES}
        versions["python"] = platform.python_version()
    manifest = Manifest(base, identity, files, versions)
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def read_config(folder: Path) -> dict[str, Any]:
    """Return PEFT's ``adapter_config.json``.

    Raises:
        AdapterError: the folder or its configuration is missing or cannot be read.
    """
    path = folder / CONFIG
    if not folder.is_dir():
        raise AdapterError(f"{folder}: no such adapter folder; name one that PEFT wrote")
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"{path}: missing; name a folder that PEFT wrote") from error
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{path}: cannot be read ({reason_of(error)}); copy the adapter anew"
        ) from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path}: expected a JSON object; copy the adapter anew")
    return config


def chat_template_kwargs(folder: Path) -> dict[str, Any]:
    """Return what the chat template was called with in training; nothing where no recipe says."""
    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        return dict(recipe["data"]["chat_template_kwargs"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}


def adapter_checksum(folder: Path) -> str:
    """Return one SHA-256 for what an adapter does: its weights and its configuration."""
    parts = sha256_file(folder / WEIGHTS) + sha256_file(folder / CONFIG)
    return hashlib.sha256(parts.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest.

    Raises:
        AdapterError: the folder or its manifest is missing or cannot be read.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise AdapterError(f"{folder}: no such adapter folder")
    if not path.is_file():
        raise AdapterError(
            f"{path}: missing; this folder was not written by kv-train, or not to its end"
        )
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        base = Base(**raw["base"])
        manifest = Manifest(base, raw["identity"], dict(raw["files"]), raw["versions"])
    except (ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"{path}: not a manifest of kv-train ({error!r}); copy the adapter anew"
        ) from error
    for name in manifest.files:
        # Names are copied by: none may lead out of the folder.
        if Path(name).name != name:
            raise AdapterError(f"{path}: lists {name!r}, which is not in its folder; do not use it")
    return manifest


def refuse_changed(folder: Path) -> None:
    """Stop before a new manifest calls files whole that are not as they were trained.

    Args:
        folder: the adapter, with a manifest.

    Raises:
        AdapterError: names the files that are missing or not those of the manifest.
    """
    if changed := changed_files(folder, read_manifest(folder)):
        raise AdapterError(
            f"{folder}: changed or missing since it was trained: {', '.join(changed)}; "
            "copy the folder anew"
        )


def changed_files(folder: Path, manifest: Manifest) -> list[str]:
    """Return the files that are missing or not those of the manifest.

    The card and its picture may change: they say what an adapter does, and do nothing. Rows need
    not be published with it.
    """
    files = {
        name: folder / name
        for name in manifest.files
        if name not in (CARD, RESULTS_FIGURE)
        and not (name in (DATA, HELD_OUT) and not (folder / name).exists())
    }
    return [
        name
        for name, file in files.items()
        if not file.is_file() or sha256_file(file) != manifest.files[name]
    ]


def _tidy_config(folder: Path, base: str, revision: str | None) -> None:
    """Give ``adapter_config.json`` the base's name, and the same bytes at every run.

    PEFT writes the targets as a set, in an order that differs between processes.
    """
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base
    config["revision"] = revision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
