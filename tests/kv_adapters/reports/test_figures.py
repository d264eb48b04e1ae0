"""Every family of tasks has its figure, and the figure says its numbers in words."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from matplotlib.figure import Figure

from kv_adapters.comparison.runs import load_run, load_runs
from kv_adapters.comparison.verdict import judge
from kv_adapters.reports.figures import draw_all
from kv_adapters.reports.figures.positions import bounds
from kv_adapters.reports.figures.scene import Drawing, Point, Scene, curve, look, models

Write = Callable[..., list[Path]]


def test_bounds_of_other_questions_than_the_curve_s_are_not_drawn(write_models: Write) -> None:
    base, *others = load_runs(write_models())
    samples = base.tasks["mdqa_oracle"].samples
    fewer = replace(base.tasks["mdqa_oracle"], samples=samples[:-1])
    base = replace(base, tasks={**base.tasks, "mdqa_oracle": fewer})
    row = Scene(base, judge(base, others)).by_name()["mdqa_pos"][0]
    asked = {pair.base.question_id for pair in row.pairs}
    found = bounds(Scene(base, ()), "mdqa_pos", asked)
    closed = base.tasks["mdqa_closedbook"].samples
    # Of more questions those of the curve.
    assert found == {"closed-book": fmean(sample.score for sample in closed)}
    half = {pair.base.question_id for pair in row.pairs[: len(row.pairs) // 2]}
    scores = [sample.score for sample in closed if sample.question_id in half]
    found = bounds(Scene(base, ()), "mdqa_pos", half)
    assert found["closed-book"] == pytest.approx(fmean(scores))


def test_the_base_is_drawn_over_what_any_adapter_was_asked(write_models: Write) -> None:
    base, *others = load_runs(write_models())
    first, *rest = Scene(base, judge(base, others)).by_name()["mdqa_pos"]
    fewer = replace(first, pairs=first.pairs[:3])
    for rows in ([first, *rest], [fewer, *rest]):
        (label, samples), *_ = models(rows)
        assert (label, len(samples)) == ("base", len(first.pairs))


@pytest.fixture(scope="module")
def drawings(write_models: Write) -> dict[str, Drawing]:
    base, *others = load_runs(write_models())
    scene = Scene(base, judge(base, others), published=True)
    return {drawing.stem: drawing for drawing in draw_all(scene)}


def test_every_family_has_a_figure(drawings: dict[str, Drawing]) -> None:
    assert set(drawings) == {
        "mdqa_pos", "kv_simple_4k", "kv_simple_8k", "kv_simple_16k", "kv_simple_32k",
        "kv_simple-depth-length", "flenqa-by-length", "general-ability",
    }  # fmt: skip


def test_position_curves_stand_between_closed_book_and_oracle(
    drawings: dict[str, Drawing],
) -> None:
    words = drawings["mdqa_pos"].alternative
    assert re.search(r"base, closed-book: 0\.\d\d; base, oracle: 0\.\d\d", words)
    for label in ("base", "simple-template", "simple", "mdqa"):
        assert re.search(rf"{label}: \d\.\d\d at 1, ", words)


def test_heat_maps_are_ordered_by_length_not_by_name(drawings: dict[str, Drawing]) -> None:
    words = drawings["kv_simple-depth-length"].alternative
    places = [words.index(f"{size} in part 1") for size in ("4k", "8k", "16k", "32k")]
    assert places == sorted(places)


def test_reasoning_has_both_ways_and_the_refused_rate(drawings: dict[str, Drawing]) -> None:
    words = drawings["flenqa-by-length"].alternative
    for part in ("accuracy, base: ", "accuracy, base, chain of thought: ",
                 "refused or unreadable, mdqa: 0.00 at 250"):  # fmt: skip
        assert part in words


def test_general_ability_says_change_interval_and_outcome(drawings: dict[str, Drawing]) -> None:
    words = drawings["general-ability"].alternative
    assert re.search(r"mmlu, mdqa: [+-]\d+\.\d points, .* to .*, (failed|inconclusive)", words)
    assert "hellaswag, simple" in words


def test_no_figure_holds_a_picture_that_the_pages_policy_would_block(
    drawings: dict[str, Drawing],
) -> None:
    assert not any(b"<image" in drawing.svg for drawing in drawings.values())


def test_runs_without_positions_lengths_or_margins_draw_nothing(
    write_run: Callable[..., Path],
) -> None:
    base, other = (
        load_run(write_run(name, {}, {"lone": [1.0, 0.0]})) for name in ("base", "other")
    )
    assert draw_all(Scene(base, judge(base, [other]))) == []


def test_lengths_that_were_run_without_their_group_are_one_curve(
    write_run: Callable[..., Path],
) -> None:
    scores = {"base": (1.0, 1.0), "other": (1.0, 0.0)}
    base, other = (
        load_run(
            write_run(
                name, {}, {"flenqa_synth_250": [high], "flenqa_synth_1000": [low], "lone": [1.0]}
            )
        )
        for name, (high, low) in scores.items()
    )
    (drawing,) = draw_all(Scene(base, judge(base, [other])))
    assert drawing.stem == "flenqa_synth-by-length"
    assert "accuracy, base: 1.00 at 250, 1.00 at 1000" in drawing.alternative
    assert "accuracy, other: 1.00 at 250, 0.00 at 1000" in drawing.alternative


def test_a_run_that_was_not_asked_a_length_has_a_heat_map_with_a_gap(
    write_run: Callable[..., Path],
) -> None:
    asked = {"base": "ab", "both": "ab", "one": "a"}
    sizes = {"a": "kv_simple_16dicts", "b": "kv_simple_32dicts"}
    runs = [
        load_run(deep(write_run(name, {}, {sizes[size]: [1.0] for size in lengths})))
        for name, lengths in asked.items()
    ]
    (drawing,) = [
        one for one in draw_all(Scene(runs[0], judge(runs[0], runs[1:]))) if "length" in one.stem
    ]
    assert "both: 16dicts in part 3 of 5 1.00, 32dicts in part 3 of 5 1.00" in drawing.alternative
    assert drawing.alternative.endswith("one: 16dicts in part 3 of 5 1.00.")


def deep(folder: Path) -> Path:
    """Put every gold of a run into the middle."""
    for file in folder.glob("samples_*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["doc"] = {**row["doc"], "depth": 0.5}
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_no_adapter_has_the_bases_look_and_twenty_have_looks_of_their_own() -> None:
    base, adapters = look(0), [look(number) for number in range(1, 21)]
    assert base[0] not in {colour for colour, _ in adapters}
    assert base[1] not in {marker for _, marker in adapters}
    assert len(set(adapters)) == 20


def test_a_folder_with_a_low_line_in_front_is_in_the_legend() -> None:
    axes = Figure().subplots()
    curve(axes, "_mine", [Point(1, 0.5, 0.4, 0.6, 10)], 1, place=0, of=1)
    assert axes.get_legend_handles_labels()[1] == [" _mine"]


@pytest.mark.parametrize(("of", "stands"), [(3, 1), (4, 4)])
def test_intervals_of_many_models_stand_side_by_side(of: int, stands: int) -> None:
    axes = Figure().add_subplot()
    for number in range(of):
        curve(axes, str(number), [Point(1, 0.5, 0.4, 0.6, 10)], number, place=number, of=of)
    axes.set_xlim(0, 2)
    drawn = [line.get_transform().transform((1, 0.5))[0] for line in axes.lines]
    assert len({round(float(x), 1) for x in drawn}) == stands


def test_a_caption_says_how_intervals_are_drawn(
    drawings: dict[str, Drawing], write_run: Callable[..., Path]
) -> None:
    assert drawings["mdqa_pos"].caption.endswith("Bars are 95 % Wilson intervals.")
    runs = [load_run(write_run(name, {1: [1.0], 5: [0.0]})) for name in ("base", "other")]
    (drawing,) = draw_all(Scene(runs[0], judge(runs[0], runs[1:])))
    assert drawing.caption.endswith("Bands are 95 % Wilson intervals.")


def test_a_model_looks_the_same_in_every_figure_whichever_tasks_it_was_asked(
    write_run: Callable[..., Path],
) -> None:
    tasks = {
        "base": ("flenqa_synth_250", "flenqa_synth_1000", "hellaswag"),
        "first": ("hellaswag",),
        "second": ("flenqa_synth_250", "flenqa_synth_1000", "hellaswag"),
    }
    runs = [
        load_run(write_run(name, {}, {task: [1.0, 0.0] for task in asked}))
        for name, asked in tasks.items()
    ]
    scene = Scene(runs[0], judge(runs[0], runs[1:]))
    assert [scene.number(name) for name in ("first", "second")] == [1, 2]
    lengths, ability = (one.svg.decode() for one in draw_all(scene))
    of_second = look(2)[0].lower()
    assert of_second in lengths
    assert of_second in ability
    assert look(1)[0].lower() not in lengths
