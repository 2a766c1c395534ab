"""What a report is made of. Renderers know these parts, and nothing of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Tone = Literal["", "good", "bad", "warn", "dim", "strong"]
"""How a text is to be taken: renderers choose colours."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a tone."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    right: bool = False
    """Whether it holds numbers, which are flush right."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels with what there is to say about each."""

    rows: Sequence[tuple[str, str | Cell]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Paragraphs."""

    lines: Sequence[str | Cell]


@dataclass(frozen=True, slots=True)
class Commands:
    """Lines to paste, each with what it does."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error, warning or notice."""

    level: Literal["error", "warning", "notice"]
    code: str
    text: str
    remedy: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value beside others of its kind; `share` (0..1) is its length."""

    label: str
    share: float
    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Bars:
    rows: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Image files with captions; a terminal shows their paths."""

    rows: Sequence[tuple[Path, str]]


Part = Table | Facts | Lines | Commands | Finding | Bars | Pictures


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    parts: Sequence[Part]
    note: str = ""
    """Stands behind the title, dimmed."""


@dataclass(frozen=True, slots=True)
class Document:
    """A report. `verdict` is its outcome in a few words."""

    title: str
    subtitle: str = ""
    verdict: Cell | None = None
    sections: Sequence[Section] = field(default=())
