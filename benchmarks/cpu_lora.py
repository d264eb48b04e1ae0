"""How long does an adapter's pass take on vLLM's CPU backend, with and without our kernels?

    python benchmarks/cpu_lora.py ADAPTER [--prompts 16]

Runs the same prompts through vLLM as installed (``VLLM_PLUGINS=""``) and with
``kv_adapters.cpu_lora``, each in a process of its own, and prints seconds, the ratio and how many
answers are equal. The base model's own pass is printed beside, as the bound.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kv_adapters.engine_settings import cpu_dtype
from kv_train.adapter import read_manifest
from kv_train.models import resolve_model

SIDES = {"vLLM's kernels": "", "kv_adapters.cpu_lora": "kv_adapters_cpu_lora"}


def measure(adapter: Path, prompts: int) -> dict[str, Any]:
    """Time one pass of base and adapter in this process; prefix caching is off."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    from kv_adapters.backends import Settings
    from kv_adapters.backends.vllm import open_backend
    from kv_tasks.dictionaries import contexts
    from kv_tasks.kv_simple import SIMPLE

    base = resolve_model(read_manifest(adapter).base.name)
    engine = open_backend(Settings(base, [adapter])).lm.model
    made = contexts(SIMPLE, split="eval", seed=0, count=prompts, dictionaries=16, placement="even")
    chats = [
        [{"role": "user", "content": context.prompt(context.needles[0], template=True)}]
        for context in made
    ]
    sampling = SamplingParams(temperature=0, max_tokens=40, stop=["\n"])
    result: dict[str, Any] = {}
    for name, lora in (("base", None), ("adapter", LoRARequest("adapter", 1, str(adapter)))):
        engine.chat(chats[:1], sampling, lora_request=lora, use_tqdm=False)
        engine.reset_prefix_cache()
        started = time.perf_counter()
        outputs = engine.chat(chats, sampling, lora_request=lora, use_tqdm=False)
        result[name] = time.perf_counter() - started
        result["tokens"] = sum(len(output.prompt_token_ids) for output in outputs)
        result["answers"] = [output.outputs[0].text for output in outputs]
    return result


def main() -> None:
    """Measure both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--side", help="measure in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.adapter.resolve(), arguments.prompts)))
        return
    found = {}
    for side, plugins in SIDES.items():
        command = [sys.executable, __file__, str(arguments.adapter), "--side", side]
        command += ["--prompts", str(arguments.prompts)]
        environment = {**os.environ, "VLLM_PLUGINS": plugins}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        done.check_returncode()
        found[side] = json.loads(done.stdout.splitlines()[-1])
    theirs, ours = found.values()
    cores = len(os.sched_getaffinity(0))
    print(f"{arguments.prompts} prompts, {ours['tokens']} tokens, {cpu_dtype()}, {cores} cores")
    for side, result in found.items():
        print(f"{side:22} base {result['base']:6.1f} s   adapter {result['adapter']:6.1f} s")
    equal = sum(a == b for a, b in zip(theirs["answers"], ours["answers"], strict=True))
    print(f"ratio {theirs['adapter'] / ours['adapter']:.1f}, {equal} answers equal")


if __name__ == "__main__":
    main()
