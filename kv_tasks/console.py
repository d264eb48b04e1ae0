"""What the three command-line programs share: one way to fail, one way to print.

Standard output carries results; progress, warnings and errors go to standard error.
"""

import errno
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from kv_tasks._version import DISTRIBUTION, __version__
from kv_tasks.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, KVError, MissingPackageError

T = TypeVar("T")
_A_LINE_EVERY = 60  # seconds, where progress goes to a log


class _Console(Console):
    """A console whose reader may leave, as of ``| head``: the exit code stays the command's own."""

    def on_broken_pipe(self) -> None:
        """Print the rest to nowhere; Rich would exit with 1, which says that a check failed."""
        self.quiet = True
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, no path of anybody's
            os.dup2(nowhere.fileno(), self.file.fileno())


# In a file or a pipe there is no screen to fit, and a table must not lose its columns.
# A command may be started without any output (>&-).
_ON_SCREEN = sys.stdout is not None and sys.stdout.isatty()
_WIDTH = None if _ON_SCREEN or "COLUMNS" in os.environ else 120
out = _Console(highlight=False, soft_wrap=True, width=_WIDTH, emoji=False)
err = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

# What can be wrong with a path that a user chose, and what to do; anything else is a crash.
_FREE = "free space or choose another folder, then run again"
_MENDS = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EACCES: "choose another folder, or ask for the right to it, then run again",
    errno.EROFS: "choose another folder, then run again",
    errno.EPERM: "choose another folder, then run again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a path in a folder",
    errno.EEXIST: "name another path",
    errno.ENOENT: "name a path that is there",
}


class Exit(SystemExit):
    """A command's own exit code, which is no wrong usage even where it is 2."""


def program(help_text: str) -> typer.Typer:
    """Return a Typer application whose unexpected exceptions keep their plain traceback."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        add_completion=False,
    )


def suite(help_text: str) -> typer.Typer:
    """Return a :func:`program` of several commands that says its version."""
    app = program(help_text)

    @app.callback(help=help_text)
    def _program(
        version: Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
        ] = False,
    ) -> None: ...

    return app


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"{DISTRIBUTION} {__version__}")
        raise typer.Exit


def run(app: typer.Typer, *, usage_error: int = EXIT_USAGE) -> NoReturn:
    """Run ``app`` and exit: 0 done, 2 wrong usage, 3 a named failure or a crash, 130 interrupted.

    Args:
        app: the program.
        usage_error: exit code of wrong usage, for a program that means something else by 2.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # A scheduler's polite end: leave as after Ctrl-C, with engines stopped and drafts deleted.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except KVError as error:
        fail(str(error))
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer turns Ctrl-C into this exit code by itself, without a word.
        if isinstance(stop, SystemExit) and stop.code == EXIT_USAGE and not isinstance(stop, Exit):
            raise SystemExit(usage_error) from None
        if isinstance(stop, SystemExit) and stop.code != EXIT_INTERRUPTED:
            raise
        err.print("interrupted: nothing half-written is left; the same command goes on")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except OSError as error:
        if error.errno not in _MENDS:
            _crash()
        # Of a file that was to be moved the place it was to have: the other is a draft's.
        where = error.filename2 or error.filename or "the output"
        fail(f"{where}: {error.strerror}; {_MENDS[error.errno]}")
    except Exception:  # noqa: BLE001 - python's own code for a crash, 1, says that a check failed
        _crash()
    raise SystemExit(0)


def _crash() -> NoReturn:
    err.quiet = False
    err.print(traceback.format_exc(), markup=False)
    raise SystemExit(EXIT_ERROR) from None


def _terminated(number: int, _: object) -> NoReturn:
    err.print("terminated: nothing half-written is left; the same command goes on")
    raise SystemExit(128 + number)


def fail(message: str) -> NoReturn:
    """Print one error line, in a quiet process as well, and exit with EXIT_ERROR."""
    err.quiet = False
    err.print(f"[bold red]error:[/] {escape(message)}")
    raise SystemExit(EXIT_ERROR)


def _missing(error: ModuleNotFoundError) -> str:
    """Name what is missing; errors of transformers' own name nothing, and follow one that does."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ModuleNotFoundError) and found.name:
            return found.name
        found = found.__cause__ or found.__context__
    return f"something ({error})"


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Turn a failed import inside the block into an error that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'{_missing(error)} is not installed; run in the checkout: pip install ".[{extra}]"'
        ) from error


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that an option was given, or refuse it as wrong usage."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object, such as {{...}}")
    return found


def progress(items: Iterable[T], *, total: int, named: str) -> Iterator[T]:
    """Yield ``items`` and count them on standard error: a bar, or in a log a line a minute.

    Args:
        items: what takes long, one after the other.
        total: how many they are.
        named: what they are, such as "prompts".
    """
    if err.is_terminal:
        yield from track(items, "", total=total, console=err, transient=True)
        return
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= _A_LINE_EVERY:
            note(f"{done} of {total} {named} done")
            said = time.monotonic()
        yield item


def result(line: object) -> None:
    """Print what a command was asked for, such as the path it wrote, to standard output."""
    out.print(str(line), markup=False)


def note(message: str) -> None:
    """Print one line of progress to standard error."""
    err.print(f"[dim]{escape(message)}[/]")


def warn(message: str) -> None:
    """Print one warning line to standard error."""
    err.print(f"[yellow]warning:[/] {escape(message)}")
