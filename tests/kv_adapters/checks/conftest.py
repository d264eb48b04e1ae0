"""A base model that vLLM computes on a CPU, and an adapter of it."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def served_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Path:
    """A random Llama of two layers, its heads wide enough for vLLM's attention on a CPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer),
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tiny_tokenizer.eos_token_id,
        pad_token_id=tiny_tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("live") / "base"
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served_adapter(served_base: Path) -> Path:
    """Random matrices, A and B, on attention and MLP: an adapter with much to say."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    modules = ["q_proj", "v_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_alpha=64, target_modules=modules, init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(served_base)
    folder = served_base.parent / "adapter"
    get_peft_model(base, lora).save_pretrained(folder)
    return folder
