"""Base and adapters on the harness's tasks: what runs, in which order, and what is kept."""
