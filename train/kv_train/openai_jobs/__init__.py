"""``kv-train openai``: fine-tuning jobs of the OpenAI API, from the same recipes.

command   the whole of it, from a recipe to a model's name
rows      the training file: its rows, tokens and price
record    job.json: what was sent, so that a killed command goes on and pays once
job       upload, create, follow
events    what the service says while a job runs
service   the client, its errors in words, and what is asked again
"""
