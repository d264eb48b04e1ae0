"""One load, all models, the harness's own files; what is finished is never repeated or mixed."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.verdict import judge
from kv_adapters.evaluation import worker as module
from kv_adapters.evaluation.evaluate import evaluate
from kv_adapters.evaluation.models import Models, find_models
from kv_adapters.evaluation.plan import Request, Unit, plan
from kv_adapters.evaluation.task_names import single_protocol
from kv_adapters.evaluation.units import _refuse_ignored_shots
from kv_tasks.datafiles import NQ_OPEN_ORACLE
from kv_tasks.errors import AdapterError, UsageError
from kv_train.adapter import WEIGHTS

TASK = "kv_simple_16dicts"


def request_(base: Path, out: Path, *adapters: Path, **changes: Any) -> Request:
    settings: dict[str, Any] = {"tasks": [TASK], "limit": 2, "backend": "hf", **changes}
    return Request(base=str(base), adapters=adapters, out=out, **settings)


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("results_*.json"))]


def samples(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob(f"samples_{TASK}_*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_adapter: Path) -> Path:
    out = tmp_path_factory.mktemp("results")
    evaluate(request_(tiny_base, out, tiny_adapter, batch_size=3))
    return out


def test_each_model_has_a_folder_with_the_harness_own_files(
    finished: Path, tiny_base: Path, tiny_adapter: Path
) -> None:
    for label in ("base", tiny_adapter.name):
        (result,) = results(finished / label)
        assert result["results"][TASK]["exact_match,none"] == 0.0
        assert result["config"]["model"] == str(tiny_base)
        assert result["chat_template"], "chat template recorded"
        rows = samples(finished / label)
        assert [row["doc_id"] for row in rows] == [0, 1]
        assert rows[0]["arguments"]["gen_args_0"]["arg_0"].startswith("<|im_start|>user\nDo a task")
        assert list((finished / label).glob(".*")) == []
    (adapted,) = results(finished / tiny_adapter.name)
    assert adapted["config"]["model_args"]["adapter"] == str(tiny_adapter)
    assert adapted["config"]["model_args"]["batch_size"] == 3
    record = adapted["kv_adapters"]
    assert record["adapter_sha256"]
    assert (record["truncated"], record["skipped"]) == (0, 0)
    assert record["fit"]["prompts"] == 2
    assert 0 < record["fit"]["longest"] <= record["fit"]["context"]
    assert record["packages"].keys() >= {"lm_eval", "transformers", "peft", "torch"}
    assert record["command"]


def test_a_models_own_penalty_does_not_keep_it_from_repeating_what_it_read(
    finished: Path, tiny_base: Path, tmp_path: Path
) -> None:
    penalised = shutil.copytree(tiny_base, tmp_path / "penalised")
    file = penalised / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "repetition_penalty": 1.9}))
    evaluate(request_(penalised, tmp_path / "out"))
    found, expected = samples(tmp_path / "out" / "base"), samples(finished / "base")
    assert [row["resps"] for row in found] == [row["resps"] for row in expected]


def test_base_and_adapter_answer_the_same_prompts_differently(
    finished: Path, tiny_adapter: Path
) -> None:
    base, adapted = samples(finished / "base"), samples(finished / tiny_adapter.name)
    assert [r["prompt_hash"] for r in base] == [r["prompt_hash"] for r in adapted]
    assert [r["resps"] for r in base] != [r["resps"] for r in adapted]


def test_a_second_run_loads_nothing(
    finished: Path, tiny_base: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(finished.rglob("*"))
    monkeypatch.setattr(module, "open_backend", lambda *_: pytest.fail("a model was loaded"))
    evaluate(request_(tiny_base, finished, tiny_adapter))
    assert sorted(finished.rglob("*")) == before


def test_a_changed_input_is_evaluated_anew(tiny_base: Path, tiny_adapter: Path) -> None:
    original = request_(tiny_base, Path("out"), tiny_adapter)
    models = find_models(str(tiny_base), [tiny_adapter], "hf")
    changes: list[dict[str, Any]] = [
        {"limit": 3}, {"seed": 7}, {"chat_template": "off"}, {"num_fewshot": 0},
        {"vllm_args": {"dtype": "float32"}},
        {"max_length": 1024}, {"too_long": "skip"},
    ]  # fmt: skip

    def digests(**change: Any) -> list[str]:
        asked = request_(tiny_base, Path("out"), tiny_adapter, **change)
        return [u.digest for u in plan(asked, models)]

    before = digests()
    assert before == [u.digest for u in plan(original, models)]
    for change in changes:
        assert not set(digests(**change)) & set(before)
    # A run that needs less memory goes on where one that needed too much ended.
    smaller = {"max_num_seqs": 8, "kv_cache_memory_bytes": 1_000_000_000}
    assert digests(vllm_args=smaller) == before
    both = {**smaller, "dtype": "float32"}
    assert digests(vllm_args=both) == digests(vllm_args={"dtype": "float32"})


def test_other_data_another_service_and_other_ends_are_evaluated_anew(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "generation_config.json").unlink(missing_ok=True)

    def digests(backend: Any = "hf") -> dict[str, str]:
        models = Models(base, "b", "t", {})
        asked = Request(str(base), [], ["mdqa_oracle", "hellaswag"], Path("out"), backend=backend)
        return {unit.task: unit.digest for unit in plan(asked, models)}

    monkeypatch.delenv("KV_TASKS_DATA", raising=False)
    before = digests()
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    assert digests() == before, "a folder without data"
    file = tmp_path / "hub" / "Rowan" / "hellaswag" / "validation.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("1")
    other = digests()
    assert other["mdqa_oracle"] == before["mdqa_oracle"]
    assert other["hellaswag"] != before["hellaswag"]
    file.write_text("2")
    assert digests()["hellaswag"] not in (other["hellaswag"], before["hellaswag"])
    oracle = tmp_path / NQ_OPEN_ORACLE
    oracle.parent.mkdir()
    oracle.write_text("1")
    assert digests()["mdqa_oracle"] != before["mdqa_oracle"]
    (tmp_path / "flenqa").mkdir()
    (tmp_path / "flenqa" / "FLenQA.jsonl").write_text("1")
    plain = digests()["mdqa_oracle"]
    (tmp_path / "flenqa" / "FLenQA.jsonl").write_text("2")
    assert digests()["mdqa_oracle"] != plain
    monkeypatch.delenv("KV_TASKS_DATA")
    (base / "generation_config.json").write_text("{}")
    assert not set(digests().values()) & set(before.values())
    asked = digests("openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    assert not set(digests("openai").values()) & set(asked.values())


def test_prompts_that_do_not_fit_are_refused_and_leave_nothing(
    tiny_base: Path, tmp_path: Path
) -> None:
    (outcome,) = evaluate(request_(tiny_base, tmp_path, tasks=["mdqa_pos_synth"], limit=1))
    assert outcome.status == "failed"
    assert re.search(r"mdqa_pos_synth_0\d: .* max_length", outcome.reason)
    assert not list(tmp_path.rglob("*.json*"))


def test_prompts_that_do_not_fit_can_be_left_out_and_are_counted(
    tiny_base: Path, tmp_path: Path
) -> None:
    settings = {"tasks": ["kv_simple_16dicts"], "limit": 8, "chat_template": "off"}
    evaluate(request_(tiny_base, tmp_path / "all", **settings))
    lengths = sorted(row["doc"]["length"] for row in samples(tmp_path / "all" / "base"))
    limit = lengths[4] + 64
    fitting = sum(length + 64 <= limit for length in lengths)
    assert fitting < 8
    evaluate(request_(tiny_base, tmp_path / "some", max_length=limit, too_long="skip", **settings))
    rows = samples(tmp_path / "some" / "base")
    assert len(rows) == fitting
    assert sum(row["skipped"] for row in rows) == 8 - fitting
    assert max(row["doc"]["length"] for row in rows) + 64 <= limit


def test_the_chat_template_can_be_turned_off(tiny_base: Path, tmp_path: Path) -> None:
    evaluate(request_(tiny_base, tmp_path, chat_template="off", limit=1))
    prompt = samples(tmp_path / "base")[0]["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.startswith("Do a task using the list")


def test_a_broken_adapter_is_refused_before_anything_is_loaded(
    own_adapter: Path, tiny_base: Path, tmp_path: Path
) -> None:
    (own_adapter / "adapter_model.bin").touch()
    with pytest.raises(AdapterError, match="no pickles"):
        evaluate(request_(tiny_base, tmp_path / "out", own_adapter))
    assert not (tmp_path / "out").exists()


def test_unknown_tasks_and_equal_labels_are_named(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no task or group no_such_task"):
        evaluate(request_(tiny_base, tmp_path, tasks=["no_such_task"]))
    with pytest.raises(UsageError, match="--tasks: names no task"):
        evaluate(request_(tiny_base, tmp_path, tasks=[]))
    with pytest.raises(UsageError, match="must differ"):
        evaluate(request_(tiny_base, tmp_path, tiny_adapter, tiny_adapter))


def test_a_task_of_ones_own_is_evaluated_and_judged(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.mkdir()
    (mine / "rows.jsonl").write_text('{"q": "1 + 1 =", "a": "2"}\n{"q": "1 + 2 =", "a": "3"}\n')
    (mine / "sums.yaml").write_text(
        f"task: sums\ndataset_path: json\ndataset_kwargs: {{data_files: {mine / 'rows.jsonl'}}}\n"
        "test_split: train\noutput_type: loglikelihood\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\nmetric_list: [{metric: acc}]\n'
    )
    asked = request_(tiny_base, out, tiny_adapter, tasks=["sums", TASK], include_path=mine)
    assert [outcome.status for outcome in evaluate(asked)] == ["done"] * 4
    assert [outcome.status for outcome in evaluate(asked)] == ["reused"] * 4
    within = replace(asked, adapters=(), tasks=["sums"], out=mine / "results")
    assert [evaluate(within)[0].status for _ in range(2)] == ["done", "reused"]
    gate = Gate(tasks={"sums": None})
    (verdict,) = judge(load_run(out / "base"), [load_run(out / tiny_adapter.name)], gate)
    assert {row.name for row in verdict.rows if row.decides} == {"sums"}
    with (mine / "rows.jsonl").open("a") as stream:
        stream.write('{"q": "2 + 2 =", "a": "4"}\n')
    statuses = [(outcome.task, outcome.status) for outcome in evaluate(asked)]
    assert statuses == [("sums", "done"), (TASK, "reused")] * 2
    with pytest.raises(UsageError, match=f"holds none of the tasks {TASK}; it has sums"):
        evaluate(replace(asked, tasks=[TASK]))
    (mine / "ours.yaml").write_text((mine / "sums.yaml").read_text().replace("sums", TASK, 1))
    with pytest.raises(UsageError, match=f"{TASK} is a task of this project"):
        evaluate(asked)
    with pytest.raises(UsageError, match=r"--include-path .*absent: no folder with YAML files"):
        evaluate(replace(asked, include_path=tmp_path / "absent"))
    (mine / "ours.yaml").write_text("task: [")
    (mine / "data.yaml").write_text("- no task\n")
    (mine / ".hidden.yaml").write_text("task: [")
    capsys.readouterr()
    assert [outcome.status for outcome in evaluate(asked)] == ["done", "reused"] * 2
    said = " ".join(capsys.readouterr().err.split())
    assert "ours.yaml: no task, since it cannot be read: while parsing" in said
    assert "data.yaml" not in said
    assert "hidden" not in said


def test_a_group_of_ones_own_cannot_hold_a_task_that_is_asked_by_another_protocol(
    tiny_base: Path, tmp_path: Path
) -> None:
    (tmp_path / "inner.yaml").write_text(f"group: inner\ntask: [{{task: hellaswag}}, {TASK}]\n")
    (tmp_path / "outer.yaml").write_text("group: outer\ntask: [gsm8k, inner]\n")
    (tmp_path / "other.yaml").write_text("group: other\ntask: [gsm8k, other]\n")
    asked = request_(tiny_base, tmp_path / "out", tasks=["outer"], include_path=tmp_path)
    with pytest.raises(UsageError, match=f"--tasks outer: this group .* holds {TASK}, a task of"):
        evaluate(asked)
    models = Models(tiny_base, "b", "t", {})
    (unit,) = plan(replace(asked, tasks=["other"]), models)
    assert unit.include_sha256


def test_a_number_of_examples_is_asked_for_and_is_never_ignored(
    tiny_base: Path, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", str(shared_data))
    asked = request_(tiny_base, tmp_path, tasks=["nq_open"], limit=1, num_fewshot=2)
    (outcome,) = evaluate(asked)
    assert outcome.status == "done", outcome.reason
    (file,) = (tmp_path / "base").glob("samples_nq_open_*.jsonl")
    prompt = json.loads(file.read_text())["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.count("Q: ") == 3
    assert load_run(tmp_path / "base").provenance["few-shot examples"] == "{'nq_open': 2}"
    with pytest.raises(UsageError, match="--num-fewshot 2: mdqa_pos has no examples by definition"):
        evaluate(replace(asked, tasks=["nq_open", "mdqa_pos"]))
    evaluate(replace(asked, tasks=[TASK], num_fewshot=0))


def test_a_task_of_the_harness_s_own_that_sets_its_examples_to_none_is_named() -> None:
    unit = cast(Unit, SimpleNamespace(num_fewshot=5))
    tasks = {
        name: SimpleNamespace(config=SimpleNamespace(num_fewshot=number))
        for name, number in {"gsm8k": 5, "triviaqa": None, "other": 0}.items()
    }
    with pytest.raises(UsageError, match="other has no examples by definition"):
        _refuse_ignored_shots(unit, tasks)
    del tasks["other"]
    _refuse_ignored_shots(unit, tasks)


def test_samples_that_were_not_written_whole_are_an_error(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness logs a failed write and goes on, as on a full disk."""
    from lm_eval.loggers import EvaluationTracker

    monkeypatch.setattr(EvaluationTracker, "save_results_samples", lambda *_, **__: None)
    (outcome,) = evaluate(request_(tiny_base, tmp_path, limit=1))
    assert "0 of 1 samples written; is the disk full" in outcome.reason
    assert not list(tmp_path.rglob("results_*"))


