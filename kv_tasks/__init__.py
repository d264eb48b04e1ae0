"""Long-context tasks for lm-evaluation-harness: what is asked and how it is scored.

The package imports without torch. The harness finds the tasks through the YAML files of
:func:`kv_tasks.paths.task_configs`; each names functions of this package.
"""

from kv_tasks._version import __version__

__all__ = ["__version__"]
