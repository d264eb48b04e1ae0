"""``kv-train check``: everything one can learn about a recipe without training.

report        gathers all of it
model         tokenizer and configuration, without weights
rows          lengths, and one example as the model reads it
plan          steps, tokens, costs
estimate      FLOPs and memory, from the shapes in architecture
machine       time here, timed by probe, and on named GPUs
findings      what is wrong, or could not be checked
rendering     the report as text and as JSON
"""
