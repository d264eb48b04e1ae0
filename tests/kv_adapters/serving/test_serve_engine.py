"""A real server, started and ended as a user would: base and two adapters of one tiny model."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

BIN = Path(sys.executable).parent
KEY = "open-sesame"
CONTEXT = 2000
NAMES = ["tiny", "one", "two"]
PROMPT = "The dictionary with key 1234 says 5678, and that is all that it says."
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "no_proxy": "127.0.0.1",
    "VLLM_API_KEY": KEY,
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


@dataclass
class Running:
    """A server that said it was ready, with what it printed and how it was left."""

    process: subprocess.Popen[str]
    folder: Path
    port: int
    lines: list[str]
    children: list[psutil.Process]

    def ask(self, path: str, key: str | None = KEY, **body: Any) -> tuple[int, Any]:
        """Return the status and the answer of a POST request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def log_probability(self, name: str, tokens: Sequence[int]) -> float:
        status, answer = self.ask(
            "/v1/completions", model=name, prompt=tokens, max_tokens=1, echo=True, logprobs=1
        )
        assert (status, answer["model"]) == (200, name)
        (choice,) = answer["choices"]
        return sum(choice["logprobs"]["token_logprobs"][1 : len(tokens)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_llama: Callable[..., Path]) -> Path:
    """A random Llama whose heads vLLM can compute on a CPU, and two random adapters of it."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("served")
    make_llama(folder / "tiny", width=128)
    for name, rank, modules in (("one", 4, ["q_proj", "v_proj"]), ("two", 16, ["down_proj"])):
        lora = LoraConfig(
            r=rank, lora_alpha=8 * rank, target_modules=modules, init_lora_weights=False
        )
        base = LlamaForCausalLM.from_pretrained(folder / "tiny")
        get_peft_model(base, lora).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Running]:
    (models / "vllm.py").write_text("raise SystemExit('a file of the folder it was started in')")
    process = subprocess.Popen(
        [
            BIN / "kv-adapters", "serve", "--base", models / "tiny", "--adapter", models / "one",
            "--adapter", models / "two", "--port", "0", "--max-length", str(CONTEXT),
            "--log", models / "server.log",
        ],
        cwd=models, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(4)]
        if not lines[-1]:
            pytest.fail(process.communicate()[1])
        port = int(lines[0].rpartition(":")[2].removesuffix("/v1"))
        children = psutil.Process(process.pid).children(recursive=True)
        yield Running(process, models, port, lines, children)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def paste(line: str) -> str:
    """Run a printed line in a shell that holds the key; return its standard output."""
    done = subprocess.run(
        line, shell=True, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_base_and_adapters_are_served_by_name_and_the_key_stays_hidden(server: Running) -> None:
    assert server.lines[1] == "models tiny, one, two"
    assert len(server.children) >= 2
    shown = [word for process in server.children for word in process.cmdline()]
    printed = [*server.lines, (server.folder / "server.log").read_text()]
    assert not [text for text in [*shown, *printed] if KEY in text]


def test_the_printed_curl_line_works(server: Running) -> None:
    answer = json.loads(paste(server.lines[2]))
    assert answer["model"] == "one"
    assert answer["choices"][0]["message"]["role"] == "assistant"


def test_the_printed_lm_eval_line_works(server: Running, tmp_path: Path) -> None:
    assert f"max_length={CONTEXT}," in server.lines[3]
    paste(f"{server.lines[3]} --limit 2 --log_samples --output_path {shlex.quote(str(tmp_path))}")
    (results,) = (json.loads(file.read_text()) for file in tmp_path.rglob("results_*.json"))
    assert results["config"]["model_args"]["model"] == "one"
    assert results["config"]["model_args"]["max_length"] == CONTEXT
    (samples,) = tmp_path.rglob("samples_kv_simple_16dicts_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == 2
    assert all(row["resps"][0][0] for row in rows)
    assert "<|im_start|>assistant" in rows[0]["arguments"]["gen_args_0"]["arg_0"]


def test_each_name_answers_with_its_own_weights(server: Running, tiny_tokenizer: Any) -> None:
    """Against PEFT in fp32; vLLM may compute in bf16. All at once, so that batches are mixed."""
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    tokens = tiny_tokenizer(PROMPT)["input_ids"]
    expected = {}
    for name in NAMES:
        model = LlamaForCausalLM.from_pretrained(server.folder / "tiny", dtype=torch.float32)
        if name != "tiny":
            model = PeftModel.from_pretrained(model, server.folder / name)
        with torch.no_grad():
            scores = model(torch.tensor([tokens])).logits[0, :-1].log_softmax(-1)
        expected[name] = scores.gather(1, torch.tensor(tokens[1:])[:, None]).sum().item()
    asked = NAMES * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda name: server.log_probability(name, tokens), asked))
    for name, value in zip(asked, found, strict=True):
        assert value == pytest.approx(expected[name], abs=0.5)
    apart = [abs(expected[one] - expected[other]) for one, other in combinations(NAMES, 2)]
    assert min(apart) > 1


def test_nobody_is_answered_without_the_key_nor_loads_an_adapter(server: Running) -> None:
    question = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    for path in ("/v1/completions", "/invocations", "/tokenize"):
        assert server.ask(path, key=None, **question)[0] == 401
        assert server.ask(path, key="wrong", **question)[0] == 401
    assert server.ask("/v1/completions", **question)[0] == 200
    again = {"lora_name": "new", "lora_path": str(server.folder / "one")}
    assert server.ask("/v1/load_lora_adapter", **again)[0] == 404


def test_ctrl_c_ends_it_with_130_and_leaves_no_process(server: Running) -> None:
    server.process.send_signal(signal.SIGINT)
    _, messages = server.process.communicate(timeout=60)
    assert server.process.returncode == 130, messages
    assert "killed" not in messages
    _, alive = psutil.wait_procs(server.children, timeout=5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    with pytest.raises(ConnectionRefusedError):
        server.ask("/v1/models")
