"""Training recipes: what a YAML file may say, checked before anything is loaded.

Each class is a section of the file. Unknown keys and impossible values are errors;
:mod:`kv_train.recipe_files` reads the files and words those errors.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kv_tasks.corpora import TrainingCorpus
from kv_tasks.tokens import refuse_decided

# What vLLM 0.32 takes as max_lora_rank; an adapter of another rank is served in the next larger.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_RANK = RANKS[-1]
# Module names that every supported architecture shares; vLLM refuses LoRA on lm_head and
# embeddings, so they are no choice here.
Target = Literal[
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    "qkv_proj", "gate_up_proj",  # Phi-3 and 4: stored as one
]  # fmt: skip
ATTENTION: tuple[Target, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
Reporter = Literal["tensorboard", "wandb", "trackio"]
# Keys that say how prompts are generated.
_OF_GENERATORS = (
    "samples", "dictionaries", "documents", "corpus", "tokens", "shortest", "placement", "template",
    "questions_per_context", "text",
)  # fmt: skip
# What numpy takes.
MAX_SEED = 2**32 - 1


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"no such user; write ./{path} for a file of that name") from error


UserPath = Annotated[Path, AfterValidator(_at_home)]


class Section(BaseModel):
    """A part of a recipe: no unknown keys, no number that is infinite or NaN, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, given: Any, info: ValidationInfo) -> Any:
        """YAML's true is not 1."""
        if (
            isinstance(given, bool)
            and cls.model_fields[str(info.field_name)].annotation is not bool
        ):
            raise ValueError("expected another value than true or false")
        return given