def test_a_task_that_fails_does_not_lose_the_others(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "--base", str(tiny_base), "--backend", "hf", "--limit", "1"]
    command += ["--tasks", f"mdqa_pos_synth,{TASK}", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    first, second, *_, reason = (line for line in done.stdout.splitlines()[1:] if line.strip())
    assert first.split()[:3] == ["base", "mdqa_pos_synth", "failed"]
    assert second.split()[:5] == ["base", TASK, "done", "exact_match", "0.000"]
    assert reason.startswith("failed base · mdqa_pos_synth: ")
    assert "max_length" in reason
    again = CliRunner().invoke(app, command)
    assert "reused" in again.stdout
    assert again.exit_code == 1


KILLED = """
import os, sys
from kv_tasks.journal import Journal
add, parts = Journal.add, []
def killed(self, keys, answers):
    add(self, keys, answers)
    parts.append(len(keys))
    if len(parts) == 2:
        os.kill(os.getpid(), 9)
Journal.add = killed
import kv_adapters.evaluation.answers
kv_adapters.evaluation.answers.PART = 2
from kv_adapters.cli import main
main()
"""


def test_answers_of_a_killed_run_are_kept_and_the_results_are_the_same(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(out: Path) -> list[str]:
        asked = ["eval", "--base", str(tiny_base), "--backend", "hf", "--limit", "6"]
        return [*asked, "--tasks", TASK, "--out", str(out)]

    script = [sys.executable, "-c", KILLED, *command(tmp_path / "killed")]
    assert subprocess.run(script, capture_output=True).returncode == -9
    (journal,) = (tmp_path / "killed" / "base").iterdir()
    assert len(journal.read_text().splitlines()) == 4
    with journal.open("a") as torn:
        torn.write('["half a li')
    assert CliRunner().invoke(app, command(tmp_path / "killed")).exit_code == 0
    assert CliRunner().invoke(app, command(tmp_path / "straight")).exit_code == 0
    killed, straight = samples(tmp_path / "killed/base"), samples(tmp_path / "straight/base")
    assert killed == straight
    (result,) = results(tmp_path / "killed/base")
    assert result["kv_adapters"]["answers_kept"] == 4
    assert list((tmp_path / "killed/base").glob(".*")) == []


def test_the_command_needs_a_base(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["eval", "--tasks", TASK, "--out", str(tmp_path)]).exit_code == 2


def test_an_adapter_that_changes_meanwhile_is_not_evaluated(
    own_adapter: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = module.Worker.__init__

    def load_and_retrain(self: Any, *arguments: Any) -> None:
        load(self, *arguments)
        weights = load_file(own_adapter / WEIGHTS)
        save_file({name: 2 * part for name, part in weights.items()}, own_adapter / WEIGHTS)

    monkeypatch.setattr(module.Worker, "__init__", load_and_retrain)
    base, adapted = evaluate(request_(tiny_base, tmp_path, own_adapter))
    assert base.status == "done"
    assert (adapted.status, adapted.results) == ("failed", None)
    assert "changed since the evaluation began" in adapted.reason


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def prompt(folder: Path) -> str:
    return str(samples(folder)[0]["arguments"]["gen_args_0"]["arg_0"])


def test_prompts_are_rendered_as_the_adapters_were_trained_unless_the_user_says_otherwise(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "chat_template.jinja").write_text(THINKING)
    told = shutil.copytree(tiny_adapter, tmp_path / "told")
    recipe = (told / "recipe.yaml").read_text()
    assert "chat_template_kwargs: {}" in recipe
    recipe = recipe.replace("template_kwargs: {}", "template_kwargs: {enable_thinking: false}")
    (told / "recipe.yaml").write_text(recipe)
    (told / "manifest.json").unlink()
    evaluate(request_(base, tmp_path / "out", told))
    for label in ("base", "told"):
        assert prompt(tmp_path / "out" / label).endswith("<think>\n\n</think>\n\n")
        (found,) = results(tmp_path / "out" / label)
        assert found["kv_adapters"]["chat_template_args"] == '{"enable_thinking": false}'
    evaluate(request_(base, tmp_path / "other", told, chat_template_args={}))
    assert prompt(tmp_path / "other" / "told").endswith("assistant\n")
    asked = request_(base, tmp_path / "out", told, tasks=["hellaswag", TASK])
    units = plan(asked, find_models(str(base), [told], "hf"))
    assert [unit.chat_template_args is None for unit in units] == [True, False] * 2
    models = find_models(str(base), [told, tiny_adapter], "hf")
    with pytest.raises(UsageError, match="trained with different arguments of the chat template"):
        plan(request_(base, tmp_path / "out"), models)


def test_a_template_that_writes_the_date_asks_other_prompts_on_another_day(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}<|im_start|>{{ date_string }}\n{{ messages[0].content }}"
    )
    (base / "chat_template.jinja").write_text(template)
    models = Models(base, "b", "t", {})

    def digests(**changes: Any) -> list[str]:
        asked = request_(base, tmp_path / "out", tasks=[TASK, "hellaswag", "kv_general"], **changes)
        return [unit.digest for unit in plan(asked, models)]

    given = {"chat_template_args": {"date_string": "26 Jul 2024"}}
    today = digests(), digests(**given), digests(chat_template="off")

    class Tomorrow(date):
        @classmethod
        def today(cls) -> "Tomorrow":
            return cls(2100, 1, 1)

    monkeypatch.setattr("kv_adapters.evaluation.plan.date", Tomorrow)
    tomorrow = digests(), digests(**given), digests(chat_template="off")
    # The harness's own tasks are asked without the template.
    assert [one == other for one, other in zip(today[0], tomorrow[0], strict=True)] == [
        False,
        True,
        True,
    ]
    assert today[1:] == tomorrow[1:]


def test_a_group_of_both_protocols_is_planned_member_by_member(tmp_path: Path) -> None:
    models = Models(tmp_path, "b", "t", {})
    units = plan(request_(tmp_path, tmp_path / "out", tasks=["kv_paper"]), models)
    assert [unit.task for unit in units] == single_protocol(["kv_paper"])


def test_flags_that_a_backend_would_not_read_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--url http://x: --backend hf asks no server"):
        evaluate(request_(tiny_base, tmp_path, url="http://x"))
    with pytest.raises(UsageError, match="--batch-size 4: --backend vllm makes its own batches"):
        evaluate(request_(tiny_base, tmp_path, backend="vllm", batch_size=4))
    with pytest.raises(UsageError, match="--gpu-memory-utilization 0.5: --backend hf reserves"):
        evaluate(request_(tiny_base, tmp_path, gpu_memory_utilization=0.5))
    with pytest.raises(UsageError, match="--tensor-parallel 2: --backend hf shares no model"):
        evaluate(request_(tiny_base, tmp_path, tensor_parallel=2))
    with pytest.raises(UsageError, match="--vllm-args .*--backend hf is not vLLM"):
        evaluate(request_(tiny_base, tmp_path, vllm_args={"dtype": "float32"}))
    with pytest.raises(UsageError, match="--vllm-args: seed is not yours .* give --seed"):
        evaluate(request_(tiny_base, tmp_path, backend="vllm", vllm_args={"seed": 1}))
    with pytest.raises(UsageError, match="--chat-template-args: a chat service"):
        evaluate(request_(tiny_base, tmp_path, backend="openai", chat_template_args={"a": 1}))
    with pytest.raises(UsageError, match="--too-long skip: say the server's context"):
        evaluate(request_(tiny_base, tmp_path, backend="server", url="http://x", too_long="skip"))
    asked = ["eval", "--base", "b", "--tasks", TASK, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*asked, "--chat-template-args", '{"tokenize": true}'])
    assert done.exit_code == 2
    assert "tokenize is decided here" in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*asked, "--chat-template-args", "[1]"])
    assert done.exit_code == 2
    assert "no JSON object" in done.output
