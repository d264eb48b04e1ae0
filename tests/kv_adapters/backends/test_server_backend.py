"""A running server answers like the models that it serves, by name, and cuts nothing."""

import copy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from lm_eval.models.openai_completions import LocalCompletionsAPI
from tokenizers.processors import TemplateProcessing

from kv_adapters.backends import Settings, open_backend
from kv_adapters.backends import server as server_backend
from kv_adapters.backends.server import _as_in_an_engine, refuse_silent, served_models
from kv_adapters.evaluation.evaluate import evaluate
from kv_adapters.evaluation.plan import Request
from kv_tasks.errors import ServiceError, UsageError
from kv_train.recipe_files import load_recipe
from kv_train.run import run as train

TASK = "kv_simple_16dicts"


@dataclass
class Asked:
    args: tuple[str, str]
    task_name: str = "task"
    doc_id: int = 0


@pytest.fixture(scope="module")
def base(served_base: Path) -> Path:
    return served_base


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, base: Path) -> Path:
    """An adapter of it, trained until it says something else."""
    recipe = load_recipe(str(tiny_recipe), [f"model={base}", "training.epochs=4"])
    return train(recipe, tmp_path_factory.mktemp("adapters") / "kv")


@pytest.fixture(scope="module")
def server(base: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the tiny base and its adapter."""
    said = tmp_path_factory.mktemp("server") / "said"
    command = [sys.executable, "-m", "kv_adapters.cli", "serve", "--base", str(base)]
    with said.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--adapter", str(adapter), "--port", "0"], stdout=stream, stderr=stream
        )
    while "\nmodels" not in said.read_text():
        assert process.poll() is None, said.read_text()
        time.sleep(0.2)
    (line,) = (line for line in said.read_text().splitlines() if line.startswith("serving "))
    yield line.removeprefix("serving ")
    # Even a command that is killed leaves nothing behind.
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=60)
    assert [child.name() for child in alive] == []


def backend(name: Any, base: Path, adapter: Path, url: str | None = None) -> Any:
    return open_backend(name, Settings(base, [adapter], str(base), url=url))


@pytest.mark.engine
def test_log_likelihoods_are_those_of_the_model_that_is_named(
    server: str, base: Path, adapter: Path
) -> None:
    asked = [
        Asked(("The value of key 12 is", " 345")),
        Asked(("Do a task using the list of dictionaries below. " * 8, "Dictionary [1]")),
    ]
    served = backend("server", base, adapter, server)
    found = {}
    for name, made in (("server", served), ("hf", backend("hf", base, adapter))):
        for worn in (None, adapter):
            made.select(worn)
            found[name, worn] = [value for value, _ in made.lm.loglikelihood(asked)]
    for worn in (None, adapter):
        # Both round, in another order.
        assert found["server", worn] == pytest.approx(found["hf", worn], abs=0.15)
    effect = [a - b for a, b in zip(found["hf", adapter], found["hf", None], strict=True)]
    assert max(map(abs, effect)) > 0.5


@pytest.mark.engine
def test_base_and_adapter_are_evaluated_by_name(
    server: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    asked = Request(
        base=str(base), adapters=[adapter], tasks=[TASK], out=tmp_path, limit=2,
        backend="server", url=server,
    )  # fmt: skip
    outcomes = evaluate(asked)
    assert [outcome.reason for outcome in outcomes] == ["", ""]
    models = [outcome.results["config"]["model_args"]["model"] for outcome in outcomes]  # type: ignore[index]
    assert models == [next(iter(served_models(server.removesuffix("/v1")))), adapter.name]
    assert all(outcome.record["apply_chat_template"] for outcome in outcomes)


@pytest.mark.engine
def test_a_prompt_beyond_the_servers_context_is_refused_not_cut(
    server: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    made = backend("server", base, adapter, server)
    assert made.lm.max_length == 2048
    asked = Request(
        base=str(base), adapters=(), tasks=["mdqa_pos_synth"], out=tmp_path, limit=1,
        backend="server", url=server,
    )  # fmt: skip
    (outcome,) = evaluate(asked)
    assert outcome.status == "failed"
    assert "2048" in outcome.reason


@pytest.mark.engine
def test_a_model_that_is_not_served_is_named(
    server: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(adapter, tmp_path / "other")
    with pytest.raises(UsageError, match=r"serves .*, no 'other'; serve base and adapters"):
        backend("server", base, other, server)


@pytest.mark.engine
def test_an_adapter_that_answers_as_the_base_is_refused(server: str, adapter: Path) -> None:
    url = server.removesuffix("/v1")
    base = next(iter(served_models(url)))
    refuse_silent(url, base, [adapter.name])
    with pytest.raises(ServiceError, match="has not loaded the adapter, or one that does nothing"):
        refuse_silent(url, base, [adapter.name, base])
    with pytest.raises(ServiceError, match="refuses, HTTP 404: .*nobody"):
        refuse_silent(url, base, ["nobody"])


def test_a_server_without_log_probabilities_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        server_backend, "_answer", lambda *_, **__: {"choices": [{"logprobs": None}]}
    )
    refuse_silent("http://127.0.0.1:9", "base", ["kv"])


def test_prompts_begin_as_the_tokenizer_has_it_and_once(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer)
    bos = tokenizer.bos_token = "<|im_start|>"
    number = tokenizer.convert_tokens_to_ids(bos)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, number)]
    )
    tokenizer.save_pretrained(tmp_path)
    made = _as_in_an_engine(LocalCompletionsAPI)(
        base_url="http://127.0.0.1:9", model="m", tokenizer=str(tmp_path),
        tokenizer_backend="huggingface",
    )  # fmt: skip
    plain, begun = made.tok_encode("Dictionary"), made.tok_encode(f"{bos}Dictionary")
    assert plain == begun == tokenizer("Dictionary")["input_ids"]
    assert plain[0] == number
    # As the harness calls it for prompts to be continued, and for a lone continuation.
    prompts = made.tok_encode(["Dictionary", f"{bos}Dictionary"], add_special_tokens=False)
    assert prompts == [plain, plain]
    assert made.tok_encode("Dictionary", add_special_tokens=False) == plain[1:]
    # A server would apply the model's own penalty, which an engine does not.
    asked = made._create_payload("x", generate=True, gen_kwargs={"until": ["\n"]})
    assert asked["repetition_penalty"] == 1.0


def test_a_server_that_is_not_there_is_named(
    base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy would say that it is the one that is not there.
    monkeypatch.setenv("HTTP_PROXY", "http://no.such.proxy.invalid:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(
        ServiceError,
        match=r"127\.0\.0\.1:9/v1/models: no answer \(.*refused.*is the server running",
    ):
        backend("server", base, adapter, "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="--backend server needs --url"):
        backend("server", base, adapter)
