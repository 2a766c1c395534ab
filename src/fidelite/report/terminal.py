"""A document in a terminal. Nothing here needs more than Western Windows consoles (cp1252) can show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from fidelite.report.document import (
    Bars,
    Cell,
    Commands,
    Document,
    Facts,
    Finding,
    Lines,
    Part,
    Pictures,
    Section,
    Table,
)

_STYLES = {"": "", "good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "strong": "bold"}
_LEVELS = {"error": "bold red", "warning": "bold yellow", "notice": "bold cyan"}
_BAR = 24
_WIDTH_OF_PIPES = 100


def console_of(stream: IO[str] | None = None, *, width: int | None = None) -> Console:
    """A console for plain text: no markup, no guessing of what is a number, no pictograms."""
    file: IO[str] = sys.stdout if stream is None else stream
    if width is None and not file.isatty():
        width = _WIDTH_OF_PIPES
    return Console(file=file, markup=False, highlight=False, emoji=False, width=width, legacy_windows=None)


def show(document: Document, console: Console) -> None:
    """Print a document."""
    head = Text(document.title, style="bold")
    if document.subtitle:
        head.append("  " + document.subtitle, style="not bold dim")
    console.print(head)
    if document.verdict is not None:
        console.print(Text(document.verdict.text, style=_STYLES[document.verdict.tone] + " bold"))
    for section in document.sections:
        console.print()
        _section(section, console)


def _section(section: Section, console: Console) -> None:
    if section.title:
        title = Text(section.title, style="bold")
        if section.note:
            title.append("  " + section.note, style="not bold dim")
        console.print(_Indented(title, 0))
    for index, part in enumerate(section.parts):
        if index and isinstance(part, Bars):
            console.print()
        show_part(part, console)


def show_part(part: Part, console: Console) -> None:
    """Print one part."""
    if isinstance(part, Finding):
        show_finding(part, console)
    elif isinstance(part, Commands):
        _commands(part, console)
    elif isinstance(part, Lines):
        for line in part.lines:
            console.print(_Indented(_text(line)))
    elif isinstance(part, Pictures):
        for path, caption in part.rows:
            console.print(Text.assemble("  ", (str(path), "bold"), "  ", (caption, "dim")), soft_wrap=True)
    else:
        console.print(_Indented(_grid(part)))


def show_finding(finding: Finding, console: Console) -> None:
    """Level and code, where it is, what it is, and what to do: lines to paste are never broken."""
    grid = RichTable.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    label = Text(f"{finding.level} {finding.code}", style=_LEVELS[finding.level])
    grid.add_row(label, Text.assemble((finding.where + ": " if finding.where else "", "bold"), finding.text))
    console.print(_Indented(grid, 0))
    for index, line in enumerate(finding.remedy.splitlines()):
        lead = "  -> " if index == 0 else "     "
        console.print(Text.assemble((lead, "bold"), (line.strip(), "cyan")), soft_wrap=True)


def _commands(part: Commands, console: Console) -> None:
    for command, what in part.rows:
        if what:
            console.print(Text("  " + what, style="dim"))
        console.print(Text("    " + command, style="cyan"), soft_wrap=True)


def _grid(part: Table | Facts | Bars) -> RichTable:
    if isinstance(part, Table):
        return _table(part)
    grid = RichTable.grid(padding=(0, 2))
    if isinstance(part, Facts):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in part.rows:
            grid.add_row(Text(label), _text(value))
        return grid
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right")
    for bar in part.rows:
        length = max(1, round(bar.share * _BAR)) if bar.share > 0 else 0
        grid.add_row(Text(bar.label), Text("#" * length, style=_STYLES[bar.tone] or "cyan"), Text(bar.text))
    return grid


def _table(part: Table) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for column in part.columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left", overflow="fold")
    for row in part.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


class _Indented:
    """Something a little to the right, without blanks at the ends of its lines."""

    def __init__(self, inner: RenderableType, by: int = 2) -> None:
        self._inner, self._by = inner, by

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._inner, options.update(width=options.max_width - self._by), pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            yield Segment(" " * self._by)
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def _text(cell: str | Cell) -> Text:
    return Text(cell) if isinstance(cell, str) else Text(cell.text, style=_STYLES[cell.tone])


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Several findings, with a line between them."""
    for index, finding in enumerate(findings):
        if index:
            console.print()
        show_finding(finding, console)

