"""Fill an adapter's README.md with what a comparison found, in the hub's form."""

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kv_adapters.comparison import tables
from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.doubts import doubts
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.verdict import Verdict, judge
from kv_adapters.reports.figures import draw_all
from kv_adapters.reports.figures.scene import Drawing, Scene
from kv_tasks.errors import AdapterError, RunError
from kv_tasks.files import atomic_path, sha256_file, write_text
from kv_train.adapter import CARD, MANIFEST, adapter_checksum, read_manifest, refuse_changed
from kv_train.model_card import RESULTS, RESULTS_FIGURE


def write_card(adapter: Path, base: Run, run: Run, gate: Gate | None = None) -> Path:
    """Put table, figure and the hub's metadata into an adapter's card; a second call replaces.

    The manifest follows, so that the adapter stays whole: it is written last.

    Args:
        adapter: folder that kv-train wrote.
        base: results of the base model.
        run: results of the adapter.
        gate: what must not be lost, and what must be gained; None is the default.

    Raises:
        AdapterError: the folder has no card or no place in it, its other files changed, or the
            run is another adapter's.
        RunError: the runs cannot be compared, or are not of the base that the adapter was trained
            on, and in this order.
    """
    file = adapter / CARD
    text = _read(file)
    refuse_changed(adapter)
    _refuse_foreign(adapter, run)
    _refuse_other_bases(adapter, base, run)
    (verdict,) = judge(base, [run], gate)
    drawings = draw_all(Scene(base, [verdict]))
    figure = drawings[0] if drawings else None
    if figure:
        with atomic_path(adapter / RESULTS_FIGURE) as draft:
            draft.write_bytes(figure.png)
    before, _, rest = text.partition(RESULTS[0])
    after = rest.partition(RESULTS[1])[2]
    notes = [*tables.remarks(verdict), *_fit_to_publish(verdict.warnings, [base, run])]
    section = f"{RESULTS[0]}\n{_section(verdict, notes, figure)}{RESULTS[1]}"
    card = ModelCard(before + section + after)
    name = adapter.resolve().name
    # The hub's writer makes the model index of these two.
    found = {"model_name": name, "eval_results": _results(verdict.rows)}
    card.data = ModelCardData(**{**vars(card.data), **found})
    write_text(file, str(card))
    _follow(adapter, [CARD, *([RESULTS_FIGURE] if figure else [])])
    return file


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise AdapterError(f"{file}: {error.strerror}; kv-train writes a card") from error
    if not all(marker in text for marker in RESULTS):
        raise AdapterError(
            f"{file}: no place for results; put in the lines {' and '.join(RESULTS)}"
        )
    return text


def _refuse_foreign(adapter: Path, run: Run) -> None:
    """Stop where a run says which weights it is of, and they are others."""
    known = run.provenance.get("adapter checksum")
    if known is not None and known != adapter_checksum(adapter):
        raise AdapterError(
            f"{run.folder}: results of another adapter ({known[:12]}) than {adapter} "
            f"({adapter_checksum(adapter)[:12]}); evaluate this one"
        )


def _refuse_other_bases(adapter: Path, base: Run, run: Run) -> None:
    """Stop where the runs say that they are of other models than the card would."""
    if found := doubts(base, run):
        raise RunError("; ".join(found))
    trained_on = read_manifest(adapter).base
    for one in (base, run):
        if one.base_sha256 not in (None, trained_on.sha256):
            raise RunError(
                f"{one.folder}: results of another base model ({str(one.base_sha256)[:12]}) than "
                f"{adapter} was trained on ({trained_on.name}, {trained_on.sha256[:12]}); evaluate "
                "with that one"
            )


def _fit_to_publish(warnings: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Return warnings without what only the one who evaluated can use: paths and exceptions."""
    plain = {
        f"{name}: {why}": f"{name}: no score from 0 to 1"
        for run in runs
        for name, why in run.unfit.items()
    }
    return list(dict.fromkeys(plain.get(line, line) for line in warnings))


def _section(verdict: Verdict, notes: Sequence[str], figure: Drawing | None) -> str:
    text = (
        tables.markdown(verdict, notes) + "\nChanges are in points of 100 against the base model.\n"
    )
    if figure:
        text += f"\n![{figure.caption}]({RESULTS_FIGURE})\n"
    return text


def _results(rows: Sequence[Comparison]) -> list[EvalResult]:
    """Return the adapter's scores as the hub's model index knows them."""
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=row.name,
            dataset_name=row.name,
            metric_type=row.metric,
            metric_name=row.metric,
            metric_value=round(row.difference.other, 4),
        )
        for row in rows
        if row.member_of is None
    ]


def _follow(adapter: Path, names: Sequence[str]) -> None:
    """Write the new checksums of what was written here into the manifest."""
    file = adapter / MANIFEST
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["files"] |= {name: sha256_file(adapter / name) for name in names}
    write_text(file, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
