"""Fine-tuning at a provider: paid for once, whatever happens, and no job is lost."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kv_tasks import console
from kv_tasks.errors import KVError, RunError, ServiceError, UsageError
from kv_tasks.files import sha256_file
from kv_train.openai_jobs.command import fine_tune
from kv_train.openai_jobs.rows import ESTIMATE
from kv_train.openai_jobs.service import ATTEMPTS
from kv_train.recipe import Recipe
from kv_train.recipe_files import load_recipe

from .openai_server import MODEL, Service

UPLOAD, JOB, JOBS = (
    "POST /v1/files",
    "GET /v1/fine_tuning/jobs/ftjob-1",
    "POST /v1/fine_tuning/jobs",
)
COMMAND = [sys.executable, "-c", "from kv_train.cli import main; main()"]


def start(recipe: Recipe, out: Path, **options: Any) -> str:
    return fine_tune(recipe, out, **{"yes": True, "interval": 0.001, **options})


def command(recipe_file: Path, out: Path, *options: str) -> list[str]:
    return [*COMMAND, "openai", str(recipe_file), "--out", str(out), "--interval=0.01", *options]


def rows(count: int = 10, **first: Any) -> str:
    """Return a file of good rows, the second one changed."""
    made = [
        {"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "A"}]}
        for _ in range(count)
    ]
    if first:
        made[1] = first
    return "".join(json.dumps(row) + "\n" for row in made)


def with_rows(recipe_file: Path, text: str) -> Recipe:
    file = recipe_file.with_name("rows.jsonl")
    file.write_text(text)
    return load_recipe(str(recipe_file), [f"data.file={file}"])


def test_a_recipe_becomes_a_model_and_the_folder_says_how(
    service: Service, recipe: Recipe, out: Path
) -> None:
    assert start(recipe, out) == f"ft:{MODEL}:org:kv:ftjob-1"
    assert service.contents["file-1"] == (out / "train.jsonl").read_bytes()
    job = service.jobs["ftjob-1"]
    assert job["seed"] == 7
    assert job["method"] == {
        "type": "supervised",
        "supervised": {
            "hyperparameters": {
                "n_epochs": 3,
                "batch_size": "auto",
                "learning_rate_multiplier": "auto",
            }
        },
    }
    record = json.loads((out / "job.json").read_text())
    assert record["fine_tuned_model"] == f"ft:{MODEL}:org:kv:ftjob-1"
    assert (record["trained_tokens"], record["result_files"]) == (1234, ["file-result"])
    assert record["train_sha256"] == sha256_file(out / "train.jsonl")
    assert record["counted_by"] == ESTIMATE
    assert load_recipe(str(out / "recipe.yaml")) == recipe
    assert sorted(path.name for path in out.iterdir()) == ["job.json", "recipe.yaml", "train.jsonl"]


def test_rows_are_the_authors_own_chats(service: Service, recipe: Recipe, out: Path) -> None:
    path = Path(start(recipe, out, dry_run=True))
    made = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(made) == 12
    for row in made:
        assert set(row) == {"messages"}
        assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
        assert row["messages"][0]["content"].startswith("Write a response that appropriately")
    assert not service.seen


def test_the_command_prints_the_model_alone_and_everything_else_beside_it(
    service: Service, recipe_file: Path, out: Path
) -> None:
    done = subprocess.run(
        command(recipe_file, out, "--yes"), capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ft:{MODEL}:org:kv:ftjob-1\n"
    for text in (
        "estimate: one token for",
        "price      about $0.1",
        "Created fine-tuning job",
        "Step 3/3: training loss=0.5",
        "1,234 tokens trained",
        f"kv-adapters eval --backend openai --base {MODEL} --adapter {out} --tasks kv_simple",
    ):
        assert text in done.stderr


def test_a_terminal_shows_steps_and_loss_in_a_bar(
    service: Service, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=120))
    start(recipe, out)
    assert "3/3" in screen.getvalue()
    assert "loss 0.5000" in screen.getvalue()
    assert "training loss=0.5" not in screen.getvalue()


def test_a_finished_job_is_told_again_without_a_request(
    service: Service, recipe: Recipe, out: Path
) -> None:
    name = start(recipe, out)
    seen = service.seen.copy()
    assert start(recipe, out, yes=False) == name
    assert service.seen == seen


@pytest.mark.parametrize(
    "moment",
    [
        UPLOAD,
        "GET /v1/files/file-1",
        JOBS,
        JOB,
    ],
    ids=["file sent", "file known", "job asked for", "job followed"],
)
def test_a_kill_at_any_moment_costs_no_second_upload_or_job(
    service: Service, recipe_file: Path, recipe: Recipe, out: Path, moment: str
) -> None:
    hold = service.hold(moment)
    with subprocess.Popen(command(recipe_file, out, "--yes"), stderr=subprocess.DEVNULL) as process:
        assert hold.reached.wait(60)
        process.send_signal(signal.SIGKILL)
    hold.released.set()
    assert start(recipe, out) == f"ft:{MODEL}:org:kv:ftjob-1"
    assert (len(service.files), len(service.jobs)) == (1, 1)
    assert (service.seen[UPLOAD], service.seen[JOBS]) == (1, 1)


def test_two_commands_at_once_pay_for_one_job(
    service: Service, recipe_file: Path, recipe: Recipe, out: Path
) -> None:
    hold = service.hold(JOBS)
    with subprocess.Popen(command(recipe_file, out, "--yes"), stderr=subprocess.DEVNULL) as process:
        assert hold.reached.wait(60)
        with pytest.raises(RunError, match="another process is making it"):
            start(recipe, out)
        hold.released.set()
    assert process.returncode == 0
    # A job that runs may be followed by any number.
    assert start(recipe, out) == f"ft:{MODEL}:org:kv:ftjob-1"
    assert (service.seen[UPLOAD], service.seen[JOBS]) == (1, 1)


def test_after_an_interrupt_the_job_goes_on_and_the_record_is_whole(
    service: Service, recipe_file: Path, out: Path
) -> None:
    hold = service.hold(JOB + "/events")
    with subprocess.Popen(
        command(recipe_file, out, "--yes"), stderr=subprocess.PIPE, text=True
    ) as process:
        assert hold.reached.wait(60)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "ftjob-1 goes on at the provider; the same command follows it again" in told
    assert json.loads((out / "job.json").read_text())["job_id"] == "ftjob-1"


@pytest.mark.parametrize("line", [UPLOAD, JOBS])
def test_a_request_that_failed_after_it_was_carried_out_is_not_repeated(
    service: Service, recipe: Recipe, out: Path, line: str
) -> None:
    service.fail(line, 500, carried_out=True, message="Oops")
    start(recipe, out)
    assert (len(service.files), len(service.jobs)) == (1, 1)


def test_our_job_is_found_among_many_and_those_of_others_are_left_alone(
    service: Service, recipe: Recipe, out: Path, tmp_path: Path
) -> None:
    name = start(recipe, out)
    for seed in (1, 2, 3):
        start(load_recipe(str(tmp_path / "paper.yaml"), [f"openai.seed={seed}"]), out / f"s{seed}")
    assert (len(service.files), len(service.jobs)) == (1, 4)
    assert start(recipe, tmp_path / "elsewhere") == name
    assert len(service.jobs) == 4


def test_rate_limits_pass_after_the_time_that_the_service_asks_for(
    service: Service, recipe: Recipe, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (UPLOAD, JOBS):
        service.fail(line, 429, headers={"Retry-After": "0.0123"}, message="Slow down")
    start(recipe, out)
    assert (len(service.files), len(service.jobs)) == (1, 1)
    assert "creating the job: HTTP 429: Slow down; again in 0.0123 s" in capsys.readouterr().err


def test_a_service_that_stumbles_while_a_job_runs_is_asked_again(
    service: Service, recipe: Recipe, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.fail(JOB, 503, times=ATTEMPTS - 1, message="Overloaded")
    start(recipe, out)
    assert "ftjob-1: HTTP 503: Overloaded; again in" in capsys.readouterr().err


def test_a_service_that_stays_away_ends_the_command_and_not_the_job(
    service: Service, recipe: Recipe, out: Path
) -> None:
    service.fail(JOB, 500, times=ATTEMPTS, message="Oops")
    with pytest.raises(ServiceError, match="ftjob-1: HTTP 500: Oops; wait, and the same command"):
        start(recipe, out)
    assert start(recipe, out) == f"ft:{MODEL}:org:kv:ftjob-1"
    assert len(service.jobs) == 1


def test_refusals_name_what_to_do(
    service: Service, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(reason: str, recipe: Recipe = recipe) -> None:
        with pytest.raises(KVError, match=reason) as caught:
            start(recipe, out)
        assert "\n" not in str(caught.value)

    service.fail(UPLOAD, 403, message="Not allowed.")
    refused("uploading the file: HTTP 403: Not allowed; OPENAI_API_KEY must belong to")
    service.fail(JOBS, 429, code="insufficient_quota", message="You exceeded your quota.")
    refused("creating the job: HTTP 429: You exceeded your quota; add credit")
    assert service.seen[JOBS] == 1
    service.fail(JOBS, 400, message="n_epochs is too large")
    refused("creating the job: HTTP 400: n_epochs is too large; change the recipe")
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    refused("checking the file: HTTP 401: Incorrect API key provided; check OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", service.url.removesuffix("/v1"))
    refused("checking the file: an answer that is none of the OpenAI API; check OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    refused(r"checking the file: no answer from 127.0.0.1:9 \(.*refused\); check the network")


def test_a_model_that_is_not_there_is_named(service: Service, recipe_file: Path, out: Path) -> None:
    unknown = load_recipe(str(recipe_file), ["model=gpt-0"])
    with pytest.raises(ServiceError, match="`gpt-0` does not exist; name a model that"):
        start(unknown, out)


def test_without_a_key_nothing_is_asked_and_the_file_is_kept(
    service: Service, recipe_file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    done = subprocess.run(
        command(recipe_file, out, "--yes"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "OPENAI_API_KEY is not set" in line
    assert str(out / "train.jsonl") in line
    assert (out / "train.jsonl").is_file()
    assert not service.seen


def test_a_key_with_a_line_break_is_refused_and_not_shown(
    service: Service, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret\n")
    with pytest.raises(UsageError, match="a line break") as caught:
        start(recipe, out)
    assert "secret" not in str(caught.value)


def test_a_dry_run_needs_no_key_and_asks_nothing(
    service: Service, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert start(recipe, out, dry_run=True, yes=False) == str(out / "train.jsonl")
    assert not service.seen
    assert not (out / "job.json").exists()


def test_money_is_spent_only_on_a_word(
    service: Service,
    recipe: Recipe,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError, match="say --yes"):
        start(recipe, out, yes=False)
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(keyboard, b"n\n")
        with pytest.raises(UsageError, match=r"not confirmed: nothing was sent; .*train.jsonl"):
            start(recipe, out, yes=False)
        assert not service.seen
        os.write(keyboard, b"y\n")
        assert start(recipe, out, yes=False) == f"ft:{MODEL}:org:kv:ftjob-1"
    os.close(keyboard)
    told = capsys.readouterr()
    assert f"Send 12 rows to 127.0.0.1 and fine-tune {MODEL}? [y/N]" in told.err
    assert not told.out


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_without_a_model_is_an_error_until_another_is_asked_for(
    service: Service, recipe: Recipe, out: Path, status: str
) -> None:
    service.course = ("queued", status)
    service.job_error = {"code": "invalid_file", "message": "Line 3\nis odd.", "param": None}
    for _ in range(2):
        with pytest.raises(ServiceError, match=f"ftjob-1 {status} .*with --overwrite") as caught:
            start(recipe, out)
        assert ("Line 3 is odd. (invalid_file)" in str(caught.value)) == (status == "failed")
        assert "None" not in str(caught.value)
    service.course = ("succeeded",)
    assert start(recipe, out, overwrite=True) == f"ft:{MODEL}:org:kv:ftjob-2"
    assert start(recipe, out, overwrite=True) == f"ft:{MODEL}:org:kv:ftjob-3"
    assert len(service.files) == 1


def test_a_job_that_still_runs_is_never_overwritten(
    service: Service, recipe: Recipe, recipe_file: Path, out: Path
) -> None:
    service.fail(JOB, 400, message="Oops")
    with pytest.raises(ServiceError):
        start(recipe, out)
    other = load_recipe(str(recipe_file), ["openai.epochs=1"])
    with pytest.raises(RunError, match="ftjob-1 of another recipe is not over"):
        start(other, out, overwrite=True)
    assert start(recipe, out, overwrite=True) == f"ft:{MODEL}:org:kv:ftjob-1"


@pytest.mark.parametrize("override", ["data.seed=1", "openai.epochs=1", "openai.suffix=other"])
def test_a_changed_recipe_is_refused_in_the_folder_of_another(
    service: Service, recipe: Recipe, recipe_file: Path, out: Path, override: str
) -> None:
    start(recipe, out)
    before = (out / "train.jsonl").read_bytes()
    changed = load_recipe(str(recipe_file), [override])
    with pytest.raises(RunError, match=f"{out}: job.json is of another recipe .*--overwrite"):
        start(changed, out)
    assert (out / "train.jsonl").read_bytes() == before
    assert len(service.jobs) == 1
    draft = out / "train.new.jsonl"
    assert start(changed, out, overwrite=True, dry_run=True) == str(draft)
    with pytest.raises(UsageError, match=r"sends .*train\.new\.jsonl .*say --yes"):
        start(changed, out, overwrite=True, yes=False)
    # The folder still says what made the model that its record names.
    assert (out / "train.jsonl").read_bytes() == before
    assert load_recipe(str(out / "recipe.yaml"), []) == recipe
    start(changed, out, overwrite=True)
    assert len(service.jobs) == 2
    assert load_recipe(str(out / "recipe.yaml"), []) == changed
    assert not draft.exists()


def test_a_folder_of_something_else_is_left_alone(recipe: Recipe, out: Path) -> None:
    out.mkdir()
    (out / "adapter_config.json").touch()
    with pytest.raises(RunError, match=r"holds no train.jsonl of this command; choose another"):
        start(recipe, out)
    (out / "adapter_config.json").rename(out / "train.jsonl")
    (out / "job.json").write_text("{")
    with pytest.raises(RunError, match=r"job.json: not the record of a job"):
        start(recipe, out)


def test_help_answers_without_the_client() -> None:
    code = (
        "import sys\nfrom kv_train.cli import main\nsys.argv = ['kv-train', 'openai', '--help']\n"
        "try:\n    main()\nfinally:\n    assert not {'openai', 'tiktoken'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
