"""Run a recipe: data, tokens, LoRA, training, adapter folder.

Work in progress lies in ``<out>.partial``: checkpoints and the identity of the training they
belong to. The same command goes on from there after a kill; the finished folder appears whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonlines
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainingArguments
from transformers.trainer_utils import set_seed
from transformers.utils import logging as transformers_logging

from kv_tasks import console
from kv_tasks.errors import DataError, KVError, ModelError, RunError
from kv_tasks.files import atomic_path, write_jsonl, write_text
from kv_train import adapter
from kv_train.checkpoints import MarkComplete, last_complete
from kv_train.examples import encode_rows, generate
from kv_train.models import base_checksum, resolve_model
from kv_train.packing import Collator, Pack, pack_rows
from kv_train.recipe import Recipe, dump_recipe
from kv_train.tokens import Row
from kv_train.trainer import AnswerTrainer, ProgressLine

LOGGED = ("step", "epoch", "loss", "grad_norm", "learning_rate")


def run(recipe: Recipe, out: Path, *, overwrite: bool = False) -> Path:
    """Train the recipe's adapter and return its folder.

    Args:
        recipe: what to do.
        out: the adapter folder; an identical training that is finished there is reused.
        overwrite: replace a finished folder of another training.

    Raises:
        RunError: ``out`` holds something else, or ``<out>.partial`` belongs to another run.
        ModelError, DataError: the model cannot be trained, or a row does not fit.
    """
    transformers_logging.disable_progress_bar()
    folder = resolve_model(recipe.model, recipe.revision)
    base = adapter.Base(recipe.model, recipe.revision, base_checksum(folder))
    identity = _identity(recipe, base, folder)
    if _finished(out, identity, overwrite):
        return out
    work = out.with_name(f"{out.name}.partial")
    _claim(work, identity, recipe)
    try:
        trainer = _prepare(recipe, folder, work)
    except KVError:
        shutil.rmtree(work)
        raise
    trainer.train(resume_from_checkpoint=last_complete(work))
    _write_adapter(recipe, base, folder, trainer, work, out, identity)
    shutil.rmtree(work)
    return out


def _identity(recipe: Recipe, base: adapter.Base, folder: Path) -> str:
    """Digest everything that decides the adapter's bytes."""
    digest = hashlib.sha256(f"{dump_recipe(recipe)}\0{base.sha256}\0".encode())
    for row in generate(recipe.data, folder):
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


def _finished(out: Path, identity: str, overwrite: bool) -> bool:
    """Say whether ``out`` holds this very training; clear it, or refuse, where it does not."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    whole = (out / adapter.MANIFEST).is_file()
    if whole and adapter.read_manifest(out).identity == identity and not overwrite:
        console.note(f"{out} is finished: same recipe, base and data; reused")
        return True
    if not overwrite:
        raise RunError(
            f"{out}: exists and is not the adapter of this recipe; choose another --out, or "
            "replace it with --overwrite"
        )
    shutil.rmtree(out)
    return False


def _claim(work: Path, identity: str, recipe: Recipe) -> None:
    """Mark the work folder as this training's, or refuse one that holds steps of another."""
    mark = work / "identity"
    if work.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != identity):
        if any(work.glob("checkpoint-*")):
            raise RunError(
                f"{work}: holds an unfinished training of another recipe, base or data; finish "
                f"that one, or delete the folder to start {recipe.name} anew"
            )
        shutil.rmtree(work)
    write_text(mark, identity)


def _prepare(recipe: Recipe, folder: Path, work: Path) -> AnswerTrainer:
    """Make everything that training needs, and find every mistake that can be found before."""
    data = work / "data.jsonl"
    count = write_jsonl(data, generate(recipe.data, folder))
    console.note(f"{count} prompts written to {data}")
    rows = _rows(recipe, folder, data)
    packs = _packs(recipe, rows)
    _check_window(recipe, folder, rows, packs)
    trainer = _trainer(recipe, folder, packs, work)
    _check_space(work, trainer)
    return trainer


def _rows(recipe: Recipe, folder: Path, data: Path) -> list[Row]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    source = str(recipe.data.file or data)
    with jsonlines.open(data) as reader:
        return encode_rows(tokenizer, reader, source=source, max_length=recipe.training.max_length)


def _packs(recipe: Recipe, rows: Sequence[Row]) -> list[Pack]:
    packs = pack_rows(rows, questions_per_pack=recipe.training.questions_per_pack)
    longest = max(len(row.input_ids) for row in rows)
    console.note(
        f"{len(rows)} rows in {len(packs)} packs; longest row {longest} tokens; "
        f"{sum(map(len, packs)):,} tokens an epoch instead of "
        f"{sum(len(row.input_ids) for row in rows):,} in separate rows"
    )
    return packs


