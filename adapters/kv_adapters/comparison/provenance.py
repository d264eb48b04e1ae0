"""Where a run's numbers come from, as far as its results say; ours say more than the harness's."""

from collections.abc import Mapping, Sequence
from typing import Any

# Keys of our own record, in kv_adapters/evaluation/record.py and units.py, as a reader calls them.
_TEXTS = {
    "base checksum": "base_sha256",
    "adapter": "adapter",
    "adapter checksum": "adapter_sha256",
    "backend": "backend",
    "command": "command",
    "engine seed": "seed",
}
_COUNTS = {
    "prompts cut": "truncated",
    "documents left out": "skipped",
    "answers kept from interrupted runs": "answers_kept",
    "prompt tokens": "prompt_tokens",
    "found in the prefix cache": "cached_tokens",
    "tokens generated": "generated_tokens",
}
# No evaluation counts as far.
MOST = 2**63

Results = Mapping[str, Any]


def provenance(evaluations: Mapping[str, Results]) -> dict[str, str]:
    """Return settings by name; where evaluations differ, every value there was.

    Args:
        evaluations: date to the results of that date.
    """
    found: dict[str, dict[str, None]] = {}
    for results in evaluations.values():
        for name, value in (_settings(results) | _recorded(results)).items():
            found.setdefault(name, {})[value] = None
    dates = list(dict.fromkeys([min(evaluations), max(evaluations)]))
    seconds = sum(_seconds(results) for results in evaluations.values())
    return (
        {name: " | ".join(values) for name, values in found.items()}
        | _sums([own_record(results) for results in evaluations.values()])
        | {"evaluated": " to ".join(dates), "evaluation time": f"{seconds:.0f} seconds"}
    )


def own_record(results: Results) -> Results:
    """Return what `kv-adapters eval` added to the harness's results; nothing for lm_eval's own."""
    record = results.get("kv_adapters")
    return record if isinstance(record, Mapping) else {}


def _settings(results: Results) -> dict[str, str]:
    config = results["config"]
    found = {
        "model": config.get("model"),
        "model arguments": config.get("model_args"),
        "model revision": config.get("model_revision"),
        "chat template": "yes" if results.get("chat_template") else "no",
        "limit": config.get("limit") or "none",
        "seeds": f"{config.get('random_seed')}, few-shot {config.get('fewshot_seed')}",
        "few-shot examples": {task: n for task, n in _object(results, "n-shot").items() if n},
        "lm_eval": results.get("lm_eval_version"),
        "transformers": results.get("transformers_version"),
        "task hashes": results.get("task_hashes"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "", {})}


def _object(results: Results, key: str) -> Mapping[str, Any]:
    found = results.get(key)
    return found if isinstance(found, Mapping) else {}


def _recorded(results: Results) -> dict[str, str]:
    record = own_record(results)
    found = {name: str(record[key]) for name, key in _TEXTS.items() if record.get(key)}
    packages = record.get("packages")
    if isinstance(packages, Mapping):
        found["packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return found


def _sums(records: Sequence[Results]) -> dict[str, str]:
    """Return counts over all evaluations that hold them, with the cached share in words."""
    found: dict[str, str] = {}
    for name, key in _COUNTS.items():
        if known := [record[key] for record in records if _counted(record.get(key))]:
            found[name] = f"{sum(known):,}"
    shares = [
        (record["cached_tokens"], record["prompt_tokens"])
        for record in records
        if all(_counted(record.get(key)) for key in ("cached_tokens", "prompt_tokens"))
    ]
    if prompt := sum(asked for _, asked in shares):
        cached = sum(kept for kept, _ in shares)
        found["found in the prefix cache"] += f" ({cached / prompt:.0%})"
    return found


def _counted(value: object) -> bool:
    """Whether a value may be a count; a damaged one can be longer than a float."""
    return isinstance(value, int) and 0 <= value < MOST


def _seconds(results: Results) -> float:
    try:
        return float(results.get("total_evaluation_time_seconds") or 0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
