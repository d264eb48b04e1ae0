#!/usr/bin/env bash
# The whole loop on a small real model, with the commands that you would type yourself:
# what a recipe will do, training, verification, evaluation of base and adapter in one engine, comparison, report.
# What is finished is reused when you run it again.
set -euo pipefail
out=${1:-demo}
base=smollm2-135m
adapter=$out/adapter

step() { printf '\n\033[1m── %s\033[0m\n' "$*"; }

step "1/6 check: what the recipe trains on, what it will cost here"
# Fetched first: without the model's tokenizer and shapes there is little to check.
kv-train model "$base" >/dev/null
kv-train check smollm2-135m-multi-subkey

step "2/6 train: a LoRA adapter, loss on the answers only"
kv-train run smollm2-135m-multi-subkey --out "$adapter"

step "3/6 verify: will vLLM serve it, and does it do anything?"
kv-adapters verify "$adapter"

step "4/6 evaluate: base and adapter in one vLLM engine"
kv-adapters eval --base "$base" --adapter "$adapter" --limit 48 --out "$out/results" \
  --tasks mdqa_pos_synth_5docs

step "5/6 compare: paired by document"
# Its exit code says whether general ability held: 2, not evaluated here, is no failure of the demo.
code=0
kv-adapters compare "$out/results/base" "$out/results/adapter" || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 2 ] || exit "$code"

step "6/6 report and model card"
kv-adapters report "$out/results/base" "$out/results/adapter" --out "$out/report"
kv-adapters card "$adapter" "$out/results/base" "$out/results/adapter"
