"""Documents as one self-contained page: no scripts, no fonts or files from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

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

_PAGE = Path(__file__).with_name("page.html")


def page(documents: Sequence[Document]) -> str:
    """The page's text, to be written as UTF-8."""
    title = documents[0].title if documents else "fidelite"
    body = "\n".join(_document(d) for d in documents)
    return Template(_PAGE.read_text("utf-8")).substitute(title=escape(title), body=body)


def _document(document: Document) -> str:
    verdict = ""
    if document.verdict is not None:
        verdict = f'<p class="verdict {document.verdict.tone}">{escape(document.verdict.text)}</p>'
    subtitle = f'<p class="subtitle">{escape(document.subtitle)}</p>' if document.subtitle else ""
    head = f"<header><h1>{escape(document.title)}</h1>{subtitle}{verdict}</header>"
    return f"<article>{head}\n{''.join(_section(s) for s in document.sections)}</article>"


def _section(section: Section) -> str:
    title = ""
    if section.title:
        note = f"<small>{escape(section.note)}</small>" if section.note else ""
        title = f"<h2>{escape(section.title)}{note}</h2>"
    return f"<section>{title}{''.join(_part(p) for p in section.parts)}</section>\n"


def _part(part: Part) -> str:
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Facts):
        rows = (f"<dt>{escape(label)}</dt><dd>{_cell(value)}</dd>" for label, value in part.rows)
        return f"<dl>{''.join(rows)}</dl>"
    if isinstance(part, Lines):
        return "".join(f"<p>{_cell(line)}</p>" for line in part.lines)
    if isinstance(part, Commands):
        return "".join(_command(command, what) for command, what in part.rows)
    if isinstance(part, Finding):
        return _finding(part)
    if isinstance(part, Bars):
        return _bars(part)
    return _pictures(part)


def _table(part: Table) -> str:
    sides = ["r" if column.right else "" for column in part.columns]
    head = "".join(f'<th class="{s}">{escape(c.title)}</th>' for s, c in zip(sides, part.columns, strict=True))
    rows = ("".join(f'<td class="{s}">{_cell(c)}</td>' for s, c in zip(sides, row, strict=True)) for row in part.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    return f'<span class="{cell.tone}">{escape(cell.text)}</span>' if cell.tone else escape(cell.text)


def _command(command: str, what: str) -> str:
    lead = f"<p>{escape(what)}</p>" if what else ""
    return f"{lead}<pre>{escape(command)}</pre>"


def _finding(finding: Finding) -> str:
    where = f"<strong>{escape(finding.where)}</strong>: " if finding.where else ""
    remedy = f"<pre>{escape(_unindented(finding.remedy.splitlines()))}</pre>" if finding.remedy else ""
    label = f'<span class="code">{finding.level} {escape(finding.code)}</span>'
    return f'<div class="finding {finding.level}">{label}<p>{where}{escape(finding.text)}</p>{remedy}</div>'


def _unindented(lines: Iterable[str]) -> str:
    return "\n".join(line.strip() for line in lines)


def _bars(part: Bars) -> str:
    rows = "".join(
        f"<tr><th>{escape(bar.label)}</th><td>"
        f'<div class="bar {bar.tone}" style="width:{max(bar.share, 0.004) * 100:.2f}%"></div>'
        f'</td><td class="r">{escape(bar.text)}</td></tr>'
        for bar in part.rows
    )
    return f'<table class="bars"><tbody>{rows}</tbody></table>'


def _pictures(part: Pictures) -> str:
    figures = "".join(
        f'<figure><img src="{_data(path)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for path, caption in part.rows
    )
    return f'<div class="pictures">{figures}</div>'


def _data(path: Path) -> str:
    kind = {".jpg": "jpeg", ".jpeg": "jpeg"}.get(path.suffix.lower(), "png")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
