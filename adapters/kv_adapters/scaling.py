"""An adapter between its base and itself: the same matrices, multiplied by less.

What an adapter adds to a weight is ``lora_alpha / r * B @ A`` (divided by the root of ``r`` with
rank-stabilized LoRA), so that a smaller ``lora_alpha`` is the straight line from the base model to
the adapter, at no training. Along that line of fully fine-tuned weights much of what was forgotten
comes back before what was learned is lost (WiSE-FT, Wortsman et al., arXiv 2109.01903).
"""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import jsonlines
from huggingface_hub import metadata_load

from kv_adapters.checks.files import refuse_unserved
from kv_tasks import console
from kv_tasks.errors import AdapterError, UsageError
from kv_tasks.files import atomic_path
from kv_train.adapter import (
    CARD,
    CONFIG,
    MANIFEST,
    RECIPE,
    WEIGHTS,
    Manifest,
    changed_files,
    read_config,
    read_manifest,
    refuse_changed,
    write_manifest,
)
from kv_train.model_card import RESULTS_FIGURE, model_card
from kv_train.recipe_files import load_recipe


def scale_adapter(adapter: Path, by: float, out: Path) -> None:
    """Write the adapter whose difference from the base is ``by`` times that of ``adapter``.

    What tells how it was trained comes along, tensorboard's files and comparisons of the unscaled
    adapter do not. Of an adapter that kv-train did not write, weights and configuration come.

    Args:
        adapter: folder to read.
        by: above 0; 1 is the adapter itself, more makes it stronger.
        out: folder to write, missing or empty, or with what this call would write; its name is the
            new adapter's.

    Raises:
        UsageError: ``by`` is no factor, or ``out`` holds something.
        AdapterError: the folder is no plain LoRA adapter, or not as it was trained.
    """
    if not (math.isfinite(by) and by > 0):
        raise UsageError(f"--by {by}: expected a number above 0, such as 0.5")
    _refuse_unfit(adapter)
    config = _scaled(adapter, by)
    manifest = read_manifest(adapter) if (adapter / MANIFEST).is_file() else None
    if out.is_dir() and any(out.iterdir()):
        if not (manifest and _made_before(out, _identity(manifest, by))):
            raise UsageError(f"--out {out}: is not empty; name another folder")
        console.note(f"{out}: made before, reused")
        return
    with atomic_path(out) as draft:
        draft.mkdir()
        for name in {WEIGHTS, *(manifest.files if manifest else ())}:
            # Rows need not have been published with it.
            if name not in (CARD, RESULTS_FIGURE, CONFIG) and (adapter / name).is_file():
                shutil.copyfile(adapter / name, draft / name)
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (draft / CONFIG).write_text(text, encoding="utf-8")
        if manifest:
            _describe(adapter, draft, manifest, config["lora_alpha"], by)


def _identity(manifest: Manifest, by: float) -> str:
    return hashlib.sha256(f"{manifest.identity} scaled by {by!r}".encode()).hexdigest()


def _made_before(out: Path, identity: str) -> bool:
    try:
        made = read_manifest(out)
    except AdapterError:
        return False
    return made.identity == identity and not changed_files(out, made)


def _refuse_unfit(adapter: Path) -> None:
    """Stop where files are missing or changed, or hold what a smaller alpha would not scale."""
    read_config(adapter)
    if not (adapter / WEIGHTS).is_file():
        raise AdapterError(
            f"{adapter / WEIGHTS}: missing; name a folder that PEFT wrote, with safetensors"
        )
    if (adapter / MANIFEST).is_file():
        refuse_changed(adapter)
    refuse_unserved(adapter)


def _scaled(adapter: Path, by: float) -> dict[str, Any]:
    """Return the configuration with each of its alphas multiplied."""

    def times(key: str, alpha: Any) -> float:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise AdapterError(f"{adapter / CONFIG}: {key} is {alpha!r}; write a number there")
        if not math.isfinite(alpha * by):
            raise UsageError(f"--by {by}: makes {key} infinite; name a smaller number")
        return alpha * by

    config = read_config(adapter)
    pattern = config.get("alpha_pattern") or {}
    return config | {
        "lora_alpha": times("lora_alpha", config.get("lora_alpha")),
        "alpha_pattern": {
            name: times(f"alpha_pattern[{name}]", alpha) for name, alpha in pattern.items()
        },
    }


def _describe(adapter: Path, draft: Path, manifest: Manifest, alpha: float, by: float) -> None:
    """Write a card of its own and a manifest that knows the copy from the original."""
    recipe = load_recipe(str(adapter / RECIPE))
    with jsonlines.open(adapter / "log.jsonl") as reader:
        log = list(reader)
    told = metadata_load(adapter / CARD) if (adapter / CARD).is_file() else None
    hub_name = (told or {}).get("base_model")
    note = (
        f"Scaled after training: `lora_alpha` is {alpha:g}, where the training had "
        f"{recipe.lora.alpha:g}. What is said of the training below is of before that."
    )
    card = model_card(
        recipe,
        manifest.base.name,
        hub_name if isinstance(hub_name, str) else None,
        log,
        name=draft.name,
        revision=manifest.base.revision,
        note=note,
    )
    (draft / CARD).write_text(card, encoding="utf-8")
    write_manifest(draft, manifest.base, _identity(manifest, by), manifest.versions)
