"""All that can be said about an adapter: from its files, and from what vLLM answers with it."""

import tempfile
from pathlib import Path

from kv_adapters.checks.check import Check
from kv_adapters.checks.files import file_checks
from kv_tasks import console
from kv_tasks.errors import AdapterError, KVError, MissingPackageError, reason_of
from kv_train.adapter import CONFIG, MANIFEST, read_config, read_manifest
from kv_train.models import resolve_model


def verify(
    adapter: Path, base: str | None = None, *, live: bool = True, gpu_share: float | None = None
) -> list[Check]:
    """Check an adapter folder.

    Args:
        adapter: the folder.
        base: folder, hub name or short name of the base model; None for the one that the
            adapter names.
        live: whether to load the base model and ask vLLM, too.
        gpu_share: of a GPU that vLLM may fill, None for its own default.

    Raises:
        AdapterError: no such folder, or it does not name its base.
        ModelError: the base model is not there.
    """
    folder = find_base(adapter, base)
    # Engines know an adapter by its name, and `.` has none.
    adapter = adapter.resolve()
    checks = file_checks(adapter, folder)
    if not live:
        return [*checks, Check("live", "not checked", "vLLM asked", "--no-live")]
    if any(check.status == "failed" for check in checks):
        found = "nothing is loaded before the above is mended"
        return [*checks, Check("live", "not checked", "vLLM asked", found)]
    return [*checks, *ask_live(adapter, folder, gpu_share)]


def find_base(adapter: Path, base: str | None) -> Path:
    """Return the base model's folder: as given, or as the adapter names it."""
    if base is not None:
        return resolve_model(base)
    if (adapter / MANIFEST).is_file():
        trained_on = read_manifest(adapter).base
        return resolve_model(trained_on.name, trained_on.revision)
    config = read_config(adapter)
    if not config.get("base_model_name_or_path"):
        raise AdapterError(f"{adapter / CONFIG}: names no base model; give --base")
    return resolve_model(config["base_model_name_or_path"], config.get("revision"))


def ask_live(adapter: Path, base: Path, gpu_share: float | None = None) -> list[Check]:
    """Load base and adapter in PEFT and in vLLM, and compare."""
    from kv_adapters.checks.engine import measure, start, stop
    from kv_adapters.checks.live import live_checks
    from kv_adapters.checks.probes import probes, reference
    from kv_adapters.engine_settings import refuse_cuda_torch

    try:
        refuse_cuda_torch()
    except MissingPackageError as error:
        mend = "install it, or leave the live checks out with --no-live"
        return [Check("live", "failed", "vLLM asked", str(error), mend)]
    prompts = probes(base)
    try:
        console.note(f"computing {len(prompts)} prompts with PEFT")
        wanted = reference(base, adapter, prompts)
        console.note("starting vllm")
        llm = start(base, adapter, prompts, gpu_share)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                measured = measure(llm, adapter, prompts, Path(scratch))
        finally:
            stop(llm)
    except KVError:
        raise
    except Exception as error:  # noqa: BLE001 - PEFT and vLLM may raise anything
        reason = f"{type(error).__name__}: {reason_of(error)}"
        mend = "vLLM and PEFT say why; see that the base model is the adapter's own"
        return [Check("loads", "failed", "PEFT and vLLM load it", reason, mend)]
    return [Check("loads", "ok", "PEFT and vLLM load it", "both"), *live_checks(wanted, measured)]
