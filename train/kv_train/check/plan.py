"""What a recipe's training consists of, and what it costs."""

from dataclasses import dataclass

from kv_train.building import steps_of
from kv_train.check.estimate import (
    Flops,
    Memory,
    answer_tokens,
    forward_flops,
    training_flops,
    training_memory,
)
from kv_train.check.machine import Place, gpus, this_machine
from kv_train.check.model import Model
from kv_train.check.rows import Rows
from kv_train.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What an epoch and the whole training consist of.

    Attributes:
        rows: of training data.
        held_out: rows to evaluate on.
        encoded: training rows that the token counts are of.
        contexts: haystacks.
        most_questions: most rows in succession that share one.
        packs: computed in one pass each.
        tokens: that an epoch computes.
        separate_tokens: that it would compute row by row.
        answer_tokens: that are trained.
        steps: of the optimizer, in all.
        warmup_steps: of them.
        evaluations: of the held-out rows, in all.
    """

    rows: int
    held_out: int
    encoded: int
    contexts: int
    most_questions: int
    packs: int
    tokens: int
    separate_tokens: int
    answer_tokens: int
    steps: int
    warmup_steps: int
    evaluations: int


@dataclass(frozen=True)
class Estimate:
    """What the training costs.

    Attributes:
        parameters: of the base.
        trained: parameters of the adapter.
        epoch: FLOPs of all packs, forward and backward.
        step: FLOPs of an optimizer step, on average.
        training: FLOPs in all, evaluations included.
        memory: at its peak.
        needed: bytes, the sum of ``memory``.
        places: this machine first.
        gpu_precision: in which the others would train.
    """

    parameters: int
    trained: int
    epoch: Flops
    step: float
    training: float
    memory: Memory
    needed: int
    places: tuple[Place, ...]
    gpu_precision: str


def plan_of(recipe: Recipe, train: Rows, held: Rows) -> Plan:
    """Return what a training consists of."""
    packs = train.pack_count(recipe.training.questions_per_pack)
    steps, warmup = steps_of(recipe, packs)
    # Before the first step, at each interval and after the last step.
    evaluations = 1 + -(-steps // recipe.evaluation.steps) if held.count else 0
    return Plan(
        rows=train.count,
        held_out=held.count,
        encoded=len(train.encoded),
        contexts=len(train.contexts),
        most_questions=max(train.contexts),
        packs=packs,
        tokens=sum(map(len, train.packs)),
        separate_tokens=sum(len(row.input_ids) for row in train.encoded),
        answer_tokens=sum(answer_tokens(pack) for pack in train.packs if not pack.kl),
        steps=steps,
        warmup_steps=warmup,
        evaluations=evaluations,
    )


def estimate_of(
    recipe: Recipe, on_gpus: Recipe, model: Model, plan: Plan, train: Rows, held: Rows
) -> Estimate | None:
    """Return what a training costs; None without rows, or a model whose cost can be known.

    ``recipe`` is as it would run here, ``on_gpus`` as it would there.
    """
    shapes = model.shapes
    if not train.packs or model.config is None or shapes is None:
        return None
    if shapes.experts or shapes.carrying or not shapes.targeted(recipe.lora.targets):
        return None
    epoch = training_flops(shapes, recipe, train.packs)
    step = epoch.total / -(-plan.packs // recipe.training.packs_per_step)
    watched = forward_flops(shapes, recipe.lora, held.packs).total * plan.evaluations
    total = step * plan.steps + watched
    memory = training_memory(shapes, recipe, train.packs)
    usual = sorted(train.packs, key=len)[len(train.packs) // 2]
    return Estimate(
        parameters=shapes.parameters,
        trained=shapes.lora_parameters(recipe.lora),
        epoch=epoch,
        step=step,
        training=total,
        memory=memory,
        needed=memory.total,
        places=(
            this_machine(model.config, recipe, usual, flops=total, needed=memory.total),
            *gpus(
                on_gpus.training.precision,
                flops=total,
                needed=training_memory(shapes, on_gpus, train.packs).total,
            ),
        ),
        gpu_precision=on_gpus.training.precision,
    )
