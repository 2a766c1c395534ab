"""Errors that come out of the user's own code, or of PyTorch on its behalf: the reason in one line, and the line.

Anything may be raised there, so the guard is a context manager that turns whatever comes into an error of ours.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from types import TracebackType

from fidelite.errors import FideliteError

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in \S+)?\n?(?P<code>[^\n]*)')
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PACKAGES = re.compile(r"[/\\](site-packages|dist-packages)[/\\]")
_PYTORCH = re.compile(r"[/\\]torch[/\\]")
_HERE = str(Path(__file__).parents[2])
_EXAMPLES = str(Path(__file__).parents[2] / "examples")
_LONGEST = 600
_NOISE = re.compile(
    r"^(For more|For extended|For C\+\+|If you suspect|Caused by|The following call|The error above|"
    r"\(Refer to|Traceback|Potential framework|consider using data-dependent|See the stack|Suggested fixes:\s*$)"
)


class Guard:
    """Turns any exception inside the `with` into `fault(reason, line)`: the reason in one line, and where in the user's
    code it came from ('' if that cannot be told). Errors of ours pass."""

    def __init__(self, fault: Callable[[str, str], FideliteError]) -> None:
        self._fault = fault

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if isinstance(error, Exception | SystemExit) and not isinstance(error, FideliteError):
            raise self._fault(reason_of(error), user_line(error)) from error


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def reason_of(error: BaseException) -> str:
    """What is at the root of it, in one line."""
    text = ""
    root = error
    for found in chain(error):
        if str(found).strip():
            root, text = found, _ANSI.sub("", str(found))
    lines: list[str] = []
    for line in text.strip().splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith('File "') or _NOISE.match(stripped):
            if lines and not stripped:
                break
            continue
        lines.append(stripped)
    told = " ".join(lines)[:_LONGEST] or type(root).__name__
    name = type(root).__name__
    return told if name in ("RuntimeError", "UserError", "ConversionError") or name in told else f"{name}: {told}"


def user_line(error: BaseException) -> str:
    """The innermost line of the user's own code: `model.py:30 (if x.sum() > 0:)`, or ''."""
    errors = list(chain(error))
    for own in (is_users, _is_not_pytorchs):
        for found in reversed(errors):
            if isinstance(found, SyntaxError) and found.filename and own(found.filename):
                return place(found.filename, found.lineno or 0, found.text or "")
            frames = [f for f in traceback.extract_tb(found.__traceback__) if own(f.filename)]
            if frames:
                return place(frames[-1].filename, frames[-1].lineno or 0, frames[-1].line or "")
        for found in reversed(errors):
            told = [m for m in _FRAME.finditer(_ANSI.sub("", str(found))) if own(m["file"])]
            if told:
                return place(told[-1]["file"], int(told[-1]["line"]), told[-1]["code"])
    return ""


def _is_not_pytorchs(file: str) -> bool:
    """Neither PyTorch's, nor Python's, nor ours (the example networks count as a user's)."""
    if file.startswith("<") or (_PACKAGES.search(file) and _PYTORCH.search(file)):
        return False
    if file.startswith(_HERE):
        return file.startswith(_EXAMPLES)
    return not any(file.startswith(sysconfig.get_paths()[key]) and not _PACKAGES.search(file)
                   for key in ("stdlib", "platstdlib"))


def is_users(file: str) -> bool:
    """Whether a file is neither PyTorch's, nor Python's, nor ours, nor an installed package's."""
    return _is_not_pytorchs(file) and not _PACKAGES.search(file)


def place(file: str, line: int, code: str) -> str:
    """`model.py:30 (if x.sum() > 0:)`: the file's bare name, the line and what is in it."""
    text = " ".join(code.split())
    name = PureWindowsPath(file).name  # of either system: both separators
    return f"{name}:{line} ({text})" if text else f"{name}:{line}"


def at(line: str) -> str:
    """`, at model.py:30 (...)` for the end of a sentence; '' where the line is not known."""
    return f", at {line}" if line else ""
