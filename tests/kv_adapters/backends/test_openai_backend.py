"""Models behind a chat service: asked by name, known by name, and only with a key."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from kv_adapters.backends import Settings
from kv_adapters.backends.openai import CONCURRENT, REASONING_TOKENS, TRIES, open_backend
from kv_adapters.evaluation.evaluate import evaluate
from kv_adapters.evaluation.plan import Request
from kv_tasks.errors import AdapterError, UsageError

TASK = "kv_simple_16dicts"
ANSWER = "The value of key 1 is 2 and it is in Dictionary [3]."


class Service(ThreadingHTTPServer):
    """Answers every chat with one sentence and remembers what it was asked.

    Requests that ``refuses`` says a status for, by how many were answered and refused before, get
    that instead.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.refused = 0
        self.answer = ANSWER
        self.refuses: Callable[[int, int], int | None] = lambda answered, refused: None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            status = self.server.refuses(len(self.server.asked), self.server.refused)
            if status:
                self.server.refused += 1
            else:
                self.server.asked.append({"path": self.path, **asked})
        message = {"role": "assistant", "content": self.server.answer}
        reason = "stop" if self.server.answer else "length"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        text = json.dumps({"choices": [choice]}).encode()
        self.send_response(status or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def asked(service: Service, out: Path, *jobs: Path, **changes: Any) -> Request:
    settings = {"tasks": [TASK], "limit": 2, "backend": "openai", "url": service.url, **changes}
    return Request(base="gpt-x", adapters=jobs, out=out, **settings)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "tuned"
    folder.mkdir()
    (folder / "job.json").write_text('{"fine_tuned_model": "ft:gpt-x:kv"}')
    return folder


def test_base_and_fine_tuned_model_are_asked_by_name(
    service: Service, job: Path, tmp_path: Path
) -> None:
    outcomes = evaluate(asked(service, tmp_path / "out", job))
    assert [(o.label, o.status) for o in outcomes] == [("base", "done"), ("tuned", "done")]
    assert [call["model"] for call in service.asked] == ["gpt-x"] * 2 + ["ft:gpt-x:kv"] * 2
    (message,) = service.asked[0]["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith("Do a task using the list of dictionaries below.")
    assert service.asked[0]["path"] == "/v1/chat/completions"
    (file,) = (tmp_path / "out" / "tuned").glob("results_*.json")
    results = json.loads(file.read_text())
    assert results["config"]["model_args"]["model"] == "ft:gpt-x:kv"
    assert results["kv_adapters"]["apply_chat_template"] is True


@pytest.mark.parametrize(
    ("model", "greedy"),
    [
        ("gpt-3.5-turbo-1106", True),
        ("ft:gpt-3.5-turbo-1106:org:kv:9x5", True),
        ("gpt-4o", True),
        ("gpt-5-mini", False),
        ("ft:o4-mini:org:kv:9x5", False),
    ],
)
def test_every_model_that_can_be_greedy_is(
    service: Service, tmp_path: Path, model: str, greedy: bool
) -> None:
    """The harness takes a 5 anywhere in a name for a reasoning model."""
    request = replace(asked(service, tmp_path, tasks=["mdqa_oracle_synth"], limit=1), base=model)
    (outcome,) = evaluate(request)
    assert outcome.reason == ""
    (call,) = service.asked
    assert call["temperature"] == (0 if greedy else 1)
    assert ("stop" in call) == greedy
    # What it reasons counts like what it answers.
    assert call["max_completion_tokens"] == 100 + (0 if greedy else REASONING_TOKENS)
    assert "max_tokens" not in call


def test_reasoning_that_leaves_no_tokens_for_an_answer_is_no_wrong_answer(
    service: Service, tmp_path: Path
) -> None:
    service.answer = ""
    (outcome,) = evaluate(replace(asked(service, tmp_path, limit=1), base="o3-mini"))
    assert outcome.status == "failed"
    assert "o3-mini: reasoned for all of its tokens" in outcome.reason
    # Each try would be paid for.
    assert len(service.asked) == 1


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr("lm_eval.models.api_models.wait_exponential", lambda **_: wait_none())


@pytest.mark.usefixtures("no_wait")
def test_a_rate_limit_is_waited_for(service: Service, tmp_path: Path) -> None:
    service.refuses = lambda answered, refused: 429 if refused < TRIES - 1 else None
    (outcome,) = evaluate(asked(service, tmp_path, limit=1))
    assert (outcome.reason, len(service.asked), service.refused) == ("", 1, TRIES - 1)
    (file,) = (tmp_path / "base").glob("results_*.json")
    assert "max_retries" not in json.loads(file.read_text())["config"]["model_args"]


@pytest.mark.usefixtures("no_wait")
def test_of_answers_that_were_paid_for_no_more_are_lost_than_were_under_way(
    service: Service, tmp_path: Path
) -> None:
    documents = 3 * CONCURRENT
    service.refuses = lambda answered, refused: 429 if answered >= documents - 4 else None
    (outcome,) = evaluate(asked(service, tmp_path, limit=documents))
    assert outcome.status == "failed"
    service.refuses = lambda answered, refused: None
    (outcome,) = evaluate(asked(service, tmp_path, limit=documents))
    assert outcome.status == "done"
    (file,) = (tmp_path / "base").glob("results_*.json")
    kept = json.loads(file.read_text())["kv_adapters"]["answers_kept"]
    assert kept == documents - CONCURRENT


def test_a_refusal_that_stays_one_is_not_asked_for_again(service: Service, tmp_path: Path) -> None:
    service.refuses = lambda answered, refused: 400
    (outcome,) = evaluate(asked(service, tmp_path, limit=1))
    assert (outcome.status, service.refused) == ("failed", 1)
    assert "400" in outcome.reason


def test_an_empty_list_of_stop_sequences_is_not_sent(service: Service) -> None:
    settings = Settings(base=Path("gpt-x"), adapters=[], base_name="gpt-x", url=service.url)
    lm = open_backend(settings).lm
    chat = [{"role": "user", "content": "hello"}]
    assert "stop" not in lm._create_payload(chat, generate=True, gen_kwargs={"until": []})
    assert lm._create_payload(chat, gen_kwargs={"until": ["."]})["stop"] == ["."]


def test_windows_are_counted_with_the_tokenizer_that_is_named(
    service: Service, tiny_folder: Path, tmp_path: Path
) -> None:
    request = asked(service, tmp_path, tasks=["kv_simple_4k_template"], limit=1)
    (without,) = evaluate(request)
    assert "(kv-adapters eval: --tokenizer)" in without.reason
    (outcome,) = evaluate(replace(request, tokenizer=str(tiny_folder)))
    assert outcome.reason == ""
    with pytest.raises(
        UsageError, match="--tokenizer .*: --backend hf counts with the base model's"
    ):
        evaluate(replace(request, backend="hf", tokenizer=str(tiny_folder)))


def test_a_model_of_another_name_is_another_model(
    service: Service, job: Path, tmp_path: Path
) -> None:
    evaluate(asked(service, tmp_path / "out", job))
    (job / "job.json").write_text('{"fine_tuned_model": "ft:gpt-x:other"}')
    again = evaluate(asked(service, tmp_path / "out", job))
    assert [outcome.status for outcome in again] == ["reused", "done"]


def test_without_a_key_or_a_finished_job_nothing_is_asked(
    service: Service, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job / "job.json").write_text('{"fine_tuned_model": null}')
    with pytest.raises(AdapterError, match=r"job\.json: the job made no model yet"):
        evaluate(asked(service, tmp_path / "out", job))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="needs a key: set OPENAI_API_KEY"):
        evaluate(asked(service, tmp_path / "out"))
    assert service.asked == []


def test_a_chat_service_cannot_do_without_chats(service: Service, tmp_path: Path) -> None:
    (outcome,) = evaluate(asked(service, tmp_path / "out", chat_template="off"))
    assert outcome.status == "failed"
    assert "this service takes chats only" in outcome.reason
