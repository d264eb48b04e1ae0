"""transformers and PEFT: the same evaluation where vLLM is not installed."""

from importlib import metadata
from pathlib import Path
from typing import Any

from kv_adapters.backends import Settings
from kv_adapters.chat_template import templated
from kv_adapters.evaluation.answers import recorded
from kv_tasks.errors import UsageError

# Prompts computed together unless said otherwise.
TOGETHER = 8


class HfBackend:
    """See :class:`kv_adapters.backends.Backend`."""

    def __init__(self, settings: Settings) -> None:
        """Load the base model once and attach every adapter to it."""
        import torch
        from lm_eval.models.huggingface import HFLM
        from peft import PeftModel
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        from kv_train.precision import DTYPES, best_precision

        self._settings = settings
        self._dtype = DTYPES[best_precision()]
        # Before gigabytes are read.
        _check_length(settings, AutoConfig.from_pretrained(settings.base).get_text_config())
        model = AutoModelForCausalLM.from_pretrained(settings.base, dtype=self._dtype)
        _answer_unpenalised(model.generation_config)
        if torch.accelerator.is_available():
            model = model.to(torch.accelerator.current_accelerator())
        self._names = {path: f"adapter{n}" for n, path in enumerate(settings.adapters)}
        self._peft: Any = None
        for path, name in self._names.items():
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(model, path, adapter_name=name)
            else:
                self._peft.load_adapter(path, adapter_name=name)
        together = settings.batch_size or TOGETHER
        self.lm = recorded(templated(HFLM, settings.chat_template_args), least=together)(
            pretrained=(self._peft or model).eval(),
            tokenizer=AutoTokenizer.from_pretrained(settings.base),
            max_length=settings.max_length,
            batch_size=together,
        )

    def select(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None is the base model."""
        if self._peft is None:
            return
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(self._names[adapter])

    def describe(self) -> dict[str, Any]:
        """Return what was loaded and transformers' version."""
        return {
            "pretrained": str(self._settings.base),
            "dtype": str(self._dtype).removeprefix("torch."),
            "max_length": self._settings.max_length,
            "batch_size": self._settings.batch_size or TOGETHER,
            "backend": f"transformers {metadata.version('transformers')}",
        }


def _check_length(settings: Settings, config: Any) -> None:
    """Refuse positions that the model was not made for, as vLLM does."""
    context = getattr(config, "max_position_embeddings", None)
    if context and settings.max_length and settings.max_length > context:
        raise UsageError(
            f"--max-length {settings.max_length}: {settings.base} is made for {context} tokens; "
            "give that or less"
        )


def _answer_unpenalised(config: Any) -> None:
    """Take away what a model's own settings do to greedy answers, and the harness on vLLM does not.

    Qwen2.5's penalty for tokens that the prompt has falls on the very value to be retrieved. A
    length of its own would win over the task's.
    """
    config.max_new_tokens = None
    config.repetition_penalty = 1.0
    config.no_repeat_ngram_size = 0


open_backend = HfBackend
