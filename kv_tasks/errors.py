"""Everything that this project raises on purpose.

KVError
├── UsageError         a flag or argument that cannot be meant
├── RecipeError        a recipe's key or value
├── DataError          a data file, or a document in it
├── ModelError         a base model or tokenizer that is not there or does not fit
├── AdapterError       an adapter folder that is not what it says
├── PromptTooLongError a prompt that does not fit where truncation would be silent
├── RunError           an evaluation output folder that cannot be read or reused
│   └── MetricError    a task without a score that can be compared
├── ServiceError       a provider that refuses, does not answer, or whose job fails
└── MissingPackageError  an optional dependency that the command needs

A message is one line: the file, line, field or flag at fault, what was found, what was
expected, and what to do. The command line prints it and exits with EXIT_ERROR.
"""

EXIT_USAGE = 2
EXIT_ERROR = 3
EXIT_INTERRUPTED = 130


class KVError(Exception):
    """Base of all expected failures; its message is fit to be shown to a user as it is."""


class UsageError(KVError):
    """A command was called with arguments that cannot work together."""


class RecipeError(KVError):
    """A training recipe has an unknown key or an impossible value."""


class DataError(KVError):
    """A data file is missing, unreadable, or holds a document that cannot be used."""


class ModelError(KVError):
    """A base model or tokenizer is not there or is not the one that was meant."""


class AdapterError(KVError):
    """An adapter folder is incomplete, changed, unsupported, or of another base model."""


class PromptTooLongError(KVError):
    """A prompt exceeds the model's context; the harness would have cut it silently."""


class RunError(KVError):
    """An evaluation output folder is missing, partial, or corrupt."""


class MetricError(RunError):
    """A task has no score from 0 to 1 by document; the others of its run can be compared."""


class ServiceError(KVError):
    """A provider refused a request, did not answer, or its fine-tuning job failed."""


class MissingPackageError(KVError):
    """An optional dependency is not installed; the message names the extra to install."""


def reason_of(error: BaseException, *, first_line: bool = False) -> str:
    """Return what an error of a library says, on one line; its name where it says nothing.

    Args:
        error: the error.
        first_line: leave out what follows the first line, where libraries explain themselves.
    """
    said = next(iter(str(error).splitlines()), "") if first_line else str(error)
    return " ".join(said.split()) or type(error).__name__
