"""What an adapter's files say: checksums, options, names, shapes, and the base they belong to.

vLLM checks only the last component of a module's name: an adapter with a wrong prefix loads
and serves the base model's answers. So every tensor is matched to the base by its full name
and shape here. Only files are read: no model is loaded, no pickle is opened.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from kv_adapters.checks.check import Check, judged
from kv_tasks.errors import AdapterError, KVError, reason_of
from kv_train.adapter import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    changed_files,
    read_config,
    read_manifest,
)
from kv_train.model_card import typed_base
from kv_train.models import base_checksum
from kv_train.recipe import MAX_RANK

Steps = tuple[Callable[[Path, Path], Iterator[Check]], ...]
PREFIX = "base_model.model."
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Options of adapter_config.json that vLLM 0.32 rejects, with the values that it accepts.
REJECTED: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "modules_to_save": (None, [], ["score"], ["classifier"], ["classifier", "score"]),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga"),
    "alora_invocation_tokens": (None, []),
    "layer_replication": (None, []),
    "use_bdlora": (None, False),
    "use_qalora": (False, None),
}


def file_checks(adapter: Path, base: Path) -> list[Check]:
    """Run all checks on an adapter folder against its base model's folder.

    Raises:
        AdapterError: ``adapter`` is no folder at all.
    """
    if not adapter.is_dir():
        raise AdapterError(f"{adapter}: no such adapter folder")
    steps: Steps = (_files, _options, _targets, _effect, _base)
    return list(_read(adapter, base, steps))


def _read(adapter: Path, base: Path, steps: Steps) -> Iterator[Check]:
    """Yield the checks of each step; of one that cannot read its files, that."""
    for step in steps:
        try:
            yield from list(step(adapter, base))
        except (
            KVError, OSError, ValueError, LookupError, TypeError, SafetensorError, re.error,
        ) as error:  # fmt: skip
            name = step.__name__.removeprefix("_")
            found = reason_of(error)
            yield Check(name, "failed", "readable", found, "copy or train it again")


def refuse_broken(adapter: Path, base: Path) -> None:
    """Raise AdapterError naming the first failed check, so that nothing broken is evaluated."""
    _refuse_failed(adapter, file_checks(adapter, base))


def refuse_unserved(adapter: Path) -> None:
    """Raise AdapterError where configuration or tensors are of more than plain LoRA."""
    _refuse_failed(adapter, _read(adapter, adapter, (_options, _matrices)))


def _refuse_failed(adapter: Path, checks: Iterable[Check]) -> None:
    for check in checks:
        if check.status == "failed":
            raise AdapterError(
                f"{adapter}: {check.name}: expected {check.expected}, found {check.found}; "
                f"{check.mend}"
            )


def _files(adapter: Path, _: Path) -> Iterator[Check]:
    pickles = sorted(file.name for pattern in PICKLES for file in adapter.glob(pattern))
    yield judged(
        "no pickles", not pickles, "weights in safetensors only", ", ".join(pickles) or "none",
        "a pickle can run any code: convert it with PEFT's save_pretrained and delete it",
    )  # fmt: skip
    needed = [name for name in (CONFIG, WEIGHTS) if not (adapter / name).is_file()]
    yield judged(
        "files", not needed, f"{CONFIG} and {WEIGHTS}",
        f"no {', no '.join(needed)}" if needed else "both", "train again, or copy the folder whole",
    )  # fmt: skip
    if not (adapter / MANIFEST).is_file():
        yield Check("checksums", "not checked", MANIFEST, "none: not written by kv-train")
        return
    manifest = read_manifest(adapter)
    changed = changed_files(adapter, manifest)
    yield judged(
        "checksums", not changed, f"{len(manifest.files)} files as in {MANIFEST}, the card apart",
        f"changed or missing: {', '.join(changed)}" if changed else "all equal",
        "the files are not the ones that were trained: copy the folder anew",
    )  # fmt: skip


def _options(adapter: Path, _: Path) -> Iterator[Check]:
    config = read_config(adapter)
    wrong = [
        f"{option}={config[option]!r}"
        for option, accepted in REJECTED.items()
        if option in config and config[option] not in accepted
    ]
    if config.get("peft_type") != "LORA":
        wrong.insert(0, f"peft_type={config.get('peft_type')!r}")
    yield judged(
        "options", not wrong, "plain LoRA, as vLLM serves", ", ".join(wrong) or "plain LoRA",
        "train without these options, or merge the adapter into its base",
    )  # fmt: skip
    rank = largest_rank(config)
    yield judged(
        "rank", 1 <= rank <= MAX_RANK, f"1 to {MAX_RANK}", str(rank), "train with a lower rank"
    )


def _matrices(adapter: Path, _: Path) -> Iterator[Check]:
    """Look for what no base is needed to see; :func:`_targets` sees more."""
    halves = (".lora_A.weight", ".lora_B.weight")
    others = [name for name in tensor_shapes(adapter / WEIGHTS) if not name.endswith(halves)]
    yield judged(
        "matrices", not others, "LoRA matrices alone",
        f"{len(others)} other tensors, such as {others[0]}" if others else "no others",
        "train without them, or merge the adapter into its base",
    )  # fmt: skip


def _targets(adapter: Path, base: Path) -> Iterator[Check]:
    modules, config = _base_shapes(base), read_config(adapter)
    shapes = tensor_shapes(adapter / WEIGHTS)
    halves = defaultdict(set)
    unmatched, misshapen = [], []
    for name, shape in shapes.items():
        module, part = module_and_part(name)
        if not name.startswith(PREFIX) or module not in modules:
            unmatched.append(name)
            continue
        halves[module].add(part)
        (outputs, inputs), rank = modules[module], _rank_of(module, config)
        wanted = {"A": [rank, inputs], "B": [outputs, rank]}.get(part)
        if shape != wanted:
            misshapen.append(f"{name} {tuple(shape)} in place of {tuple(wanted or ())}")
    alone = [
        f"{module} without its other half" for module, parts in halves.items() if len(parts) < 2
    ]
    wrong = unmatched + misshapen + alone
    yield judged(
        "targets", bool(shapes) and not wrong,
        f"every tensor named and shaped after a module of {base.name}, and of the config's rank",
        f"{len(wrong)} of {len(shapes)} not, such as {wrong[0]}" if wrong
        else f"{len(shapes)} matched" if shapes else "no tensors",
        "vLLM would load this and serve the base model's answers: train on this base, or "
        f"rename the tensors to {PREFIX}<module>.lora_A.weight" if unmatched or not shapes else
        f"weights and {CONFIG} are not of one training on this base: copy the folder anew, or "
        "train on this base",
    )  # fmt: skip


def module_and_part(name: str) -> tuple[str, str]:
    """Return a tensor's module, as the base names it, and "A" or "B"."""
    module, _, part = name.removeprefix(PREFIX).rpartition(".lora_")
    return module, part.removesuffix(".weight")


