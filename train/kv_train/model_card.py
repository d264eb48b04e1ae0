"""The README.md of an adapter, in the hub's form."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kv_train.held_out import PARTS, answer_losses, other_kinds
from kv_train.models import hub_cache_name, is_packaged, origin
from kv_train.recipe import RANKS, Data, Recipe, Section
from kv_train.recipe_files import dump_recipe

# Everything that these corpora name is invented.
INVENTED = ("encyclopedia-training", "encyclopedia-training-large")
RESULTS = ("<!-- results -->", "<!-- /results -->")
RESULTS_FIGURE = "results.png"


S = TypeVar("S", bound=Section)
# vLLM's --max-lora-rank where nothing is said.
SERVED_RANK = 16


def model_card(
    recipe: Recipe,
    base: str,
    hub_name: str | None,
    log: Sequence[Mapping[str, Any]],
    *,
    name: str,
    revision: str | None = None,
    note: str = "",
) -> str:
    """Return the card of an adapter; what a comparison finds goes between :data:`RESULTS`.

    Args:
        recipe: as run.
        base: the base model as the commands here take it.
        hub_name: its name on the hub, None where it has none.
        log: lines of ``log.jsonl``.
        name: of the adapter's folder, by which results and servers know it.
        revision: of the base on the hub, None where it has none.
        note: what was done to it since, as a sentence.
    """
    base = _named(base)
    typed = typed_base(base, revision)
    noted = f"\n\n{note}" if note else ""
    weights = f" ({origin(base)})" if origin(base) else ""
    based = f"base_model: {hub_name}\nbase_model_relation: adapter\n" if hub_name else ""
    return f"""---
{based}library_name: peft
pipeline_tag: text-generation
tags:
- lora
- long-context
- retrieval
- kv-tasks
---

# {name}

A LoRA adapter of `{base}`{weights}, fine-tuned to use facts from anywhere in a long prompt; the
loss is on the answers alone. {_method(recipe.sections)}{noted}

## What it does

{RESULTS[0]}
Not compared with its base yet. Do so before use:

    kv-adapters eval --base {typed} --adapter . --tasks kv_simple,mdqa_pos_synth --out results
    kv-adapters compare results/base {shlex.quote(f"results/{name}")}
{RESULTS[1]}

{_training(log)}
## Use

    kv-adapters serve --base {typed} --adapter .

or, where vLLM is installed for a GPU,

    vllm serve {" ".join(_serving(recipe, base, name, revision))}

`manifest.json` holds the checksums of every file here and of the base model.

## Recipe

```yaml
{dump_recipe(_portable(recipe))}```
"""


def _named(base: str) -> str:
    """Return a base as others may know it: of a folder its name, on the hub if it is from there."""
    if not (Path(base).is_absolute() or base.startswith((".", "~"))):
        return base
    return hub_cache_name(Path(base)) or Path(base).name


def typed_base(name: str, revision: str | None) -> str:
    """Return what to type for a base model; of a revision, what finds its folder."""
    return name if revision is None else f'"$(kv-train model {name} --revision {revision})"'


def _portable(recipe: Recipe) -> Recipe:
    """Return a recipe without the folders of the machine that it ran on."""

    def without(section: S, *keys: str) -> S:
        named = {key: getattr(section, key) for key in keys}
        files = {key: Path(file.name) for key, file in named.items() if file is not None}
        return section.model_copy(update=files)

    return recipe.model_copy(
        update={
            "model": _named(recipe.model),
            "out": None,
            "data": without(recipe.data, "file", "text"),
            "mix": tuple(without(data, "file", "text") for data in recipe.mix),
            "evaluation": without(recipe.evaluation, "file"),
        }
    )


def _serving(recipe: Recipe, base: str, name: str, revision: str | None) -> Iterator[str]:
    """Yield the arguments of ``vllm serve`` that this adapter needs."""
    # The packaged model's weights are not those of its name on the hub.
    yield f'"$(kv-train model {base})"' if is_packaged(base) else base
    if revision:
        yield f"--revision {revision}"
    yield f"--enable-lora --lora-modules {shlex.quote(f'{name}=.')}"
    if recipe.lora.rank > SERVED_RANK:
        yield f"--max-lora-rank {next(rank for rank in RANKS if rank >= recipe.lora.rank)}"
    if template := recipe.data.chat_template_kwargs:
        yield f"--default-chat-template-kwargs {shlex.quote(json.dumps(template))}"


def _method(sections: Sequence[Data]) -> str:
    """Say where the data comes from, and whether it teaches facts."""
    paper = "Xiong et al., *From Artificial Needles to Real Haystacks* (arXiv 2406.19292)"
    generated = [data for data in sections if data.file is None]
    chats = len(generated) < len(sections)
    if not generated:
        return f"It was trained on a file of chats, `data.jsonl`, in the manner of {paper}."
    if any(data.generator == "mdqa" and data.corpus not in INVENTED for data in generated):
        said = (
            f"It was trained on questions over documents, the baseline of {paper}; the harness's "
            "nq_open asks those questions, too, and says nothing of this adapter"
        )
    elif any(data.text is not None for data in generated):
        said = f"It was trained on needles in a text of the user's, the baseline of {paper}"
    elif chats:
        return (
            f"A part of the data is synthetic and teaches no facts, after {paper}; the rest are "
            "chats of a file."
        )
    else:
        said = f"The data is synthetic and teaches no facts, after {paper}"
    return f"{said}; a file of chats was mixed in." if chats else f"{said}."


def _training(log: Sequence[Mapping[str, Any]]) -> str:
    """Return the section on how training went; accuracies where they were measured."""
    steps = [entry for entry in log if "loss" in entry]
    evaluated = [entry for entry in log if "eval_exact_match" in entry]
    text = "## Training\n\n![loss and held-out accuracy](training.png)\n\n"
    losses = answer_losses(log)
    text += f"{len(steps)} optimizer steps; loss an answer token {losses[0][1]:.3f} at the first, "
    text += f"{losses[-1][1]:.3f} at the last.\n"
    if not evaluated:
        return text
    text += "\nHeld-out prompts answered word for word, by depth of the gold in the prompt:\n\n"
    parts = [part for part in range(PARTS) if f"eval_exact_match_depth_{part + 1}" in evaluated[0]]
    ranges = [f"{part / PARTS:.1f} to {(part + 1) / PARTS:.1f}" for part in parts]
    kinds = other_kinds(evaluated[0])
    headings = ["step", "all", *ranges, *(f"all of {kind}" for kind in kinds)]
    text += "| " + " | ".join(headings) + " |\n" + "|---" * len(headings) + "|\n"
    suffixes = ["", *(f"_depth_{part + 1}" for part in parts), *(f"_{kind}" for kind in kinds)]
    for entry in (evaluated[0], evaluated[-1]):
        keys = [f"eval_exact_match{suffix}" for suffix in suffixes]
        text += f"| {entry['step']} | " + " | ".join(f"{entry[key]:.2f}" for key in keys) + " |\n"
    return text
