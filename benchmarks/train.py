"""What does an answer cost to train, here and with what one would use instead?

    pip install trl
    python benchmarks/train.py [--tokens 2000 3900] [--model smollm2-135m] [--checkpointing]

The same model, LoRA layers, prompts and answers, one process a side, one batch an optimizer step:

    shared     this trainer, 8 questions over each context in one pass
    single     this trainer, one question a row: the paper's own layout
    trl        TRL's SFTTrainer, completion-only loss, max_length that cuts nothing
    plain      transformers.Trainer, padded rows with labels, full logits

Printed are seconds and FLOPs a supervised answer, tokens a second and peak memory, with both
sides' configuration. ``--model mistral-7b`` is that shape with random weights, for GPUs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from kv_train.precision import DTYPES, best_precision

QUESTIONS = 8
SIDES = ("shared", "single", "trl", "plain")
# Batches a side: the first is warm-up and has its FLOPs counted, the others are timed.
BATCHES = {"shared": 3, "single": 5, "trl": 5, "plain": 5}
# Dense bf16 TFLOP/s as the vendor states them.
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "4090": 165}


def rows_of(folder: Path, tokens: int, side: str) -> list[dict[str, Any]]:
    """Return the chat rows of ``side``: the same contexts for all, first questions first."""
    from kv_tasks.training_data import Specification, rows

    made = list(
        rows(
            Specification(
                samples=BATCHES[side] * QUESTIONS,
                tokens=tokens,
                tokenizer=str(folder),
                questions_per_context=QUESTIONS,
            ),
            workers=1,
        )
    )
    return made if side == "shared" else made[::QUESTIONS]


def model_folder(name: str) -> Path:
    """Return the model's folder; a random model of Mistral-7B's shape is made on the way."""
    from kv_train.models import DEMO, resolve_model

    if name != "mistral-7b":
        return resolve_model(name)
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    folder = Path(tempfile.gettempdir()) / "kv-benchmark-mistral-7b"
    if not (folder / "config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEMO))
        torch.manual_seed(0)
        config = MistralConfig(vocab_size=len(tokenizer), sliding_window=None)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = MistralForCausalLM._from_config(config, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def common(work: str, checkpointing: bool, batches: int) -> dict[str, Any]:
    """Return the arguments that all sides share."""
    return {
        "output_dir": work,
        "max_steps": batches,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4,
        "bf16": best_precision() == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "dataloader_pin_memory": False,
    }


def lora_model(folder: Path, attention: str) -> Any:
    """Return the model with rank 16 on attention."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[best_precision()], attn_implementation=attention
    )
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    config = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=targets)
    return get_peft_model(model, config)


def _names(made: list[dict[str, Any]]) -> list[str]:
    return [f"row {number + 1}" for number in range(len(made))]


def ours(folder: Path, made: list[dict[str, Any]], arguments: dict[str, Any]) -> Any:
    """Return this project's trainer."""
    from transformers import AutoTokenizer, TrainingArguments

    from kv_train.attention import NAME
    from kv_train.examples import encode_rows
    from kv_train.packing import Collator, pack_rows
    from kv_train.trainer import AnswerTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = encode_rows(tokenizer, made, _names(made), max_length=10**6)
    return AnswerTrainer(
        model=lora_model(folder, NAME),
        args=TrainingArguments(**arguments, remove_unused_columns=False),
        train_dataset=pack_rows(encoded, questions_per_pack=QUESTIONS),
        data_collator=Collator(pad_token_id=tokenizer.pad_token_id or 0),
    )


def trl(folder: Path, made: list[dict[str, Any]], arguments: dict[str, Any]) -> Any:
    """Return TRL's trainer, configured so that it trains the same tokens."""
    import datasets
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in made]
    return SFTTrainer(
        model=lora_model(folder, "sdpa"),
        args=SFTConfig(**arguments, max_length=None, completion_only_loss=True),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )


def plain(folder: Path, made: list[dict[str, Any]], arguments: dict[str, Any]) -> Any:
    """Return transformers' trainer on rows with labels."""
    from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from kv_train.examples import encode_rows

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = encode_rows(tokenizer, made, _names(made), max_length=10**6)
    rows = [{"input_ids": list(r.input_ids), "labels": list(r.labels)} for r in encoded]
    return Trainer(
        model=lora_model(folder, "sdpa"),
        args=TrainingArguments(**arguments),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )


