"""A recipe's base model as far as it can be known without its weights.

A hub name gives its configuration and tokenizer, a few megabytes; weights are never fetched.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoTokenizer

from kv_tasks.errors import ModelError, reason_of
from kv_tasks.paths import cache_folder
from kv_train.architecture import Architecture, architecture, meta_model
from kv_train.check.findings import Finding
from kv_train.models import (
    DEMO,
    OTHER_FORMATS,
    check_revision,
    one_format,
    public_name,
    resolve_model,
)
from kv_train.recipe import Recipe
from kv_train.refusal import read_config, refusal, renamed, unshared
from kv_train.tokens import Tokenizer

SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt"]
HUB_SECONDS = 3.0


@dataclass(frozen=True)
class Model:
    """What is known of a base model.

    Attributes:
        folder: of its tokenizer, by which windows are counted; None where it cannot be had.
        tokenizer: None where it cannot be had, or has no chat template to train on.
        config: of transformers, None where there is none, or none that can be trained here.
        shapes: None where there is no configuration, or none of a known architecture.
        findings: what is wrong with it, or could not be looked at.
    """

    folder: Path | None
    tokenizer: Tokenizer | None
    config: Any
    shapes: Architecture | None
    findings: tuple[Finding, ...]


def look_up(recipe: Recipe, stand_in: Path | None = None) -> Model:
    """Find out what can be known of a recipe's base model.

    Args:
        recipe: names the model.
        stand_in: folder whose tokenizer, and configuration if it has one, replace the model's.
    """
    findings: list[Finding] = []
    folder = None
    if stand_in is None or not (stand_in / "config.json").is_file():
        folder = _folder(recipe, findings)
    else:
        findings.append(
            Finding("unchecked", "weights", "not looked at: --tokenizer stands in for the model")
        )
    tokens = stand_in or folder
    tokenizer = _tokenizer(tokens, findings)
    config, shapes = _shapes(recipe, folder or stand_in, findings)
    return Model(
        folder=tokens if tokenizer is not None else None,
        tokenizer=_with_template(tokenizer, tokens, findings),
        config=config,
        shapes=shapes,
        findings=tuple(findings),
    )


def _folder(recipe: Recipe, findings: list[Finding]) -> Path | None:
    """Return the folder of the model's small files."""
    name = recipe.model
    demo = cache_folder() / "models" / DEMO
    if name == DEMO and not (demo / "config.json").is_file():
        fetch = f"fetch it with: kv-train model {DEMO}"
        findings.append(Finding("unchecked", "model", f"{DEMO} is not on this machine", fetch))
        return None
    try:
        check_revision(name, recipe.revision)
        on_hub = _on_hub(name)
        folder = _from_hub(name, recipe.revision) if on_hub else resolve_model(name)
    except ModelError as error:
        findings.append(Finding("error", "model", str(error)))
        return None
    except RepositoryNotFoundError as error:
        findings.append(
            Finding(
                "error", "model", f"{name}: {reason_of(error, first_line=True)}",
                "check the name; of a gated model accept the terms on the hub and set HF_TOKEN",
            )
        )  # fmt: skip
        return None
    except Exception as error:  # noqa: BLE001 - the hub's transport raises what it likes
        findings.append(
            Finding(
                "unchecked", "model",
                f"{name} is not here, and the hub did not give it "
                f"({reason_of(error, first_line=True)})",
                "give its tokenizer and config.json as --tokenizer DIR",
            )
        )  # fmt: skip
        return None
    if not any(folder.glob("*.safetensors")):
        findings.append(_no_weights(folder, on_hub))
    return folder


def _on_hub(name: str) -> bool:
    """Whether :func:`resolve_model` would ask the hub, and download weights."""
    path = name.startswith((".", "/", "~"))
    return public_name(name) == name and name.count("/") == 1 and not path


def _no_weights(folder: Path, on_hub: bool) -> Finding:
    if on_hub:
        return Finding("unchecked", "weights", "not here, not looked at; a run fetches them")
    return Finding(
        "error", "model", f"{folder} has no *.safetensors weights", "save it with transformers"
    )


def _from_hub(name: str, revision: str | None) -> Path:
    """Return the folder of a hub model's small files, from the hub or from its cache.

    One request of three seconds tells whether the hub answers; without it, the library tries
    again for minutes.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download

    unreachable = None
    try:
        url = hf_hub_url(name, "config.json", revision=revision)
        get_hf_file_metadata(url, timeout=HUB_SECONDS)
    except Exception as error:  # noqa: BLE001 - as above
        unreachable = error
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=SMALL_FILES,
            ignore_patterns=list(OTHER_FORMATS),
            local_files_only=unreachable is not None,
        )
    except OSError:
        # Why the hub did not answer says more than that its cache is empty.
        raise unreachable or OSError("broken download") from None
    return one_format(Path(folder))


def _tokenizer(folder: Path | None, findings: list[Finding]) -> Any:
    if folder is None:
        findings.append(Finding("unchecked", "rows", "not encoded: there is no tokenizer"))
        return None
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        findings.append(
            Finding(
                "error",
                "model",
                f"{folder}: no tokenizer that loads ({reason_of(error, first_line=True)})",
            )
        )
        return None


def _with_template(tokenizer: Any, folder: Path | None, findings: list[Finding]) -> Any:
    if tokenizer is None or tokenizer.chat_template:
        return tokenizer
    findings.append(
        Finding(
            "error", "model", f"the tokenizer of {folder} has no chat template",
            "choose an instruction-tuned model, or save a chat_template.jinja beside it",
        )
    )  # fmt: skip
    return None


def _shapes(
    recipe: Recipe, folder: Path | None, findings: list[Finding]
) -> tuple[Any, Architecture | None]:
    """Return a configuration and the shapes of the model that it describes."""
    if folder is None or not (folder / "config.json").is_file():
        unknown = "limits of length, LoRA targets, memory and time: there is no config.json"
        findings.append(Finding("unchecked", "architecture", unknown))
        return None, None
    try:
        config = read_config(folder)
    except ModelError as error:
        findings.append(Finding("error", "model", str(error)))
        return None, None
    try:
        if refused := refusal(config):
            findings.append(Finding("error", "model", f"cannot be trained here: {refused}"))
            return None, None
        model = meta_model(config)
        shapes, mixed = architecture(model), unshared(model)
        elsewhere = renamed(shapes, recipe.lora.targets, folder)
    except Exception as error:  # noqa: BLE001 - any code of any architecture
        found = f"{folder / 'config.json'}: {reason_of(error, first_line=True)}"
        findings.append(Finding("unchecked", "architecture", found))
        return None, None
    if elsewhere:
        findings.append(Finding("error", "model", f"cannot be trained here: {elsewhere}"))
    asked = recipe.training.questions_per_pack
    if mixed and asked > 1:
        where = "training.questions_per_pack"
        findings.append(Finding("error", where, f"{asked}, but {mixed}", "set it to 1"))
    return config, shapes
