"""Which tokens an engine computed and which it found in its prefix cache.

vLLM serves requests in the order in which it gets them. The harness sorts them by length;
sorted by their tokens instead, prompts that begin alike follow one another, and a prefix is
still in the cache when the next prompt asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Usage:
    """Tokens since the engine started.

    Attributes:
        prompt: tokens of all prompts.
        cached: of these, found in the prefix cache.
        generated: tokens of all answers.
    """

    prompt: int = 0
    cached: int = 0
    generated: int = 0

    def add(self, outputs: Sequence[Any]) -> None:
        """Count vLLM's ``RequestOutput`` objects."""
        for output in outputs:
            self.prompt += len(output.prompt_token_ids or ())
            self.cached += output.num_cached_tokens or 0
            self.generated += sum(len(answer.token_ids) for answer in output.outputs)

    def since(self, before: "Usage") -> dict[str, int | float]:
        """Return what came on top of ``before``, with the cached share of the prompts."""
        prompt, cached = self.prompt - before.prompt, self.cached - before.cached
        return {
            "prompt_tokens": prompt,
            "cached_tokens": cached,
            "cached_share": round(cached / prompt, 4) if prompt else 0.0,
            "generated_tokens": self.generated - before.generated,
        }


def prefix_ordered(harness_class: type[Any]) -> type[Any]:
    """Return a subclass of the harness's vLLM model that orders prompts and counts tokens."""

    def _model_generate(
        self: Any,
        requests: Sequence[list[int]],
        generate: bool = False,
        sampling_params: Any = None,
    ) -> list[Any]:
        order = sorted(range(len(requests)), key=requests.__getitem__)
        if isinstance(sampling_params, list):
            sampling_params = [sampling_params[place] for place in order]
        outputs = harness_class._model_generate(
            self, [requests[place] for place in order], generate, sampling_params
        )
        self.usage = self.usage or Usage()
        self.usage.add(outputs)
        back = dict(zip(order, outputs, strict=True))
        return [back[place] for place in range(len(requests))]

    members = {"usage": None, "_model_generate": _model_generate}
    return type(harness_class.__name__, (harness_class,), members)
