"""``kv-adapters``: register the tasks with the harness, and write training data."""

from kv_tasks import console

app = console.program("Long-context tasks for lm-evaluation-harness.")


def main() -> None:
    """Entry point of the ``kv-adapters`` command."""
    console.run(app)