def _check_window(recipe: Recipe, folder: Path, rows: Sequence[Row], packs: Sequence[Pack]) -> None:
    """Refuse rows beyond the model's context, or beyond a sliding window that packs ignore."""
    config = AutoConfig.from_pretrained(folder)
    longest = max(rows, key=lambda row: len(row.input_ids))
    limit = getattr(config, "max_position_embeddings", None)
    if limit and len(longest.input_ids) > limit:
        raise DataError(
            f"{longest.name}: {len(longest.input_ids)} tokens, more than the {limit} of "
            f"{recipe.model}; use fewer dictionaries"
        )
    window = getattr(config, "sliding_window", None)
    masked = recipe.training.packs_per_batch > 1 or any(len(p.suffixes) > 1 for p in packs)
    if window and masked and len(longest.input_ids) > window:
        raise ModelError(
            f"{recipe.model}: rows of {len(longest.input_ids)} tokens exceed its sliding window "
            f"of {window}, which packed rows do not have; set training.questions_per_pack=1 and "
            "training.packs_per_batch=1"
        )


def _lora_model(recipe: Recipe, folder: Path) -> PeftModel:
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[recipe.training.precision]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.targets),
    )
    return get_peft_model(model, config)


def _trainer(recipe: Recipe, folder: Path, packs: Sequence[Pack], work: Path) -> AnswerTrainer:
    training = recipe.training
    set_seed(training.seed)
    # One core is left idle by default on machines whose second core is a hyperthread.
    if not torch.cuda.is_available() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    steps = -(-len(packs) // training.packs_per_step) * training.epochs
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=round(steps * training.warmup_share),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        per_device_train_batch_size=training.packs_per_batch,
        gradient_accumulation_steps=training.packs_per_step // training.packs_per_batch,
        gradient_checkpointing=training.gradient_checkpointing,
        bf16=training.precision == "bf16",
        use_cpu=not torch.accelerator.is_available(),
        save_steps=training.save_steps,
        # Two, since the older goes before the newer is marked complete.
        save_total_limit=2,
        logging_steps=1,
        seed=training.seed,
        data_seed=training.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    mean = sum(map(len, packs)) / len(packs)
    trainer = AnswerTrainer(
        model=_lora_model(recipe, folder),
        args=arguments,
        train_dataset=list(packs),
        data_collator=Collator(pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id),
        callbacks=[
            MarkComplete(),
            ProgressLine(tokens_per_step=mean * training.packs_per_step),
        ],
    )
    _silence(trainer)
    return trainer


def _check_space(work: Path, trainer: AnswerTrainer) -> None:
    """Refuse a disk that two checkpoints and the adapter would fill in the middle of training."""
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    # Weights and the optimizer's two moments in fp32, twice, and the adapter itself.
    needed, free = trained * 4 * 7, shutil.disk_usage(work).free
    if free < needed:
        raise RunError(
            f"{work}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed for checkpoints and "
            "adapter; free space or choose another --out"
        )


def _silence(trainer: AnswerTrainer) -> None:
    """Drop the callback that prints a dictionary a step; the progress line says it better."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def _write_adapter(
    recipe: Recipe,
    base: adapter.Base,
    folder: Path,
    trainer: AnswerTrainer,
    work: Path,
    out: Path,
    identity: str,
) -> None:
    recipe_text = dump_recipe(recipe)
    # A hub name stays a hub name; a short name is only known here, so PEFT gets its folder.
    loadable = base.name if "/" in base.name and not Path(base.name).exists() else str(folder)
    with atomic_path(out) as draft:
        trainer.model.save_pretrained(draft, safe_serialization=True)
        adapter.tidy_config(draft, loadable, base.revision)
        (draft / "README.md").write_text(
            adapter.model_card(recipe.name, base.name, recipe_text), encoding="utf-8"
        )
        (draft / "recipe.yaml").write_text(recipe_text, encoding="utf-8")
        shutil.copyfile(work / "data.jsonl", draft / "data.jsonl")
        with jsonlines.open(draft / "log.jsonl", "w") as log:
            log.write_all(_log_lines(trainer.state.log_history))
        adapter.write_manifest(draft, base, identity)


def _log_lines(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps without wall-clock times, which differ between equal runs."""
    return [
        {key: entry[key] for key in LOGGED if key in entry} for entry in history if "loss" in entry
    ]
