"""What a training computes and holds in memory: arithmetic on shapes, nothing is loaded.

A matrix of N weights costs 2 N FLOPs a token forward, and 2 N backward for the gradients of its
input. The base's weights are frozen and need no gradients of their own; those of LoRA do, another
2 N. Attention costs 4 FLOPs x head dimension x heads for each pair of tokens forward, twice that
backward. The output head is computed where an answer token is predicted and nowhere else.
Gradient checkpointing computes the layers' forward pass a second time.

Norms, activation functions, embeddings and the optimizer are left out: below one percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kv_train.architecture import Architecture
from kv_train.packing import Pack
from kv_train.recipe import Lora, Recipe
from kv_train.tokens import IGNORED

WIDTHS = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class Flops:
    """Floating-point operations, a multiplication and its addition counted as two.

    Attributes:
        base: of the frozen linear layers.
        lora: of the adapter's.
        attention: of scores and their weighted sums.
        head: of the output head.
    """

    base: float
    lora: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.base + self.lora + self.attention + self.head


def forward_flops(shapes: Architecture, lora: Lora, packs: Sequence[Pack]) -> Flops:
    """Return the operations of one forward pass over all packs."""
    tokens = sum(map(len, packs))
    pairs = sum(attention_pairs(pack, window) for pack in packs for window in shapes.windows)
    return Flops(
        base=2.0 * tokens * sum(out * into for out, into in shapes.linears.values()),
        lora=2.0 * tokens * shapes.lora_parameters(lora),
        attention=4.0 * pairs * shapes.heads * shapes.head_dim,
        head=2.0 * sum(map(answer_tokens, packs)) * shapes.vocabulary * shapes.hidden,
    )


def training_flops(shapes: Architecture, recipe: Recipe, packs: Sequence[Pack]) -> Flops:
    """Return the operations of one epoch: all packs forward and backward once."""
    once = forward_flops(shapes, recipe.lora, packs)
    again = int(recipe.training.gradient_checkpointing)
    return Flops(
        base=once.base * (2 + again),
        lora=once.lora * (3 + again),
        attention=once.attention * (3 + again),
        # Columns that are an answer's in any pack of a batch are computed for all of them.
        head=once.head * 2 * recipe.training.packs_per_batch,
    )


def attention_pairs(pack: Pack, window: int | None) -> float:
    """Return the pairs of tokens that one layer computes, see :mod:`kv_train.attention`.

    A context of P tokens needs P^2 / 2. What is computed under a mask, suffixes or tokens beyond
    a sliding window, meets all T tokens of the pack, seen or not.
    """
    causal = _causal_tokens(pack, window)
    return causal**2 / 2 + (len(pack) - causal) * len(pack)


def _causal_tokens(pack: Pack, window: int | None) -> int:
    causal = len(pack) if len(pack.suffixes) == 1 else len(pack.context)
    return causal if window is None or window >= len(pack) else min(causal, window)


def answer_tokens(pack: Pack) -> int:
    """Return how many tokens of a pack are trained."""
    return sum(label != IGNORED for labels in pack.labels for label in labels)


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds at its peak.

    Attributes:
        weights: of the base, in the recipe's precision.
        adapter: LoRA's weights, gradients and two moments of Adam, in fp32.
        activations: what the layers keep for the backward pass.
        logits: of the answer tokens, with their copies in fp32.
    """

    weights: int
    adapter: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.adapter + self.activations + self.logits


def training_memory(shapes: Architecture, recipe: Recipe, packs: Sequence[Pack]) -> Memory:
    """Return the memory of the largest batch, that of the longest packs."""
    training = recipe.training
    width = WIDTHS[training.precision]
    longest = max(packs, key=len)
    answers = max(map(answer_tokens, packs)) * training.packs_per_batch**2
    layers = [_kept(shapes, recipe, longest, window) for window in shapes.windows]
    # With checkpointing every layer keeps its input, and one layer at a time all the rest.
    inputs = len(layers) * len(longest) * shapes.hidden * width
    kept = inputs + max(layers) if training.gradient_checkpointing else sum(layers)
    # Adafactor keeps row and column means in place of the moments.
    copies = 2 if training.optimizer == "adafactor" else 4
    return Memory(
        weights=shapes.parameters * width,
        adapter=shapes.lora_parameters(recipe.lora) * 4 * copies,
        activations=training.packs_per_batch * kept,
        # As computed; then in fp32 as logits, as log-probabilities and as gradients.
        logits=answers * shapes.vocabulary * (width + 3 * 4),
    )


def _kept(shapes: Architecture, recipe: Recipe, pack: Pack, window: int | None) -> int:
    """Return what a layer keeps of a pack, in bytes; of a sliding window also its mask."""
    beyond = window is not None and window < len(pack)
    masked = len(pack) - _causal_tokens(pack, window) if beyond else 0
    layer = layer_bytes(shapes, recipe, packed=beyond or len(pack.suffixes) > 1)
    return len(pack) * (layer + masked * WIDTHS[recipe.training.precision])


def layer_bytes(shapes: Architecture, recipe: Recipe, *, packed: bool) -> int:
    """Return what one layer keeps of one token for the backward pass, in bytes.

    With e bytes a value: norms keep their input in fp32 (4 x their width); every adapted linear
    layer its own input and LoRA's (e x (in + rank); in fp32 some share it, so this is the most);
    attention queries and output (2 e x heads x head dimension), keys and values
    (2 e x key-value heads x head dimension), which a pack's mask repeats for every head; the
    gated activation three values (3 e x intermediate).
    """
    queries = shapes.heads * shapes.head_dim
    keys = shapes.kv_heads * shapes.head_dim
    adapted = shapes.targeted(recipe.lora.targets).values()
    inputs = sum(into + recipe.lora.rank for _, into in adapted) // len(shapes.windows)
    values = inputs + 2 * queries + 2 * keys + 3 * shapes.intermediate
    values += 2 * queries if packed else 0
    return 4 * shapes.norms + WIDTHS[recipe.training.precision] * values
