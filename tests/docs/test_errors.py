"""docs/errors.md lists every code that the source has, no other, with the right class; and every code has a test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fidelite import errors
from tests import house
from tests.house import ROOT

PAGE = ROOT / "docs" / "errors.md"
CODE = re.compile(r"[FNW]\d{3}")
ROW = re.compile(r"^\| ([FNW]\d{3}) \|(.*)\|$")

# Code -> why no test has to trigger it.
WITHOUT_TEST: dict[str, str] = {
    "F210": "stands for its kind: the code is that of the leaf (F211 to F215)",
    "F300": "stands for its kind: the code is that of the leaf (F301 to F371)",
    "F400": "stands for its kind: the code is that of the leaf (F410 to F480)",
    "F460": "stands for its kind: the code is that of the leaf (F461, F462)",
    "F500": "stands for its kind: the code is that of the leaf (F510 to F530)",
}


@dataclass(frozen=True)
class Row:
    code: str
    kind: str
    exit_code: str
    meaning: str
    remedy: str


def page_rows() -> list[Row]:
    rows: list[Row] = []
    for line in PAGE.read_text("utf-8").splitlines():
        if match := ROW.match(line):
            cells = [cell.strip() for cell in match[2].split("|")]
            exit_code = [cells.pop(1)] if len(cells) == 4 else [""]
            rows.append(Row(match[1], cells[0], exit_code[0], *cells[1:]))
    return rows


def codes_in(file: Path) -> Iterator[str]:
    for node in ast.walk(house.parse(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value


def codes_of_source() -> set[str]:
    return {code for file in house.source_files() for code in codes_in(file)}


def classes_by_code() -> dict[str, set[str]]:
    """Code -> the error classes that it is raised as."""
    found: dict[str, set[str]] = {}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FideliteError) and value is not errors.FideliteError:
            found.setdefault(value.default_code, set()).add(name)
    for file in house.source_files():
        for node in ast.walk(house.parse(file)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and hasattr(errors, node.func.id):
                    found.setdefault(str(keyword.value.value), set()).add(node.func.id)
    return found


def test_every_code_once() -> None:
    codes = [row.code for row in page_rows()]
    assert sorted(codes) == sorted(set(codes))
    assert codes_of_source() - set(codes) == set(), "these are not in docs/errors.md"
    assert set(codes) - codes_of_source() == set(), "these are in docs/errors.md only"


def test_no_cell_is_empty() -> None:
    assert all(row.kind and row.meaning and row.remedy for row in page_rows())


def test_classes_and_exit_codes() -> None:
    classes = classes_by_code()
    for row in page_rows():
        if row.code == "F000":
            continue
        if not row.code.startswith("F"):
            assert row.kind == {"W": "warning", "N": "notice"}[row.code[0]], row
            continue
        kind = getattr(errors, row.kind)
        assert row.exit_code == str(kind.exit_code), row
        if (raised := classes.get(row.code)) is not None:
            assert raised == {row.kind}, row


def test_every_code_has_a_test() -> None:
    """A test that triggers a code names it: `error.code == "F310"`."""
    here = Path(__file__).resolve()
    named = {code for file in (ROOT / "tests").rglob("test_*.py") if file != here for code in codes_in(file)}
    untested = codes_of_source() - named - set(WITHOUT_TEST)
    assert not untested, f"no test names these: {sorted(untested)}"
    assert WITHOUT_TEST.keys() <= codes_of_source()


def test_links_within_docs() -> None:
    """Every relative link in the README and docs/ leads to a file, and every #anchor to a heading in it."""
    wrong: list[str] = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                wrong.append(f"{page.name}: {target}")
    assert not wrong, "\n".join(wrong)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
