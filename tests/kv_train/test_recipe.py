"""Recipes: what is accepted, and how a mistake is named."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from kv_tasks import training_mdqa
from kv_tasks.errors import DataError, RecipeError
from kv_tasks.files import write_jsonl
from kv_tasks.mdqa_prompt import question_of
from kv_tasks.strict_yaml import load_once
from kv_train.examples import generate, held_out, read_rows, row_names
from kv_train.recipe import Data, Evaluation, Lora, OpenAI, Recipe, Section, Training
from kv_train.recipe_files import dump_recipe, for_seeds, load_recipe, recipes_folder

MINIMAL = "name: x\nmodel: smollm2-135m\n"


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("file", sorted(recipes_folder().glob("*.yaml")), ids=lambda f: f.stem)
def test_every_packaged_recipe_loads_by_name_and_begins_with_its_command(file: Path) -> None:
    recipe = load_recipe(file.stem)
    assert recipe.name == file.stem
    command = "openai" if recipe.openai else "run"
    assert file.read_text().startswith(f"# kv-train {command} {file.stem}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {lerning_rate: 1}", "unknown key 'training.lerning_rate'; did you mean 'lear"),
        ("zzz: 1", "unknown key 'zzz'; allowed: name, model"),
        ("training: {learning_rate: 7}", r"training.learning_rate: .* \(found 7\)"),
        ("data: {kind: poem}", r"data.kind: .*'simple'.*\(found 'poem'\)"),
        ("lora: {targets: [lm_head]}", r"lora.targets.0: .*'q_proj'.*found 'lm_head'"),
        ("data: {samples: 10, questions_per_context: 4}", "10 is no multiple of questions_per_con"),
        ("data: {dictionaries: 8, tokens: 900}", "dictionaries 8 and tokens 900 both say"),
        ("data: {tokens: 900, shortest: 1000}", "shortest 1000 exceeds tokens 900"),
        ("lora: {rank: 1024}", r"lora.rank: .*512 \(found 1024\)"),
        ("mix: [{}, {smaples: 8}]", "unknown key 'mix.1.smaples'; did you mean 'samples'"),
        ("mix: [{chat_template_kwargs: {a: 1}}]", "chat_template_kwargs are said once, in data"),
        ("training: {seed: -1}", r"training.seed: .*greater than or equal to 0 \(found -1\)"),
        (
            "data: {chat_template_kwargs: {add_generation_prompt: true}}",
            "data.chat_template_kwargs: .*add_generation_prompt is decided here",
        ),
        ("data: {kind: mdqa, documents: 2, questions_per_context: 5}", "5 exceeds documents 2"),
        ("training: {epochs: .inf}", r"training.epochs: .*finite number \(found inf\)"),
        ("training: {learning_rate: .nan}", r"training.learning_rate: .*finite.* \(found nan\)"),
        ("training: {max_grad_norm: .inf}", r"training.max_grad_norm: .*finite .*\(found inf\)"),
        ("training: {weight_decay: .nan}", r"training.weight_decay: .*finite .*\(found nan\)"),
        ("lora: {alpha: .inf}", r"lora.alpha: .*finite number \(found inf\)"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    file = write(tmp_path, MINIMAL + text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(file)
    assert str(caught.value).startswith(file)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="model is missing"):
        load_recipe(write(tmp_path, "name: x"))


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="line 1"):
        load_recipe(write(tmp_path, "name: [x"))


def test_what_no_yaml_shows_is_an_error_with_its_place(tmp_path: Path) -> None:
    twice = MINIMAL + "lora: {rank: 8}\nlora: {rank: 16}\n"
    with pytest.raises(RecipeError, match="key 'lora' is there twice .* line"):
        load_recipe(write(tmp_path, twice))
    with pytest.raises(RecipeError, match=r"a key is a list or mapping, not a word .* line"):
        load_recipe(write(tmp_path, MINIMAL + "? [rank]\n: 8\n"))
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"latin\.yaml: not a text in UTF-8"):
        load_recipe(str(file))
    with pytest.raises(RecipeError, match=r"mix: expected a list, .* --set 'mix="):
        load_recipe(write(tmp_path, MINIMAL), ["mix.0.file=own.jsonl"])


def test_an_unknown_recipe_lists_the_packaged_ones() -> None:
    with pytest.raises(RecipeError, match="packaged are: .*smollm2-135m-1k"):
        load_recipe("no-such-recipe")


def test_set_overrides_a_key_and_is_checked_like_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL)
    recipe = load_recipe(file, ["training.learning_rate=1e-5", "data.template=false"])
    assert recipe.training.learning_rate == 1e-5
    assert recipe.data.template is False
    with pytest.raises(RecipeError, match="unknown key 'training.rate'"):
        load_recipe(file, ["training.rate=1"])
    with pytest.raises(RecipeError, match="expected key=value"):
        load_recipe(file, ["training.epochs"])


def test_a_written_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe("smollm2-135m-1k")
    text = dump_recipe(recipe)
    assert load_recipe(write(tmp_path, text)) == recipe
    assert yaml.safe_load(text)["lora"]["rank"] == recipe.lora.rank


MIXED = """
data: {samples: 4, dictionaries: 3}
mix:
  - {kind: mdqa, corpus: encyclopedia-training, samples: 6, documents: 5, questions_per_context: 3}
  - {kind: multi-query, samples: 2, dictionaries: 8}
