"""vLLM's OpenAI-compatible server, with a base model and its adapters by name."""
