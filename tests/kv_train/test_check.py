"""What is known of a recipe before it is trained, and every fault at once."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from huggingface_hub.errors import RepositoryNotFoundError
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Gemma2Config,
    Lfm2Config,
    MixtralConfig,
    Phi3Config,
)
from typer.testing import CliRunner

from kv_tasks.errors import RecipeError
from kv_train.check import machine, probe
from kv_train.check.report import Report, check
from kv_train.check.rows import SHOWN, example
from kv_train.cli import app
from kv_train.recipe_files import load_recipe
from kv_train.run import run
from kv_train.tokens import encode

from .test_tokens import THINKING

SMALL = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Time one pass instead of a second, and look for outputs in an empty folder."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0)
    monkeypatch.chdir(tmp_path)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def checked(recipe: Path, *overrides: str, tokenizer: Path | None = None) -> Report:
    return check(load_recipe(str(recipe), overrides), tokenizer)


def found(report: Report, level: str) -> dict[str, str]:
    """Return what was found and the advice, by place; the last of several."""
    return {f.where: f"{f.found}; {f.advice}" for f in report.findings if f.level == level}


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(
    answer: str = "It is 7.", question: str = "What is key 5?", **more: Any
) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": messages, **more}


def folder_of(config: Any, tokenizer: Any, path: Path) -> Path:
    """Return a model folder whose weights are an empty file."""
    config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    (path / "model.safetensors").touch()
    return path


def test_a_sound_recipe_is_ready_and_says_what_a_training_will_do(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    done = command(tiny_recipe, "--set", "training.questions_per_pack=2", "--strict")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-1] == "ready: errors 0, warnings 0, not checked 0"
    for line in (
        "rows             16",
        "contexts         8, questions in one: up to 2",
        "optimizer steps  4, packs in one: 2; epochs: 1",
        "evaluations      2, held-out rows in one: 10",
        "  training.max_length      8,192",
        "  max_position_embeddings  2,048",
    ):
        assert line in lines
    # What a small model takes on a GPU is not its operations.
    assert sum("  over " in line for line in lines) == len(machine.GPUS)
    assert not list(tmp_path.iterdir())


def test_steps_and_tokens_are_those_of_the_training_that_follows(
    tiny_recipe: Path, tiny_adapter: Path
) -> None:
    plan = checked(tiny_recipe).plan
    log = [json.loads(line) for line in (tiny_adapter / "log.jsonl").read_text().splitlines()]
    assert plan is not None
    assert plan.steps == max(entry["step"] for entry in log)
    assert plan.evaluations == sum("eval_exact_match" in entry for entry in log)
    assert plan.tokens < plan.separate_tokens
    assert plan.packs == plan.contexts == 8


def test_the_report_fits_eighty_columns_and_shows_what_is_trained_without_colours(
    tiny_recipe: Path,
) -> None:
    text = command(tiny_recipe).stdout
    shown, rest = text.split("The first row as the model reads it", 1)
    row, numbers = rest.split("\nEstimates\n")
    numbers = numbers.split("\nFindings\n")[0]
    assert max(map(len, (shown + numbers).splitlines()[1:])) <= 80
    assert "⟦The value of key " in row
    assert row.rstrip().endswith("<|im_end|>⟧")
    assert " tokens ...\n" in row
    assert "\x1b" not in text


def test_the_example_is_the_row_with_its_middle_counted(tiny_tokenizer: Any) -> None:
    row = asked(question="key 1234 " * 200)
    row["messages"] += [{"role": "user", "content": "And 6?"}, *asked("It is 8.")["messages"][1:]]
    encoded = encode(tiny_tokenizer, row, name="row", max_length=10**6)
    pieces = example(tiny_tokenizer, encoded)
    assert [p.text for p in pieces if p.trained] == ["It is 7.<|im_end|>", "It is 8.<|im_end|>"]
    (middle,) = [p.left_out for p in pieces if p.left_out]
    assert middle == encoded.spans[0][0] - 2 * SHOWN
    whole = tiny_tokenizer.decode(encoded.input_ids)
    before, after = "".join(p.text or "\0" for p in pieces).split("\0")
    assert whole.startswith(before)
    assert whole.endswith(after)


def test_all_facts_are_written_as_json(tiny_recipe: Path, tmp_path: Path) -> None:
    assert command(tiny_recipe, "--json", tmp_path / "facts.json").exit_code == 0
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["recipe"]["name"] == "tiny"
    assert facts["plan"]["rows"] == 16
    assert sum(part["rows"] for part in facts["lengths"]["histogram"]) == 16
    assert facts["estimate"]["needed"] == sum(facts["estimate"]["memory"].values())
    assert any(piece["trained"] for piece in facts["example"])


def test_every_fault_is_found_at_once(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    broken = [asked(answer="")] * 8
    data = written(tmp_path / "rows.jsonl", [asked(), *broken, asked("yes " * 600), asked()])
    report = checked(
        tiny_recipe, f"data.file={data}", "lora.rank=48", "report_to=[wandb]", "out=out",
        "training.max_length=500", "training.warmup_share=1", "training.questions_per_pack=4",
    )  # fmt: skip
    errors, warnings = found(report, "error"), found(report, "warning")
    assert [f"{data}, line {number}" in errors for number in range(1, 9)] == [
        False, True, True, True, True, True, False, False,
    ]  # fmt: skip
    assert errors["data"].startswith("3 more rows fail")
    assert (
        f"1 of 3 rows are longer than 500 tokens; the longest, {data}, line 10"
        in (errors["training.max_length"])
    )
    assert "wandb is not installed" in errors["report_to"]
    assert "out exists and is no adapter" in errors["out"]
    assert "48 exceeds the smaller side of v_proj, 32" in warnings["lora.rank"]
    assert (
        "11 packs are no multiple of 2: the last step of an epoch has 1"
        in found(report, "note")["training.packs_per_step"]
    )
    assert "nothing is shared" in warnings["training.questions_per_pack"]
    assert "all of the training" in warnings["training.warmup_share"]
    assert "no held-out prompts" in found(report, "note")["evaluation"]
    assert report.findings[0].level == "error"


def test_a_fault_is_exit_code_1_and_a_warning_is_not(tiny_recipe: Path) -> None:
    failed = command(tiny_recipe, "--set", "training.max_length=100")
    assert failed.exit_code == 1
    assert "error: training.max_length: 16 of 16 rows are longer than 100" in failed.stdout
    assert failed.stdout.splitlines()[-1].startswith("not ready: errors 2")
    assert command(tiny_recipe, "--set", "training.packs_per_step=3").exit_code == 0


def test_what_a_run_would_refuse_is_found_with_the_same_recipe(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    report = checked(tiny_recipe, "data.dictionaries=80")
    assert "rows are longer than 2,048 tokens" in found(report, "error")["model"]
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(asked()) + "\nnot json\n")
    report = checked(tiny_recipe, f"data.file={data}")
    assert "rows.jsonl, line 2: expected one JSON object" in found(report, "error")["data"]
    assert report.plan is not None
    assert report.plan.rows == 1
    report = checked(tiny_recipe, "model=./nowhere")
    assert "no such folder" in found(report, "error")["model"]


def test_rows_that_are_no_chat_messages_are_faults_of_their_line(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    odd = [
        {"messages": ["hello", "there"]},
        {"messages": [{"role": "user"}, {"role": "assistant"}]},
    ]
    data = written(tmp_path / "rows.jsonl", [*odd, asked()])
    errors = found(checked(tiny_recipe, f"data.file={data}"), "error")
    assert set(errors) == {f"{data}, line 1", f"{data}, line 2"}


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (None, "has no chat template"),
        (
            "{% for m in messages %}{{ m.content }}{% if not loop.last %} and{% endif %}"
            "{% endfor %}<|im_end|>",
            "renders the prompt differently",
        ),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "without an end-of-turn token"),
        ("{{ raise_exception('only poems') }}", "the chat template refuses it: only poems"),
    ],
)
def test_templates_that_cannot_be_trained_on_are_named(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path, template: str | None, fault: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "words")
    report = checked(tiny_recipe, tokenizer=tmp_path / "words")
    assert any(fault in line for line in found(report, "error").values())
    assert report.lengths is None
    assert report.plan is not None


def test_thoughts_that_a_template_puts_before_every_answer_are_warned_of(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(tmp_path / "thinks")
    thinks = checked(tiny_recipe, tokenizer=tmp_path / "thinks")
    told = found(thinks, "warning")["data.chat_template_kwargs"]
    assert "begins every answer with '<think>" in told
    assert "switch them off" in told
    off = "data.chat_template_kwargs={enable_thinking: false}"
    quiet = checked(tiny_recipe, off, tokenizer=tmp_path / "thinks")
    assert "data.chat_template_kwargs" not in found(quiet, "warning")
    assert "data.chat_template_kwargs" not in found(checked(tiny_recipe), "warning")


def test_a_template_that_reads_the_clock_is_warned_of_until_it_is_given_the_date(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    opening = "{% set day = date_string if date_string else strftime_now('%d %b %Y') %}"
    opening += "{{ '<|im_start|>system\n' + day + '<|im_end|>\n' }}"
    tokenizer.chat_template = opening + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "dated")
    told = found(checked(tiny_recipe, tokenizer=tmp_path / "dated"), "warning")
    assert "writes today's date" in told["data.chat_template_kwargs"]
    given = "data.chat_template_kwargs={date_string: 26 Jul 2024}"
    quiet = checked(tiny_recipe, given, tokenizer=tmp_path / "dated")
    assert "data.chat_template_kwargs" not in found(quiet, "warning")


def test_layers_that_carry_one_question_into_the_next_are_refused_before_packs_of_several(
    tiny_recipe: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    layers = {"layer_types": ["conv", "full_attention"]}
    hybrid = folder_of(Lfm2Config(**SMALL, **layers), tiny_tokenizer, tmp_path / "lfm2")
    several = checked(tiny_recipe, f"model={hybrid}", "lora.targets=[q_proj]")
    refused = found(several, "error")["training.questions_per_pack"]
    assert "8, but its conv" in refused or "8, but its linear_attention" in refused
    assert refused.endswith(" layers would carry one question of a pack into the next; set it to 1")
    assert "of which nothing is known here" in found(several, "unchecked")["memory and time"]
    assert several.estimate is None
    single = ["training.questions_per_pack=1", "lora.targets=[q_proj]"]
    assert not found(checked(tiny_recipe, f"model={hybrid}", *single), "error")


def test_a_first_token_that_a_template_leaves_out_is_warned_of(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    begins = ("<|endoftext|>", tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[begins]
    )
    tokenizer.save_pretrained(tmp_path / "begins")
    told = found(checked(tiny_recipe, tokenizer=tmp_path / "begins"), "warning")["model"]
    assert "leaves out <|endoftext|>, with which its tokenizer begins a text" in told
    tokenizer.chat_template = "<|endoftext|>" + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "begins")
    assert "model" not in found(checked(tiny_recipe, tokenizer=tmp_path / "begins"), "warning")
    assert "model" not in found(checked(tiny_recipe), "warning")


def test_targets_that_the_architecture_does_not_have_are_named(
    tiny_recipe: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    base = folder_of(Phi3Config(**SMALL), tiny_tokenizer, tmp_path / "phi")
    report = checked(tiny_recipe, f"model={base}")
    lines = [f.found for f in report.findings if f.where == "lora.targets"]
    assert [line.rpartition(" ")[2] for line in lines] == ["q_proj", "k_proj", "v_proj"]
    assert "down_proj, gate_up_proj, o_proj, qkv_proj" in found(report, "error")["lora.targets"]
    nothing = checked(tiny_recipe, f"model={base}", "lora.targets=[q_proj]")
    assert nothing.estimate is None


def test_models_that_cannot_be_trained_or_estimated_say_so(
    tiny_recipe: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    capped = folder_of(Gemma2Config(**SMALL, head_dim=8), tiny_tokenizer, tmp_path / "gemma")
    report = checked(tiny_recipe, f"model={capped}")
    assert "softcap is not supported" in found(report, "error")["model"]
    for wrong, said in (
        ({"quantization_config": {"quant_method": "gptq"}}, "its weights are quantized"),
        ({"model_type": "of_tomorrow"}, "config.json: "),
    ):
        config = json.loads((capped / "config.json").read_text()) | wrong
        (capped / "config.json").write_text(json.dumps(config))
        assert said in found(checked(tiny_recipe, f"model={capped}"), "error")["model"]
    expert = folder_of(MixtralConfig(**SMALL), tiny_tokenizer, tmp_path / "mixtral")
    report = checked(tiny_recipe, f"model={expert}")
    assert report.estimate is None
    assert "experts" in found(report, "unchecked")["memory and time"]


def test_a_model_folder_without_weights_would_stop_a_run(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (base / "model.safetensors").unlink()
    report = checked(tiny_recipe, f"model={base}")
    assert "no *.safetensors" in found(report, "error")["model"]
    assert report.estimate is not None


def test_without_the_hub_everything_unknown_is_listed_and_strict_fails(
    tiny_recipe: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise RuntimeError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    overrides = ["model=nobody-at-all/nothing"]
    report = checked(tiny_recipe, *overrides)
    unknown = found(report, "unchecked")
    assert set(unknown) == {"model", "rows", "architecture"}
    assert "no route to the hub" in unknown["model"]
    assert report.plan is not None
    assert report.plan.steps == 4
    assert not report.failed(strict=False)
    assert report.failed(strict=True)
    windows = checked(tiny_recipe, *overrides, "data.tokens=300", "data.dictionaries=null")
    assert "filled by the model's tokenizer" in found(windows, "unchecked")["data"]
    assert windows.plan is None
    tokens = checked(tiny_recipe, *overrides, tokenizer=tiny_folder)
    assert set(found(tokens, "unchecked")) == {"model", "architecture"}
    assert tokens.lengths is not None
    arguments = [tiny_recipe, "--set", *overrides]
    assert "not all could be checked" in command(*arguments).stdout
    assert command(*arguments).exit_code == 0
    assert command(*arguments, "--strict").exit_code == 1


def test_of_a_hub_model_only_small_files_are_fetched(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Path(shutil.copytree(tiny_base, tmp_path / "small"))
    (small / "model.safetensors").unlink()
    asked_for: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked_for.update(options)
        return str(small)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    report = checked(tiny_recipe, "model=somebody/something", "revision=abc")
    assert asked_for["revision"] == "abc"
    assert not asked_for["local_files_only"]
    assert not any("safetensors" in pattern for pattern in asked_for["allow_patterns"])
    assert set(found(report, "unchecked")) == {"weights"}
    assert report.estimate is not None


def test_a_folder_stands_in_for_a_model_that_is_not_here(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(words)
    AutoConfig.from_pretrained(tiny_base).save_pretrained(words)
    report = checked(tiny_recipe, "model=somebody/something", tokenizer=words)
    assert set(found(report, "unchecked")) == {"weights"}
    own = checked(tiny_recipe)
    assert (report.plan, report.lengths, report.example) == (own.plan, own.lengths, own.example)


def test_the_output_folder_is_judged_as_a_run_would(
    tiny_recipe: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    out = f"out={tiny_adapter}"
    finished = checked(tiny_recipe, out)
    assert "a run reuses it" in found(finished, "note")["out"]
    assert not finished.failed(strict=True)
    assert run(load_recipe(str(tiny_recipe)), tiny_adapter) == tiny_adapter
    other = checked(tiny_recipe, out, "data.seed=1")
    assert "the adapter of another recipe" in found(other, "error")["out"]
    (tmp_path / "new.partial" / "checkpoint-3").mkdir(parents=True)
    begun = found(checked(tiny_recipe, "out=new"), "unchecked")
    assert "an unfinished training" in begun["new.partial"]


def test_memory_beyond_what_is_here_is_a_warning(
    tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_this_machine", lambda: ("here, a wristwatch", 10**6))
    report = checked(tiny_recipe)
    assert "0.0 GB free here, a wristwatch" in found(report, "warning")["memory"]
    assert "choose training.gradient_checkpointing=true" in found(report, "warning")["memory"]
    assert "does not fit in 1 MB" in command(tiny_recipe).stdout


def test_fewer_packs_than_a_step_asks_for_are_named(tiny_recipe: Path) -> None:
    few = found(checked(tiny_recipe, "training.packs_per_step=9"), "warning")
    assert "there are 8 packs" in few["training.packs_per_step"]
    short = found(checked(tiny_recipe, "training.epochs=0.1"), "warning")
    assert "less than one optimizer step" in short["training.epochs"]


def test_a_recipe_that_cannot_be_read_and_one_of_another_service_are_refused() -> None:
    assert isinstance(command("nothing").exception, RecipeError)
    service = command("gpt-3.5-turbo-multi-subkey").exception
    assert isinstance(service, RecipeError)
    assert "kv-train openai gpt-3.5-turbo-multi-subkey --dry-run" in str(service)


def test_a_file_is_read_where_windows_cannot_be_filled(tmp_path: Path) -> None:
    """The recipe's window is of the held-out prompts alone."""
    missing = [f"data.file={tmp_path / 'typo.jsonl'}", f"model={tmp_path}"]
    report = check(load_recipe("llama-3.1-8b", missing))
    assert "typo.jsonl: no such file" in found(report, "error")["data"]


def test_a_gated_model_is_an_error_that_a_run_would_meet_too(
    tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GatedError(RepositoryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "401 Client Error")

    def refuse(url: str, timeout: float) -> None:
        raise GatedError

    def snapshot(name: str, **options: Any) -> str:
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    report = checked(tiny_recipe, "model=somebody/gated")
    assert "401 Client Error; check the name; of a gated" in found(report, "error")["model"]
    assert report.failed(strict=False)


def test_what_rows_held_to_the_base_cost_is_not_passed_over(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows.write_text(json.dumps({"messages": chat}) + "\n")
    trained = checked(tiny_recipe).plan.answer_tokens
    held = checked(tiny_recipe, f"mix=[{{file: {rows}, kl: 2}}]").plan
    assert (
        held.answer_tokens
        == trained
        < checked(tiny_recipe, f"mix=[{{file: {rows}}}]").plan.answer_tokens
    )
    done = command(tiny_recipe, "--set", f"mix=[{{file: {rows}, kl: 2}}]", "--strict")
    assert done.exit_code == 0
    assert "warning: kl: the estimate leaves out that such rows are computed twice" in " ".join(
        done.stdout.split()
    )