"""


def test_of_mixed_data_all_is_trained_on_and_all_is_held_out(
    tmp_path: Path, tiny_folder: Path
) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + MIXED), ["mix.1.samples=3"])
    rows = list(generate(recipe, tiny_folder))
    starts = [row["messages"][0]["content"].split(" ", 1)[0] for row in rows]
    assert starts == ["Do"] * 4 + ["Write"] * 6 + ["Do"] * 3
    asked = [(row["kind"], row["messages"][0]["content"]) for row in held_out(recipe, "m")]
    assert Counter(kind for kind, _ in asked) == {"simple": 40, "mdqa": 42, "multi-query": 40}
    assert not {text for _, text in asked} & {row["messages"][0]["content"] for row in rows}
    with pytest.raises(RecipeError, match="--set mix.7.samples=3: '7' has no keys"):
        load_recipe(write(tmp_path, MINIMAL + MIXED), ["mix.7.samples=3"])


def test_a_missing_file_is_said_before_anything_is_generated(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + MIXED), [f"mix.1.file={tmp_path / 'none'}"])
    with pytest.raises(DataError, match="none: no such file; .* kv-train own-answers MODEL"):
        next(generate(recipe, "m"))


def test_a_seed_is_the_seed_of_all_that_is_mixed(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + MIXED))
    ((seeded, folder),) = for_seeds(recipe, tmp_path / "a", "7")
    assert [data.seed for data in seeded.sections] == [7, 7, 7]
    assert folder.name == "a-seed7"


def test_sections_that_seeds_tell_apart_stay_apart(tmp_path: Path) -> None:
    recipe = load_recipe("smollm2-135m-4k")
    (zero, _), (one, _), (five, _) = for_seeds(recipe, tmp_path / "a", "0,1,5")
    assert zero.sections == recipe.sections
    seeds = [[data.seed for data in made.sections] for made in (zero, one, five)]
    apart = [[seed - of[0] for seed in of] for of in seeds]
    assert apart[0] == apart[1] == apart[2]
    # Nor do two seeds share a section's prompts under another section's name.
    assert len({seed for of in seeds for seed in of}) == 3 * len(set(seeds[0]))
    assert [made.training.seed for made in (zero, one, five)] == [0, 1, 5]


def test_a_file_that_is_mixed_in_is_trained_on_whole(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    mixed = f"mix: [{{file: {file}, samples: 120}}]\n"
    with pytest.raises(RecipeError, match=r"samples means nothing to .*own\.jsonl, of which every"):
        load_recipe(write(tmp_path, MINIMAL + mixed))


@pytest.mark.parametrize("kind", ["simple", "multi-subkey", "multi-query"])
def test_every_kind_fills_a_window_of_the_models_own_tokens(kind: str, tiny_folder: Path) -> None:
    data = Data(kind=kind, samples=6, tokens=1500, shortest=1200, questions_per_context=2)
    rows = list(generate(Recipe(name="r", model="m", data=data), tiny_folder))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    lengths = [
        len(tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False))
        for row in rows
    ]
    assert len(rows) == 6
    assert len({row["context_id"] for row in rows}) == 3
    assert all(900 < length <= 1500 for length in lengths)


def test_no_question_that_any_section_trains_on_is_held_out(tmp_path: Path) -> None:
    """Whatever the corpora, seeds and numbers of questions over one context."""
    documents = "kind: mdqa, corpus: encyclopedia-training, documents: 5"
    file = tmp_path / "rows.jsonl"
    trained = training_mdqa.rows(samples=30, documents=5, corpus="encyclopedia-training", seed=1)
    write_jsonl(file, trained)
    sections = f"""
data: {{{documents}, samples: 20}}
mix:
  - {{{documents}, samples: 60, questions_per_context: 3}}
  - {{{documents}, file: {file}}}
  - {{kind: mdqa, corpus: encyclopedia-training-large, documents: 5, samples: 300, seed: 3}}
