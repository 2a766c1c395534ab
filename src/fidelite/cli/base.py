"""What all commands share: how errors are told, exit codes, common options, progress."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from fidelite.errors import FideliteError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from fidelite.report.document import Document

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
INTERRUPTED = 130
_PATIENCE = 1.0
"""Seconds before a progress bar shows itself."""


def common(function: F) -> F:
    """The options that every command has: --json and --debug."""
    function = click.option("--debug", is_flag=True, expose_value=False, callback=_remember,
                            help="Show the traceback of an error.")(function)
    return click.option("--json", "as_json", is_flag=True, callback=_remember,
                        help="Print data (JSON) instead of text.")(function)


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    context.find_root().meta[f"fidelite.{parameter.name}"] = value
    return value


class Told:
    """Tells what went wrong in the user's terms, and leaves with the exit code that the kind of error has."""

    def __init__(self, context: click.Context) -> None:
        self._context = context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, click.exceptions.Exit | click.ClickException | SystemExit):
            return
        meta = self._context.find_root().meta
        if meta.get("fidelite.debug"):
            _traceback(error)
        if isinstance(error, KeyboardInterrupt | click.Abort):
            click.echo("stopped", err=True)
            raise SystemExit(INTERRUPTED)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0)
        if isinstance(error, FideliteError):
            _tell(error.errors, as_json=bool(meta.get("fidelite.as_json")))
            raise SystemExit(error.exit_code)
        if isinstance(error, Exception):
            _tell([_unexpected(error)], as_json=bool(meta.get("fidelite.as_json")))
            raise SystemExit(1)


class Group(click.Group):
    """A group whose commands' errors are told as `Told` does, and whose commands are listed in their order."""

    def invoke(self, ctx: click.Context) -> Any:
        with Told(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error, file=sys.stderr)


def _unexpected(error: Exception) -> FideliteError:
    from fidelite.errors import InternalError

    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return InternalError(text)


def _tell(errors: Sequence[FideliteError], *, as_json: bool) -> None:
    from fidelite.report.document import Finding
    from fidelite.report.findings import of_errors, without_repeats
    from fidelite.report.terminal import show_finding, show_findings

    if as_json:
        print_json({"errors": [e.to_json() for e in errors]})
    console = console_for(err=True)
    show_findings(without_repeats(of_errors(e.to_json() for e in errors)), console)
    if any(e.exit_code == 1 for e in errors):
        console.print()
        show_finding(Finding("notice", "N100", "this is a fault of fidelite, not of your model",
                             "report it with the output of `fidelite doctor` and of the same command with --debug\n"
                             "and with the model, if you may share it"), console)


def console_for(*, err: bool = False) -> Console:
    """A console on standard output or error."""
    from fidelite.report.terminal import console_of

    return console_of(sys.stderr if err else sys.stdout)


def show(document: Document) -> None:
    """Print a document on standard output."""
    from fidelite.report import terminal

    terminal.show(document, console_for())


def print_json(data: Any) -> None:
    """Print data on standard output, in ASCII: every console and pipe takes it."""
    import json

    click.echo(json.dumps(data, indent=2, ensure_ascii=True))


def write_report(path: Path, data: Any, document: Document) -> None:
    """Write a report: a page for .html, the data for .json."""
    if path.suffix.lower() == ".json":
        import json

        write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        return
    from fidelite.report.html import page

    write_text(path, page([document]))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8. Raises OutputError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file. Raises OutputError."""
    from fidelite.errors import OutputError

    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}", code="F215",
                          remedy="choose another place") from error


def safe_streams() -> None:
    """Names that the console cannot show come out with question marks rather than as an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not (stream.encoding or "").lower().startswith("utf"):
            reconfigure(errors="replace")


class Bar:
    """A progress bar on standard error, where that is a terminal and the work takes more than a second.

    Call it with what is being done and how much of it is done (0 to 1).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._active = sys.stderr.isatty() and not quiet
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None

    def __call__(self, what: str, done: float) -> None:
        if not self._active or (self._progress is None and time.monotonic() - self._start < _PATIENCE):
            return
        with self._lock:
            progress = self._progress or self._begin()
            assert self._task is not None
            progress.update(self._task, description=what, completed=done)

    def _begin(self) -> RichProgress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console_for(err=True), transient=True)
        self._task = self._progress.add_task("", total=1.0)
        self._progress.tasks[0].start_time = self._start
        self._progress.start()
        return self._progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
                self._progress = None
            self._active = False
