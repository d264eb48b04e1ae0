"""How to ask a running server: lines to paste into another shell of this machine."""

import json
import shlex
from pathlib import Path

from kv_adapters.serving.guard import KEY
from kv_adapters.serving.plan import Server
from kv_tasks import console, registration
from kv_tasks.paths import task_configs
from kv_train.adapter import chat_template_kwargs

TASK = "kv_simple_16dicts"


def print_examples(server: Server, context: int) -> None:
    """Print address, model names and one line each for curl and lm_eval to standard output.

    Args:
        server: that is ready.
        context: its context in tokens.
    """
    if server.api_key:
        console.note(f"the lines below take the key from ${KEY}")
    heading = [f"serving {server.url}/v1", f"models {', '.join(server.models)}"]
    for line in (*heading, curl_line(server), lm_eval_line(server, context)):
        console.result(line)


def curl_line(server: Server) -> str:
    """Return a request to the first adapter, or to the base where there is none."""
    body: dict[str, object] = {"model": server.models[:2][-1], "max_tokens": 32}
    if _has_chat_template(server.base):
        path = "chat/completions"
        body["messages"] = [{"role": "user", "content": "What is the capital of France?"}]
    else:
        path = "completions"
        body["prompt"] = "The capital of France is"
    words = ["curl", f"{server.url}/v1/{path}", "-H", "Content-Type: application/json"]
    words += ["-d", json.dumps(body, ensure_ascii=False)]
    # The key's own words are left to the shell, so that no log holds it.
    key = f' -H "Authorization: Bearer ${KEY}"' if server.api_key else ""
    return shlex.join(words) + key


def lm_eval_line(server: Server, context: int) -> str:
    """Return a small evaluation by the plain harness.

    The context is stated since the harness would otherwise cut prompts at 2,047 tokens, without
    a word.
    """
    kind = "local-completions"
    arguments = {
        "base_url": f"{server.url}/v1/completions",
        "model": server.models[:2][-1],
        "tokenizer": str(server.base),
        "tokenizer_backend": "huggingface",
        "max_length": context,
        "num_concurrent": 8,
    }
    if any(map(chat_template_kwargs, server.adapters.values())):
        # The harness would call the template without them; the server does not.
        kind = "local-chat-completions"
        arguments["base_url"] = f"{server.url}/v1/chat/completions"
        del arguments["tokenizer"], arguments["tokenizer_backend"]
    words = ["lm_eval", "--model", kind, "--model_args", _model_args(arguments)]
    words += ["--tasks", TASK, "--limit", "10"]
    if _has_chat_template(server.base):
        words.append("--apply_chat_template")
    if registration.status().state != "current":
        words += ["--include_path", str(task_configs())]
    key = f'OPENAI_API_KEY="${KEY}" ' if server.api_key else ""
    return key + shlex.join(words)


def _model_args(arguments: dict[str, object]) -> str:
    """Spell them as the harness reads them: as JSON where a value holds a comma."""
    if any("," in str(value) for value in arguments.values()):
        return json.dumps(arguments, ensure_ascii=False)
    return ",".join(f"{name}={value}" for name, value in arguments.items())


def _has_chat_template(base: Path) -> bool:
    """Whether the tokenizer has one, in a file of its own or, before transformers 5, inside."""
    if (base / "chat_template.jinja").is_file():
        return True
    file = base / "tokenizer_config.json"
    return file.is_file() and '"chat_template"' in file.read_text(encoding="utf-8")
