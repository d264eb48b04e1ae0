"""What a server is started with, and whom it answers; nothing is started."""

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kv_adapters import engine_settings
from kv_adapters.engine_settings import cpu_dtype, lora_arguments
from kv_adapters.serving.examples import curl_line, lm_eval_line
from kv_adapters.serving.guard import KeyGuard
from kv_adapters.serving.plan import (
    Server,
    ServeRequest,
    free_port,
    is_loopback,
    named,
    prepare,
    refuse_own_flags,
    served_name,
)
from kv_adapters.serving.serve import command, serve, variables
from kv_tasks.errors import AdapterError, MissingPackageError, UsageError

KEY = "open-sesame"


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_settings, "gpu", lambda: False)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


def adapter(folder: Path, rank: int, *modules: str, **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, **config}))
    tensors = {
        f"base_model.model.model.layers.0.self_attn.{module}.lora_{part}.weight": torch.zeros(1, 1)
        for module in modules
        for part in "AB"
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def flags(server: Server, **changes: Any) -> dict[str, list[str]]:
    """Return the command's flags, each with its values."""
    found: dict[str, list[str]] = {}
    for word in command(server, ServeRequest(base="x", **changes))[4:]:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def test_the_engine_has_room_for_the_largest_adapter_and_one_slot_more(tmp_path: Path) -> None:
    folders = {
        "small": adapter(tmp_path / "small", 4, "q_proj", target_modules="all-linear"),
        "large": adapter(tmp_path / "large", 12, "q_proj", "v_proj", rank_pattern={"v_proj": 40}),
    }
    found = flags(Server(tmp_path, "tiny", folders), max_length=512, seed=7)
    assert found["--max-lora-rank"] == ["64"]
    assert found["--max-loras"] == ["3"]
    assert found["--lora-target-modules"] == ["q_proj", "v_proj"]
    assert found["--max-model-len"] == ["512"]
    assert found["--seed"] == ["7"]
    assert found["--dtype"] == [cpu_dtype()]
    assert found["--enable-prefix-caching"] == found["--enforce-eager"] == []
    modules = [json.loads(module) for module in found["--lora-modules"]]
    assert [(module["name"], module["path"]) for module in modules] == [
        (name, str(folder)) for name, folder in folders.items()
    ]


def test_a_rank_that_vllm_knows_gets_no_more_room_than_it_takes(tmp_path: Path) -> None:
    assert lora_arguments([adapter(tmp_path / "a", 16, "q_proj")])["max_lora_rank"] == 16


def test_a_base_alone_is_served_without_lora(tmp_path: Path) -> None:
    found = flags(Server(tmp_path, "tiny", {}))
    assert not [flag for flag in found if "lora" in flag]
    assert "--max-model-len" not in found
    assert found["--served-model-name"] == ["tiny"]


def test_clients_load_adapters_only_where_that_was_allowed(tmp_path: Path) -> None:
    server = Server(tmp_path, "tiny", {"one": adapter(tmp_path / "one", 8, "q_proj")})
    shut, allowed = ServeRequest(base="x"), ServeRequest(base="x", allow_runtime_loading=True)
    assert variables(server, shut)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert variables(server, allowed)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    found = flags(server, allow_runtime_loading=True)
    assert (found["--max-loras"], found["--max-lora-rank"]) == (["3"], ["16"])
    assert "--lora-target-modules" not in found
    # Other weights under the same name and path would be answered from what was kept of these.
    assert "--no-enable-prefix-caching" in found
    assert "--enable-prefix-caching" in flags(server)
    assert flags(Server(tmp_path, "tiny", {}), allow_runtime_loading=True)["--max-loras"] == ["2"]


def test_the_key_is_in_the_environment_and_not_in_the_process_list(tmp_path: Path) -> None:
    server, request = Server(tmp_path, "tiny", {}, api_key=KEY), ServeRequest(base="x", api_key=KEY)
    assert KEY not in " ".join(command(server, request))
    assert KEY not in repr(server) + repr(request)
    assert variables(server, request)["VLLM_API_KEY"] == KEY
    assert flags(server)["--middleware"] == ["kv_adapters.serving.guard.KeyGuard"]
    open_to_all = Server(tmp_path, "tiny", {})
    assert "--middleware" not in flags(open_to_all)
    assert variables(open_to_all, request)["VLLM_API_KEY"] == ""


def test_a_key_is_made_as_soon_as_others_reach_the_server(tiny_base: Path) -> None:
    def key(**changes: Any) -> str | None:
        return prepare(ServeRequest(base=str(tiny_base), port=0, **changes)).api_key

    assert key() is None
    assert key(host="0.0.0.0", api_key=KEY) == KEY
    made = key(host="0.0.0.0"), key(host="0.0.0.0")
    assert made[0] != made[1]
    assert min(len(one or "") for one in made) >= 32


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("", False), ("192.168.1.4", False), ("gpu7", False)],
)  # fmt: skip
def test_only_loopback_counts_as_out_of_reach(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_an_address_for_all_is_reached_over_loopback() -> None:
    def url(host: str) -> str:
        return Server(Path(), "tiny", {}, host, 80).url

    assert url("0.0.0.0") == "http://127.0.0.1:80"
    assert url("::") == "http://[::1]:80"
    assert url("gpu7") == "http://gpu7:80"


def test_a_taken_port_is_named_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: the port is taken; choose another"):
            prepare(ServeRequest(base="nowhere", port=port))
    assert free_port("127.0.0.1", 0) > 0
    with pytest.raises(UsageError, match=r"--host 192\.0\.2\.1 --port 0: cannot listen there"):
        free_port("192.0.2.1", 0)


def test_models_have_the_names_of_their_folders_and_a_hub_name_stays(tmp_path: Path) -> None:
    assert served_name(str(tmp_path), tmp_path) == tmp_path.name
    assert served_name("org/model", tmp_path / "snapshots" / "0123") == "org/model"
    assert list(named([tmp_path / "b", tmp_path / "a"], "tiny")) == ["b", "a"]
    for taken in ([tmp_path / "a", tmp_path / "x" / "a"], [tmp_path / "tiny"]):
        with pytest.raises(UsageError, match="must differ from each other and from the base's"):
            named(taken, "tiny")


def test_vllm_gets_its_flags_unchanged_and_last(tmp_path: Path) -> None:
    given = ["--dtype", "float32", "--tensor-parallel-size=2"]
    made = command(Server(tmp_path, "tiny", {}), ServeRequest(base="x", vllm_flags=given))
    assert made[-3:] == given
    # vLLM's parser takes a flag's beginning for the flag.
    for flag in (
        "--api-key", "--port=1", "--served_model_name", "--hos", "--ho=0.0.0.0", "--served_m",
    ):  # fmt: skip
        with pytest.raises(UsageError, match="decided by kv-adapters serve"):
            refuse_own_flags([*given, flag])
    for flag in ("--max-lora-rank=8", "--max_loras", "--no-enable-lora"):
        with pytest.raises(UsageError, match="the adapters decide it"):
            refuse_own_flags([*given, flag, "8"])
    refuse_own_flags(["--enable-prefix-caching"])
    with pytest.raises(UsageError, match="off with --allow-runtime-loading"):
        refuse_own_flags(["--enable-prefix-caching"], loading=True)
    with pytest.raises(UsageError, match="'folder': not an option; an adapter is given as"):
        refuse_own_flags(["folder"])
    refuse_own_flags(["--", "--max-model-len", "512", "--lora-dtype=auto", "--model-impl", "vllm"])


def test_a_broken_adapter_is_refused(tiny_base: Path, own_adapter: Path) -> None:
    (own_adapter / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match=r"files: expected adapter_config\.json"):
        prepare(ServeRequest(base=str(tiny_base), adapters=[own_adapter], port=0))


def test_a_missing_vllm_is_named(monkeypatch: pytest.MonkeyPatch, tiny_base: Path) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(
        MissingPackageError, match="vLLM is not installed; run in the checkout: pip install"
    ):
        prepare(ServeRequest(base=str(tiny_base), port=0))


def asked(path: str, method: str = "GET", key: str | None = None, kind: str = "http") -> Any:
    """Return what a guarded application answers: "in" when it was reached, else the refusal."""
    sent: list[Any] = []

    async def application(*_: Any) -> None:
        sent.append("in")

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message.get("status", message["type"]))

    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {"type": kind, "path": path, "method": method, "headers": headers}
    asyncio.run(KeyGuard(application)(scope, receive, send))
    return sent[0]


