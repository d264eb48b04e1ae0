"""The trainer of a recipe: model, LoRA layers, arguments, callbacks."""

import importlib
import importlib.util
import math
import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import set_seed

from kv_tasks.errors import MissingPackageError, ModelError
from kv_train.attention import NAME
from kv_train.checkpoints import MarkComplete, RefuseNaN
from kv_train.held_out import HeldOut
from kv_train.packing import Collator
from kv_train.precision import DTYPES
from kv_train.prepare import Prepared
from kv_train.processes import Processes
from kv_train.progress import ProgressLine
from kv_train.recipe import Recipe
from kv_train.sharing import ThenEmpty, empty_needed, empty_pack
from kv_train.trainer import AnswerTrainer


def build(
    recipe: Recipe, folder: Path, prepared: Prepared, work: Path, processes: Processes
) -> AnswerTrainer:
    """Return the trainer, its model loaded and the random state set.

    Args:
        recipe: the recipe.
        folder: of the base model.
        prepared: what to train and evaluate on.
        work: where checkpoints go.
        processes: that train together.

    Raises:
        MissingPackageError: something to report to is not installed.
    """
    if missing := missing_reporters(recipe):
        raise MissingPackageError(
            f"report_to: {missing[0]} is not installed; run: pip install {missing[0]}"
        )
    set_seed(recipe.training.seed)
    if processes.count == 1 and not torch.cuda.is_available():
        use_all_cores()
    held = HeldOut(prepared.held_out) if prepared.held_out else None
    callbacks = [
        MarkComplete(processes),
        RefuseNaN(),
        ProgressLine(prepared.tokens_per_pack * recipe.training.packs_per_step),
    ]
    packs = len(prepared.packs)
    empty = empty_needed(packs, recipe.training.packs_per_batch, processes.count)
    trainer = AnswerTrainer(
        order=ThenEmpty(packs, empty, seed=recipe.training.seed),
        model=lora_model(recipe, folder),
        args=arguments(recipe, packs, bool(held), work, processes.count),
        train_dataset=[*prepared.packs, *[empty_pack(prepared.pad_token_id)] * empty],
        eval_dataset=list(held.packs) if held else None,
        compute_metrics=held.metrics if held else None,
        data_collator=Collator(pad_token_id=prepared.pad_token_id),
        callbacks=callbacks,
    )
    # It prints a dictionary a step; the progress line says it better.
    trainer.remove_callback(PrinterCallback)
    return trainer


def base_model(folder: Path, **options: Any) -> Any:
    """Return a transformers model, all of whose weights come from its files.

    Args:
        folder: of the model.
        options: of ``from_pretrained``.

    Raises:
        ModelError: its files lack a weight, for which transformers takes random numbers.
    """
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{folder}: its *.safetensors files have no {missing[0]}{more}, for which transformers "
            "would take random numbers; save the whole model again"
        )
    return model


def lora_model(recipe: Recipe, folder: Path) -> PeftModel:
    """Return the base model with fresh LoRA layers on the recipe's targets."""
    dtype = DTYPES[recipe.training.precision]
    model = base_model(folder, dtype=dtype, attn_implementation=NAME)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.targets),
    )
    return get_peft_model(model, config)


def steps_of(recipe: Recipe, packs: int) -> tuple[int, int]:
    """Return the optimizer steps of a whole training, and those of its warm-up."""
    training = recipe.training
    an_epoch = math.ceil(packs / training.packs_per_step)
    steps = max(1, math.ceil(an_epoch * training.epochs))
    return steps, round(steps * training.warmup_share)


def arguments(
    recipe: Recipe, packs: int, evaluated: bool, work: Path, processes: int
) -> TrainingArguments:
    """Return the arguments of transformers.Trainer that the recipe stands for."""
    training, evaluation = recipe.training, recipe.evaluation
    together = training.packs_per_batch * processes
    made = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        optim=training.optimizer,
        lr_scheduler_type=training.scheduler,
        warmup_steps=steps_of(recipe, packs)[1],
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        per_device_train_batch_size=training.packs_per_batch,
        per_device_eval_batch_size=training.packs_per_batch,
        gradient_accumulation_steps=training.packs_per_step // together,
        gradient_checkpointing=training.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=training.precision == "bf16",
        use_cpu=not torch.accelerator.is_available(),
        eval_strategy="steps" if evaluated else "no",
        eval_steps=evaluation.steps if evaluated else None,
        save_steps=training.save_steps,
        # Two, since the older goes before the newer is marked complete.
        save_total_limit=2,
        logging_steps=1,
        # A loss that is no number must be seen, not replaced by the mean of those before.
        logging_nan_inf_filter=False,
        seed=training.seed,
        data_seed=training.seed,
        report_to=list(recipe.report_to) or "none",
        run_name=recipe.name,
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # One process on a machine of several GPUs: Trainer would wrap the model in DataParallel, which
    # multiplies the batch and shares out tensors that belong to whole packs.
    made._n_gpu = min(made.n_gpu, 1)
    # The recipe decides, not what `accelerate config` wrote.
    made.mixed_precision = "bf16" if training.precision == "bf16" else "no"
    return made


def missing_reporters(recipe: Recipe) -> list[str]:
    """Return the packages to report to that are not installed."""
    return [name for name in recipe.report_to if importlib.util.find_spec(name) is None]


def use_all_cores() -> None:
    """Let a CPU compute with all its cores, unless the user chose a number of threads.

    One core is left idle by default on machines whose second core is a hyperthread.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def finish_reports(recipe: Recipe) -> None:
    """End the run at wandb: the next seed's training in this process gets one of its own."""
    if "wandb" in recipe.report_to:
        importlib.import_module("wandb").finish()
