"""One document, shown in a terminal and as a page; how numbers are written."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from fidelite.report import figures, findings
from fidelite.report.document import (
    Bar,
    Bars,
    Cell,
    Column,
    Commands,
    Document,
    Facts,
    Finding,
    Lines,
    Pictures,
    Section,
    Table,
)
from fidelite.report.html import page
from fidelite.report.terminal import console_of, show

COMMAND = "fidelite convert " + "very_long_name_" * 12 + ".onnx"


def _document(folder: Path) -> Document:
    picture = folder / "p.png"
    Image.new("RGB", (2, 2)).save(picture)
    parts = [
        Table([Column("name"), Column("size", right=True)], [[Cell("a <b> & [bold]c", "bad"), "12"]]),
        Facts([("label", "value"), ("other", Cell("toned", "good"))]),
        Lines(["a line", Cell("another", "dim")]),
        Bars([Bar("x", 1.0, "3 ms", "good"), Bar("y", 0.0, "0 ms")]),
        Commands([(COMMAND, "what it does")]),
        Finding("warning", "W123", "something to know", "first line\n    second line", "node 'n'"),
        Pictures([(picture, "a picture")]),
    ]
    return Document("title <t>", "subtitle", Cell("all is well", "good"), [Section("Section", parts, "a note")])


def _shown(document: Document, width: int = 60) -> str:
    stream = io.StringIO()
    show(document, console_of(stream, width=width))
    return stream.getvalue()


def test_terminal(tmp_path: Path) -> None:
    text = _shown(_document(tmp_path))
    for told in ("title <t>  subtitle", "all is well", "a <b> & [bold]c", "toned", "3 ms", "a note", "node 'n': "):
        assert told in text
    assert f"    {COMMAND}\n" in text  # to be pasted: never broken
    assert "  -> first line\n     second line\n" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_narrow_encodings(tmp_path: Path) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    show(_document(tmp_path), console_of(stream))
    assert b"all is well" in raw.getvalue()


class _Checker(HTMLParser):
    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page(tmp_path: Path) -> None:
    text = page([_document(tmp_path), _document(tmp_path)])
    checker = _Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(checker.images) == 2
    assert all(image.startswith("data:image/png;base64,") for image in checker.images)
    assert "a &lt;b&gt; &amp; [bold]c" in text
    assert "<title>title &lt;t&gt;</title>" in text
    assert "http" not in text
    assert "$" not in text.split("<body>")[1]


def test_errors_that_differ_by_node_only_are_told_once() -> None:
    rows = [
        {"code": "F410", "reason": "no lowering", "remedy": "r", "where": {"node": f"n{i}", "op": "Odd", "opset": 18}}
        for i in range(5)
    ]
    found = findings.of_errors([*rows, {"code": "F420", "reason": "other", "remedy": "r", "where": {}}])
    assert [f.where for f in found] == ["Odd (opset 18), 5 nodes: 'n0', 'n1', 'n2' and 2 more", ""]
    assert [f.remedy for f in findings.without_repeats(found)] == ["r", "as for F410"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, "?"), (0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 KB"), (114_785, "115 KB"), (999_600, "1.00 MB"),
        (13_415_852, "13.4 MB"), (53_168_896, "53.2 MB"), (116_185_280, "116 MB"), (2_150_000_000, "2.15 GB"),
    ],
)  # fmt: skip
def test_sizes(count: int | None, expected: str) -> None:
    assert figures.size(count) == expected


def test_numbers() -> None:
    assert figures.amount(13_292_672) == "13.3 million"
    assert figures.amount(13_771_014_144) == "13.8 billion"
    assert figures.seconds(0.0016) == "1.6 ms"
    assert figures.seconds(0.298) == "298 ms"
    assert figures.seconds(9.834) == "9.83 s"
    assert figures.seconds(125) == "2 min 5 s"
    assert figures.number(1.44e-4) == "1.44e-04"
    assert figures.number(0.0) == "0"
    assert figures.number("nan") == "nan"
    assert figures.share(1) == "100 %"
    assert figures.share(0.9999999) == "100 %" or figures.share(0.9999999).startswith("99.99")
    assert figures.share(0.00001) == "< 0.01 %"
    assert figures.shape([1, None, "s77"]) == "[1, ?, s77]"
    assert figures.quoted("a b.onnx") == '"a b.onnx"'


def test_a_share_below_one_is_never_written_as_one() -> None:
    assert figures.share(0.99999) != "100 %"