"""
    recipe = load_recipe(write(tmp_path, MINIMAL + sections))
    trained_on = {asked_in(row) for row in generate(recipe, "m")}
    held = [asked_in(row) for row in held_out(recipe, "m")]
    assert len(trained_on) >= 360
    assert len(held) == 162
    assert not trained_on & set(held)


@pytest.mark.parametrize(
    "data",
    [
        Data(samples=40, dictionaries=6, questions_per_context=2, placement="even"),
        Data(kind="needle", samples=40, tokens=900),
    ],
    ids=["even dictionaries", "needle"],
)
def test_no_prompt_that_is_trained_on_is_held_out_wherever_golds_stand(
    data: Data, tiny_folder: Path
) -> None:
    recipe = Recipe(name="r", model="m", data=data, evaluation=Evaluation(samples=40))
    trained, held = (
        {row["messages"][0]["content"] for row in made(recipe, tiny_folder)}
        for made in (generate, held_out)
    )
    assert len(trained) == len(held) == 40
    assert not trained & held


def asked_in(row: dict[str, Any]) -> str | None:
    return question_of(row["messages"][0]["content"])


def test_rows_are_called_by_their_section_or_their_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": []}\n{"messages": []}\n')
    recipe = load_recipe(write(tmp_path, MINIMAL + MIXED), [f"mix.0.file={file}"])
    names = list(row_names(recipe))
    assert len(names) == len(list(generate(recipe, "m"))) == 8
    assert names[3:6] == ["data: generated row 4", f"{file}, line 1", f"{file}, line 2"]
    assert names[-1] == "mix.1: generated row 2"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.file=@x", "--set data.file=@x: the value is not valid YAML"),
        ("data.chat_template_kwargs={a: b", "not valid YAML"),
        ("mix.0.placement=even", "placement means nothing to kind 'mdqa'; remove it"),
        ("mix.0.template=false", "template means nothing to kind 'mdqa'; remove it"),
        ("data={kind: simple, kind: mdqa}", "key 'kind' is there twice"),
        ("training.epochs=true", "training.epochs: expected another value than true or false"),
        ("evaluation.steps=false", "evaluation.steps: expected another value than true or false"),
        ("data.file=~nobody-here/a", "data.file: no such user; write ./~nobody-here/a for a file"),
        ("report_to=wandb", r"report_to: expected a list, such as \[tensorboard\]"),
        ("mix=rows.jsonl", r"mix: expected a list, such as --set 'mix=\[{file: FILE}\]'"),
        ("lora.targets=[lm_head]", r"Input should be 'q_proj'.* \(found 'lm_head'\)$"),
        ("openai={epochs: -3}", "openai.epochs"),
        ("openai={batch_size: 0}", "openai.batch_size"),
        ("openai={learning_rate_multiplier: -1}", "openai.learning_rate_multiplier"),
    ],
)
def test_values_that_mean_nothing_are_refused_by_their_key(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, MINIMAL + MIXED), [override])


def test_a_revision_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, MINIMAL), ["revision=12e4567"]).revision == "12e4567"


def test_a_file_may_lie_in_the_users_home(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["data.file=~/a.jsonl", "out=~/adapter"])
    assert (recipe.data.file, recipe.out) == (Path.home() / "a.jsonl", Path.home() / "adapter")


def test_a_file_needs_no_number_of_samples(tmp_path: Path) -> None:
    changed = ["data={file: rows.jsonl, kind: simple, questions_per_context: 8}"]
    recipe = load_recipe(write(tmp_path, MINIMAL), changed)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_the_readme_lists_every_key_with_its_default() -> None:
    text = (recipes_folder().parent / "README.md").read_text(encoding="utf-8")
    table = text.split("## Every key")[1].split("##")[0]
    for section in (Recipe, Data, Lora, Training, Evaluation, OpenAI):
        for key, field in section.model_fields.items():
            if section is Recipe and key in ("data", "lora", "training", "evaluation", "openai"):
                continue
            (found,) = set(re.findall(rf"`{key}(?:: ([^`]*))?`", section_of(table, section)))
            default = None if field.is_required() else field.default
            # What is meant where no kind is said.
            default = "simple" if key == "kind" else default
            default = [*default] if isinstance(default, tuple) else default
            assert (yaml.safe_load(found) if found else None) == default, key


def section_of(table: str, section: type[Section]) -> str:
    """Return the row of the table that lists a section's keys."""
    names = {Recipe: "| |", Data: "| `data`", Lora: "| `lora`", Training: "| `training`"}
    names |= {Evaluation: "| `evaluation`", OpenAI: "| `openai`"}
    return next(row for row in table.splitlines() if row.startswith(names[section]))


def test_half_a_character_in_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": []}\n{"messages": [], "said": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2: '\\ud83d' is half a character"):
        list(read_rows(file))


def test_yaml_that_merges_is_no_key_there_twice(tmp_path: Path) -> None:
    text = "shared: &a {seed: 1}\ninner: &b {<<: *a, x: 2}\nlast: {<<: *b, <<: *a, 1: a, '1': b}\n"
    assert load_once(text)["last"] == {"seed": 1, "x": 2, 1: "a", "1": "b"}