def largest_rank(config: Mapping[str, Any]) -> int:
    """Return the largest rank that the config gives any module."""
    return max(map(int, [config["r"], *(config.get("rank_pattern") or {}).values()]))


def _rank_of(module: str, config: Mapping[str, Any]) -> int:
    """Return the rank that the config gives a module."""
    ranks = config.get("rank_pattern") or {}
    if ranks:
        # PEFT takes seconds to import, and few adapters have such patterns.
        from peft.utils.other import get_pattern_key

        return int(ranks.get(get_pattern_key(list(ranks), module), config["r"]))
    return int(config["r"])


def _effect(adapter: Path, _: Path) -> Iterator[Check]:
    from safetensors import safe_open

    live: dict[str, set[str]] = defaultdict(set)
    broken, modules = [], set()
    with safe_open(adapter / WEIGHTS, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            # As float, since not every short type can be asked.
            tensor = weights.get_tensor(name).float()
            module, part = module_and_part(name)
            modules.add(module)
            if not tensor.isfinite().all():
                broken.append(name)
            if tensor.any():
                live[module].add(part)
    count = sum(parts >= {"A", "B"} for parts in live.values())
    yield judged(
        "effect", count > 0 and not broken,
        "finite numbers, and some module whose A and B are not zero",
        f"NaN or infinity in {len(broken)} tensors, such as {broken[0]}" if broken
        else f"{count} of {len(modules)}",
        "the training diverged: train again, at a lower rate" if broken
        else "an adapter whose A or B is zero changes nothing: it was saved before training",
    )  # fmt: skip


def _base(adapter: Path, base: Path) -> Iterator[Check]:
    if not (adapter / MANIFEST).is_file():
        yield Check("base", "not checked", "checksum of the base", "no manifest")
        return
    trained_on, given = read_manifest(adapter).base, base_checksum(base)
    yield judged(
        "base", trained_on.sha256 == given, f"{trained_on.name} ({trained_on.sha256[:12]})",
        f"{base} ({given[:12]})",
        f"give --base {typed_base(trained_on.name, trained_on.revision)}; where that is what you "
        "gave, its weights or config.json are others now than in the training",
    )  # fmt: skip


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor of a safetensors file, from its header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as tensors:
        return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118


def _base_shapes(base: Path) -> dict[str, list[int]]:
    """Return module name to weight shape (out, in) of a base model's folder."""
    return {
        name.removesuffix(".weight"): shape
        for file in sorted(base.glob("*.safetensors"))
        for name, shape in tensor_shapes(file).items()
        if name.endswith(".weight") and len(shape) == 2
    }
