"""A LoRA trainer for synthetic retrieval: answer-only loss, several questions per context."""
