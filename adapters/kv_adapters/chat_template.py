"""What a chat template is called with, the same in evaluation and serving as in training.

A model that may think first, such as Qwen3, renders another prompt when it is told not to
(``enable_thinking: false``). An adapter that was trained on one of them answers worse on the other.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from kv_tasks.errors import UsageError
from kv_tasks.tokens import CLOCK, load_tokenizer, writes_date
from kv_train.adapter import chat_template_kwargs

# Where a tokenizer's template may lie.
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


def arguments_of(
    adapters: Sequence[Path],
    given: Mapping[str, Any] | None = None,
    *,
    flag: str = "--chat-template-args",
) -> dict[str, Any]:
    """Return what the template is called with for a base and its adapters.

    Args:
        adapters: adapter folders.
        given: what the user asked for, None for what the adapters were trained with.
        flag: with which the user asks.

    Raises:
        UsageError: the adapters were trained with different arguments, and nothing is given.
    """
    if given is not None:
        return dict(given)
    trained = {adapter: chat_template_kwargs(adapter) for adapter in adapters}
    first = next(iter(trained.values()), {})
    if any(arguments != first for arguments in trained.values()):
        each = ", ".join(f"{adapter.name} {arguments}" for adapter, arguments in trained.items())
        raise UsageError(
            f"--adapter: trained with different arguments of the chat template ({each}); take them "
            f"apart, or say {flag} for all"
        )
    return first


def dated(folder: Path, arguments: Mapping[str, Any]) -> bool:
    """Say whether a tokenizer's chat template writes today's date: other prompts tomorrow.

    Args:
        folder: of the tokenizer.
        arguments: what the template is called with; a date among them ends it.
    """
    files = [folder / name for name in _TEMPLATES if (folder / name).is_file()]
    if not any(CLOCK in file.read_text(encoding="utf-8") for file in files):
        return False
    return writes_date(load_tokenizer(str(folder)), **arguments)


def templated(harness_class: type[Any], arguments: Mapping[str, Any]) -> type[Any]:
    """Return a harness LM whose chat template is called with ``arguments``.

    The harness's own ways differ: its vllm model drops ``enable_thinking`` among them, or calls the
    template with None where nobody says it, which SmolLM3's takes for a no; its models of servers
    take none. As in the harness, a template without a system role gets no such message.
    """

    def apply_chat_template(
        self: Any, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        render = partial(
            self.tokenizer.apply_chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **arguments,
        )
        try:
            return str(render(chat_history))
        except TemplateError:
            return str(render([message for message in chat_history if message["role"] != "system"]))

    methods = {"apply_chat_template": apply_chat_template}
    return type(harness_class.__name__, (harness_class,), methods)
