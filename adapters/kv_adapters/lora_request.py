"""How vLLM is told of an adapter: by content, so that changed weights are never taken for the old.

vLLM keeps the first adapter that it loaded under a number, and its prefix cache knows an adapter
by its name. Both are derived from the adapter's weights and configuration here, so an adapter
that changed at the same path is another one, in every engine.
"""

from pathlib import Path
from typing import Any

from kv_train.adapter import adapter_checksum

# vLLM keeps the number as a signed integer of 32 bits in places.
DIGITS = 7


def lora_request(adapter: Path) -> Any:
    """Return vLLM's ``LoRARequest`` for an adapter folder as it is now."""
    from vllm.lora.request import LoRARequest

    digest = adapter_checksum(adapter)
    # Zero is not a number that vLLM takes.
    return LoRARequest(f"{adapter.name}-{digest[:12]}", int(digest[:DIGITS], 16) + 1, str(adapter))