def test_every_path_but_health_asks_for_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    for path in ("/v1/models", "/invocations", "/metrics", "/adapters", "/health/../tokenize"):
        assert asked(path, "POST") == asked(path, key="wrong") == 401
        assert asked(path, key=f"{KEY}-and-more") == 401
        assert asked(path, "POST", KEY) == "in"
    assert asked("/health") == asked("/v1/models", "OPTIONS") == "in"
    assert asked("/v1/realtime", kind="websocket") == "websocket.close"
    assert asked("", kind="lifespan") == "in"


def test_the_lines_to_paste_survive_a_shell_and_hold_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "it's, a model"
    base.mkdir()
    server = Server(base, "tiny", {"my adapter": tmp_path}, api_key=KEY)
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    lines = [curl_line(server), lm_eval_line(server, 4096)]
    assert KEY not in " ".join(lines)
    assert '"prompt": ' in lines[0]
    assert "--apply_chat_template" not in lines[1]
    (base / "chat_template.jinja").touch()
    assert "/v1/chat/completions" in curl_line(server)
    assert "--apply_chat_template" in lm_eval_line(server, 4096)
    words = shlex.split(lines[1])
    arguments = json.loads(words[words.index("--model_args") + 1])
    assert (arguments["model"], arguments["max_length"]) == ("my adapter", 4096)
    assert arguments["tokenizer"] == str(base)


def test_the_command_asks_for_a_base() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "kv-adapters", "serve", "--port", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--base" in done.stderr


def test_chats_are_rendered_as_the_adapters_were_trained(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 8, "q_proj")
    (one / "recipe.yaml").write_text("data: {chat_template_kwargs: {enable_thinking: false}}")
    server = Server(tmp_path, "tiny", {"one": one})
    flag = "--default-chat-template-kwargs"
    assert flags(server)[flag] == ['{"enable_thinking": false}']
    assert flags(server, vllm_flags=[flag, "{}"])[flag] == ["{}"]
    assert flag not in flags(server, vllm_flags=["--default_chat_template={}"])
    dotted = f"{flag}.enable_thinking=false"
    assert flag not in flags(server, vllm_flags=[dotted])
    assert "local-chat-completions" in lm_eval_line(server, 4096)
    other = Server(tmp_path, "tiny", {"one": one, "two": adapter(tmp_path / "two", 8, "q_proj")})
    with pytest.raises(UsageError, match="one {'enable_thinking': False}, two {}.*-- --default-ch"):
        flags(other)


def test_a_log_that_is_no_file_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    """What vLLM printed is read from it where it dies: of a pipe there would be no end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="--log .*pipe: is no ordinary file"):
        serve(ServeRequest(base=str(tmp_path), log=tmp_path / "pipe"))
