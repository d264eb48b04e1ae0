"""``kv-train``: register the tasks with the harness, and write training data."""

from kv_tasks import console

app = console.program("Long-context tasks for lm-evaluation-harness.")


def main() -> None:
    """Entry point of the ``kv-train`` command."""
    console.run(app)
