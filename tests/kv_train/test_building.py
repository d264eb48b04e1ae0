"""What a recipe says reaches the trainer and the model."""

from pathlib import Path

import pytest

from kv_train.building import arguments, lora_model, steps_of
from kv_train.recipe_files import load_recipe


def test_steps_are_counted_in_whole_epochs_and_the_warm_up_is_a_share_of_them(
    tiny_recipe: Path,
) -> None:
    changes = ["training.packs_per_step=4", "training.epochs=3", "training.warmup_share=0.5"]
    assert steps_of(load_recipe(str(tiny_recipe), changes), packs=9) == (9, 4)


@pytest.mark.parametrize("scheduler", ["linear", "constant_with_warmup"])
def test_all_that_a_recipe_says_of_training_reaches_the_trainer(
    tiny_recipe: Path, tmp_path: Path, scheduler: str
) -> None:
    changes = [
        f"training.scheduler={scheduler}",
        "training.optimizer=adafactor",
        "training.learning_rate=3e-3",
        "training.weight_decay=0.1",
        "training.max_grad_norm=0.5",
        "training.warmup_share=0.5",
        "training.seed=7",
    ]
    made = arguments(
        load_recipe(str(tiny_recipe), changes), 8, evaluated=True, work=tmp_path, processes=1
    )
    assert made.learning_rate == 3e-3
    assert made.weight_decay == 0.1
    assert made.max_grad_norm == 0.5
    assert made.warmup_steps == 2
    assert made.seed == made.data_seed == 7
    assert made.lr_scheduler_type == scheduler
    assert made.optim == "adafactor"
    assert made.gradient_accumulation_steps == 2
    assert made.per_device_train_batch_size == 1


def test_all_that_a_recipe_says_of_lora_reaches_the_model(
    tiny_recipe: Path, tiny_base: Path
) -> None:
    recipe = load_recipe(str(tiny_recipe), ["lora.alpha=24", "lora.dropout=0.25"])
    config = lora_model(recipe, tiny_base).peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (8, 24, 0.25)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_recipe_and_no_launcher_decides_the_precision(
    tiny_recipe: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    recipe = load_recipe(str(tiny_recipe), [f"training.precision={precision}"])
    made = arguments(recipe, 8, evaluated=True, work=tmp_path, processes=1)
    assert made.mixed_precision == {"fp32": "no", "bf16": "bf16"}[precision]
