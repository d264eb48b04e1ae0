"""Serve a base model and its adapters by name: vLLM's own OpenAI-compatible server.

``plan`` decides what, where and to whom; here that becomes a command; ``process`` runs it,
``guard`` asks for the key, ``examples`` says how to ask the server.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from kv_adapters import engine_lifetime
from kv_adapters.chat_template import arguments_of
from kv_adapters.engine_settings import engine_arguments, environment
from kv_adapters.serving.examples import print_examples
from kv_adapters.serving.guard import KEY, KeyGuard
from kv_adapters.serving.plan import Server, ServeRequest, prepare
from kv_adapters.serving.process import end_on_signals, running, wait_for_end, wait_until_ready
from kv_tasks import console
from kv_tasks.errors import UsageError

# The rank that vLLM takes when nobody says: enough for most adapters that a client may load.
RUNTIME_RANK = 16
TEMPLATE_FLAG = "--default-chat-template-kwargs"


def serve(request: ServeRequest) -> None:
    """Start the server, say how to ask it, and stay until it is stopped.

    Raises:
        UsageError, MissingPackageError, ModelError, AdapterError: before anything is loaded.
        ServiceError: vLLM did not become ready, or ended by itself.
    """
    if request.log and request.log.exists() and not request.log.is_file():
        # What vLLM printed is read from it again where that dies.
        raise UsageError(f"--log {request.log}: is no ordinary file; name one")
    server = prepare(request)
    if server.api_key and not request.api_key:
        console.warn(f"others may reach {server.host}: requests need a key, made for this run")
        console.err.print(f"export {KEY}={server.api_key}", markup=False)
    end_on_signals()
    with running(command(server, request), variables(server, request), request.log) as child:
        print_examples(server, wait_until_ready(child, server, request.timeout))
        wait_for_end(child)


def command(server: Server, request: ServeRequest) -> list[str]:
    """Return what is started. The key is not in it: a process list shows it to everybody."""
    # Not `vllm serve`: that asks for a distribution named vllm, which the CPU wheel is not.
    # -P, or every file in the user's folder could stand in for a module of the same name.
    started = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"]
    where = {
        "model": str(server.base),
        "served_model_name": server.base_name,
        "host": server.host,
        "port": server.port,
        "middleware": f"{KeyGuard.__module__}.{KeyGuard.__name__}" if server.api_key else None,
    }
    folders = list(server.adapters.values())
    engine = engine_arguments(folders, max_length=request.max_length, seed=request.seed)
    if request.allow_runtime_loading:
        engine = with_room(engine)
    # As JSON, since vLLM does not take a path with a comma in its shorter form.
    modules = [
        json.dumps({"name": name, "path": str(folder), "base_model_name": server.base_name})
        for name, folder in server.adapters.items()
    ]
    settings = where | engine | {"lora_modules": modules or None}
    # As vLLM's parser reads it: shortened, with underscores, or one key of it behind a dot.
    named = [re.split(r"[=.]", flag)[0].replace("_", "-") for flag in request.vllm_flags]
    if not any(len(n) > len("--default-") and TEMPLATE_FLAG.startswith(n) for n in named):
        template = arguments_of(folders, flag=f"-- {TEMPLATE_FLAG}")
        settings["default_chat_template_kwargs"] = json.dumps(template) if template else None
    return [*started, *as_flags(settings), *request.vllm_flags]


def variables(server: Server, request: ServeRequest) -> dict[str, str]:
    """Return the server's environment, which holds the key."""
    return {
        **os.environ,
        **environment(),
        # The server ends with this command even where that is killed.
        engine_lifetime.PARENT: str(os.getpid()),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1" if request.allow_runtime_loading else "0",
        KEY: server.api_key or "",
    }


def with_room(engine: Mapping[str, Any]) -> dict[str, Any]:
    """Return engine arguments for adapters that come and go: one more at a time, of any modules."""
    return {
        **engine,
        "enable_lora": True,
        "max_lora_rank": max(RUNTIME_RANK, engine.get("max_lora_rank", 0)),
        "max_loras": engine.get("max_loras", 1) + 1,
        "lora_target_modules": None,
        # vLLM knows what it has computed by an adapter's name and path, not by its weights: other
        # weights loaded under both would answer from what the former had read.
        "enable_prefix_caching": False,
    }


def as_flags(arguments: Mapping[str, Any]) -> list[str]:
    """Spell keyword arguments as command-line flags; None is left out, a truth is a bare flag."""
    flags: list[str] = []
    for name, value in arguments.items():
        if value is None:
            continue
        flags.append(f"--{'no-' if value is False else ''}{name.replace('_', '-')}")
        if not isinstance(value, bool):
            flags += map(str, value if isinstance(value, list) else [value])
    return flags