class Data(Section):
    """The prompts: generated, or read from a file of chat messages.

    Attributes:
        kind: the generator: the paper's dictionary retrieval (``simple``, ``multi-subkey``),
            several keys at once (``multi-query``), or its baselines: questions over documents
            (``mdqa``) and a needle in a haystack (``needle``). ``simple`` without a file.
        samples: number of prompts, a multiple of ``questions_per_context``.
        dictionaries: lines of each haystack; the paper's number by default.
        documents: with ``mdqa``: documents in each prompt, 20 by default.
        corpus: with ``mdqa``: where its questions come from.
        tokens: instead of a number of lines, the window that prompt, chat template and answer
            fill, counted by the model's own tokenizer.
        shortest: with ``tokens``: each window is drawn uniformly from here up.
        placement: of the gold dictionaries: as in the paper, uniform, or even over depth.
        template: whether the prompt shows the answer template.
        questions_per_context: prompts that share a haystack.
        seed: of the training stream.
        text: with ``needle``: a text file for the haystack; generated prose by default.
        file: JSON lines with ``messages`` (and ``context_id``) to train on. ``kind`` and the
            other keys then describe the held-out prompts only.
        kl: with ``file``: in place of training the answers, hold every token of the rows to what
            the base model would say. A token's Kullback-Leibler divergence from the base, times
            this weight, stands in the sum of a step's loss beside a trained token's cross-entropy.
        chat_template_kwargs: what the model's chat template is called with, for example
            ``{enable_thinking: false}``.
    """

    kind: Literal["simple", "multi-subkey", "multi-query", "mdqa", "needle"] | None = None
    samples: Annotated[int, Field(ge=1)] = 350
    dictionaries: Annotated[int | None, Field(ge=1)] = None
    documents: Annotated[int | None, Field(ge=1)] = None
    corpus: TrainingCorpus | None = None
    tokens: Annotated[int | None, Field(ge=1)] = None
    shortest: Annotated[int | None, Field(ge=1)] = None
    placement: Literal["paper", "uniform", "even"] = "paper"
    template: bool = True
    questions_per_context: Annotated[int, Field(ge=1)] = 1
    seed: int = 0
    text: UserPath | None = None
    file: UserPath | None = None
    kl: Annotated[float, Field(ge=0)] = 0.0
    chat_template_kwargs: dict[str, Any] = {}

    @field_validator("chat_template_kwargs")
    @classmethod
    def _of_the_template(cls, given: dict[str, Any]) -> dict[str, Any]:
        refuse_decided(given)
        return given

    @property
    def generator(self) -> str:
        """The generator's name, ``simple`` unless another is chosen."""
        return self.kind or "simple"

    def _said(self, key: str) -> bool:
        """Say whether a key was given another value than the default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    @model_validator(mode="after")
    def _whole_contexts(self) -> "Data":
        # A file has as many rows as it has.
        if self.file is None and self.samples % self.questions_per_context:
            raise ValueError(
                f"samples {self.samples} is no multiple of questions_per_context "
                f"{self.questions_per_context}"
            )
        return self

    @model_validator(mode="after")
    def _held_files(self) -> "Data":
        if self.kl and self.file is None:
            raise ValueError(
                f"kl {self.kl} holds the rows of a file to the base model; name one: file"
            )
        return self

    @model_validator(mode="after")
    def _one_gold_a_question(self) -> "Data":
        for gold, number in (("dictionaries", self.dictionaries), ("documents", self.documents)):
            if number is not None and self.questions_per_context > number:
                raise ValueError(
                    f"questions_per_context {self.questions_per_context} exceeds {gold} {number}; "
                    "each question needs one of its own"
                )
        return self

    @model_validator(mode="after")
    def _one_size(self) -> "Data":
        if self.tokens is not None and self.dictionaries is not None:
            raise ValueError(
                f"dictionaries {self.dictionaries} and tokens {self.tokens} both say how long a "
                "haystack is; choose one"
            )
        if self.shortest is not None and self.shortest > (self.tokens or 0):
            raise ValueError(f"shortest {self.shortest} exceeds tokens {self.tokens}")
        return self

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "Data":
        mdqa, needle = self.generator == "mdqa", self.generator == "needle"
        meant = {
            "dictionaries": not (mdqa or needle),
            "documents": mdqa,
            "corpus": mdqa,
            "tokens": not mdqa,
            "text": needle,
            "placement": not (mdqa or needle),
            "template": not (mdqa or needle),
        }
        for key, allowed in meant.items():
            if self._said(key) and not allowed:
                default = type(self).model_fields[key].default
                raise ValueError(
                    f"{key} means nothing to kind {self.generator!r}; remove it"
                    + (f", or set it to its default, {default}" if default is not None else "")
                )
        if needle and self.tokens is None:
            raise ValueError("tokens is missing: kind 'needle' fills a window of that many")
        return self


class Lora(Section):
    """The adapter, limited to what vLLM serves."""

    rank: Annotated[int, Field(ge=1, le=MAX_RANK)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = ATTENTION


class Training(Section):
    """Optimization.

    Attributes:
        questions_per_pack: questions of one context computed in one pass; 1 is the paper's
            own layout. More gives the same gradient for less work.
        packs_per_step: packs whose gradients make one optimizer step, over all processes.
        packs_per_batch: packs that a process computes together; the rest is accumulated.
        max_length: most tokens of a row; longer rows are errors.
        precision: ``auto`` is bf16, or fp32 where the processor would only emulate bf16.
    """

    epochs: Annotated[float, Field(gt=0)] = 2
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adafactor"] = "adamw_torch"
    scheduler: Literal["constant_with_warmup", "linear", "cosine"] = "cosine"
    warmup_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    questions_per_pack: Annotated[int, Field(ge=1)] = 8
    packs_per_step: Annotated[int, Field(ge=1)] = 4
    packs_per_batch: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=16)] = 8192
    gradient_checkpointing: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    save_steps: Annotated[int, Field(ge=1)] = 20
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0

    @model_validator(mode="after")
    def _whole_steps(self) -> "Training":
        if self.packs_per_step % self.packs_per_batch:
            raise ValueError(
                f"packs_per_step {self.packs_per_step} is no multiple of packs_per_batch "
                f"{self.packs_per_batch}"
            )
        return self


class Evaluation(Section):
    """Retrieval accuracy on held-out prompts while training goes on.

    Attributes:
        steps: optimizer steps from one evaluation to the next, beside those before the first
            and after the last step; 0 for none at all.
        samples: held-out prompts of each section, made like the training prompts from another
            stream, golds even over depth.
        file: JSON lines with ``messages`` instead.
    """

    steps: Annotated[int, Field(ge=0)] = 20
    samples: Annotated[int, Field(ge=1)] = 40
    file: UserPath | None = None


class OpenAI(Section):
    """A fine-tuning job of the OpenAI API, instead of ``lora`` and ``training``.

    Attributes:
        epochs, batch_size, learning_rate_multiplier: hyperparameters of the job.
        seed: of the job.
        suffix: of the fine-tuned model's name.
        dollars_per_million_tokens: what the provider charges for training, for the estimate.
        context: most tokens that the service accepts in a row.
    """

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = 3
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    seed: int = 0
    suffix: Annotated[str | None, Field(max_length=64)] = None
    dollars_per_million_tokens: Annotated[float | None, Field(ge=0)] = None
    context: Annotated[int, Field(ge=16)] = 16_385


class Recipe(Section):
    """A whole recipe.

    Attributes:
        name: of the recipe and, by default, of the adapter.
        model: a folder, a hub name or a short name of this package; with ``openai``, the
            provider's name of the model.
        revision: branch, tag or commit on the hub.
        mix: further data of the same form as ``data``, trained in the same steps, shuffled.
        report_to: where losses and accuracies are sent, beside the adapter's own log.
        out: the adapter's folder; ``adapters/NAME`` by default.
        openai: the job, for ``kv-train openai``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: str
    revision: str | None = None
    data: Data = Data()
    mix: tuple[Data, ...] = ()
    lora: Lora = Lora()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    report_to: tuple[Reporter, ...] = ()
    out: UserPath | None = None
    openai: OpenAI | None = None

    @model_validator(mode="after")
    def _one_chat_template(self) -> "Recipe":
        if any(further.chat_template_kwargs for further in self.mix):
            raise ValueError("mix: chat_template_kwargs are said once, in data")
        return self

    @model_validator(mode="after")
    def _files_are_whole(self) -> "Recipe":
        # In data they may be left over from a recipe whose prompts a file replaces.
        for data in self.mix:
            said = [key for key in _OF_GENERATORS if data._said(key)]
            if data.file is not None and data.kind is None and said:
                raise ValueError(
                    f"mix: {said[0]} means nothing to {data.file}, of which every row is trained "
                    "on; remove it, or cut the file"
                )
        return self

    @model_validator(mode="after")
    def _one_trainer(self) -> "Recipe":
        local = {"lora", "training", "evaluation", "report_to"} & self.model_fields_set
        if self.openai is not None and local:
            raise ValueError(
                f"{', '.join(sorted(local))}: means nothing to a fine-tuning job; remove it, or "
                "remove openai"
            )
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> "Recipe":
        if all(data.kl for data in self.sections):
            raise ValueError("kl: all data is held to the base model, and nothing is trained")
        if self.openai is not None and any(data.kl for data in self.sections):
            raise ValueError("kl: means nothing to a fine-tuning job; remove it")
        return self

    @property
    def sections(self) -> tuple[Data, ...]:
        """All that is trained on, in the order of the rows."""
        return (self.data, *self.mix)

    @property
    def folder(self) -> Path:
        """Where the result goes unless the command says otherwise."""
        return self.out or Path("adapters") / self.name
