"""The adapter folder: what PEFT and vLLM load, and what says where it came from.

adapter_model.safetensors  adapter_config.json     what PEFT and vLLM load
recipe.yaml  data.jsonl  log.jsonl  README.md      how it was made; model card
manifest.json                                      checksums of all of it, written last
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kv_tasks.errors import AdapterError
from kv_tasks.files import sha256_file

MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECORDED_PACKAGES = ("kv-tasks", "torch", "transformers", "peft")


@dataclass(frozen=True)
class Base:
    """The base model an adapter belongs to; ``sha256`` is its identity."""

    name: str
    revision: str | None
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds.

    Attributes:
        base: the model that was trained on.
        identity: digest of recipe, base and data; equal identities mean equal training.
        files: file name to SHA-256.
        versions: distribution to version at training time.
    """

    base: Base
    identity: str
    files: Mapping[str, str]
    versions: Mapping[str, str]


def write_manifest(folder: Path, base: Base, identity: str) -> Manifest:
    """Write the checksums of all files in ``folder``; its presence marks a whole adapter."""
    files = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    versions = {name: version(name) for name in RECORDED_PACKAGES}
    manifest = Manifest(base, identity, files, versions)
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


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
        return Manifest(base, raw["identity"], raw["files"], raw["versions"])
    except (ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{path}: not a manifest of kv-train ({error!r})") from error


def tidy_config(folder: Path, base: str, revision: str | None) -> None:
    """Give ``adapter_config.json`` the base's name, and the same bytes at every run.

    PEFT writes the targets as a set, in an order that differs between processes.
    """
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base
    config["revision"] = revision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def model_card(name: str, base: str, recipe_text: str) -> str:
    """Return the README.md of an adapter in the hub's form."""
    return f"""---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
- long-context
- retrieval
- kv-tasks
---

# {name}

A LoRA adapter of `{base}`, fine-tuned on synthetic key-value retrieval prompts to use facts
from anywhere in a long prompt. The data is random integers and teaches no facts. The method is
that of Xiong et al., *From Artificial Needles to Real Haystacks* (arXiv 2406.19292).

## What it was seen to do

Not measured yet. Evaluate it beside its base before use:

    kv-adapters eval --base {base} --adapter . --tasks kv_simple,mdqa_pos_synth --out results

## Use

    vllm serve {base} --enable-lora --lora-modules {name}=.

`manifest.json` holds the checksums of every file here and of the base model.

## Recipe

```yaml
{recipe_text}```
"""
