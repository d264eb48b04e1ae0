"""The version of the installed distribution, the single place that states it."""

from importlib.metadata import version

DISTRIBUTION = "kv-tasks"
__version__: str = version(DISTRIBUTION)