def measure(side: str, folder: Path, tokens: int, checkpointing: bool) -> dict[str, float]:
    """Train a few batches in this process and return what they cost."""
    if not torch.cuda.is_available():
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    build: Callable[..., Any] = {"trl": trl, "plain": plain}.get(side, ours)
    made = rows_of(folder, tokens, side)
    with tempfile.TemporaryDirectory() as work:
        trainer = build(folder, made, common(work, checkpointing, BATCHES[side]))
        seconds, flops = timed(trainer)
    answers = QUESTIONS if side == "shared" else 1
    gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if gpu else 1024 * peak_kilobytes()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "seconds": sorted(seconds)[len(seconds) // 2] / answers,
        "flops": flops / answers,
        "peak": peak,
        "loss": losses[0],
        "trained_tokens": trained_tokens(trainer) / answers,
    }


def peak_kilobytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def trained_tokens(trainer: Any) -> int:
    """Return how many tokens of the first batch have a label."""
    labels = next(iter(trainer.get_train_dataloader()))["labels"]
    return int((labels != -100).sum())


def timed(trainer: Any) -> tuple[list[float], float]:
    """Train; return the seconds of each batch but the first, and the first one's FLOPs."""
    seconds: list[float] = []
    counter = FlopCounterMode(display=False, custom_mapping=attention_flops())
    step = trainer.training_step

    def clocked(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        if not counter.get_total_flops():
            with counter:
                return step(*arguments, **options)
        loss = step(*arguments, **options)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        return loss

    trainer.training_step = clocked
    trainer.train()
    return seconds, float(counter.get_total_flops())


def attention_flops() -> dict[Any, Callable[..., int]]:
    """Return formulas that count half a square where attention is causal, CPU kernels included.

    torch's own refuse fewer key-value heads than query heads, which its kernels take.
    """

    def formula(operator: Any, backward: bool) -> Callable[..., int]:
        names = [argument.name for argument in operator.default._schema.arguments]
        query_at, causal_at = names.index("query"), names.index("is_causal")

        def count(*values: Any, out_val: Any = None, **options: Any) -> int:
            (b, heads, rows, width), (*_, columns, _) = values[query_at : query_at + 2]
            causal = options.get("is_causal", values[causal_at : causal_at + 1] == (True,))
            products = 5 if backward else 2
            return int(products * 2 * b * heads * rows * columns * width / (2 if causal else 1))

        return count

    family = [f"{name}_attention" for name in ("flash", "efficient", "cudnn")]
    family.append("flash_attention_for_cpu")
    operators = [getattr(torch.ops.aten, f"_scaled_dot_product_{name}") for name in family]
    backward = [getattr(torch.ops.aten, f"_scaled_dot_product_{n}_backward") for n in family]
    return {
        **{operator: formula(operator, False) for operator in operators},
        **{operator: formula(operator, True) for operator in backward},
    }


def table(tokens: int, found: dict[str, dict[str, float]]) -> Table:
    """Return the result of one length, each side beside TRL's."""
    shown = Table(title=f"prompts of {tokens} tokens, a supervised answer costs")
    for name in ("side", "seconds", "TRL / side", "TFLOP", "TFLOP/s", "trained", "loss", "peak GB"):
        shown.add_column(name, justify="left" if name == "side" else "right")
    for side, result in found.items():
        ratio = found["trl"]["seconds"] / result["seconds"] if "trl" in found else float("nan")
        shown.add_row(
            side,
            f"{result['seconds']:.3f}",
            f"{ratio:.1f}",
            f"{result['flops'] / 1e12:.2f}",
            f"{result['flops'] / result['seconds'] / 1e12:.2f}",
            f"{result['trained_tokens']:.1f}",
            f"{result['loss']:.3f}",
            f"{result['peak'] / 1e9:.1f}",
        )
    return shown


def machine() -> str:
    """Say what all sides run on."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        peak = next((value for key, value in PEAKS.items() if key in name), None)
        return f"{name}, bf16 peak {peak} TFLOP/s"
    return f"CPU, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Measure every side in a process of its own and print a table a length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2000, 3900])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--side", choices=SIDES, help="measure in this process and print JSON")
    asked = parser.parse_args()
    folder = model_folder(asked.model)
    if asked.side:
        print(json.dumps(measure(asked.side, folder, asked.tokens[0], asked.checkpointing)))
        return
    print(
        f"{asked.model}, {machine()}; torch {torch.__version__}; {best_precision()}, LoRA rank "
        "16 on attention, batch 1, gradient checkpointing "
        f"{'on' if asked.checkpointing else 'off'}; attention: ours SDPA in two parts, the "
        "others' SDPA"
    )
    for tokens in asked.tokens:
        found = {}
        for side in asked.sides:
            command = [sys.executable, __file__, "--side", side, "--tokens", str(tokens)]
            command += ["--model", asked.model] + ["--checkpointing"] * asked.checkpointing
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[side] = json.loads(done.stdout.splitlines()[-1])
        Console(width=100).print(table(tokens, found))


if __name__ == "__main__":
    main()
