"""What the page consists of: nothing from elsewhere, imports that exist, LiteRT.js at the version that was tried."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fidelite.targets.web import VERSION
from fidelite.web.server import page_files
from tests.house import PACKAGE, ROOT

PAGE = PACKAGE / "web" / "page"
LOCK = ROOT / "scripts" / "web" / "package-lock.json"
TEXTS = sorted(p for p in PAGE.iterdir() if p.suffix in (".js", ".css", ".html"))
OWN = {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("file", TEXTS, ids=lambda p: p.name)
def test_nothing_from_elsewhere(file: Path) -> None:
    text = file.read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= OWN


def test_imports_exist() -> None:
    served = set(page_files()) | {"vendor/litert.js"}  # which a checkout may lack
    for file in TEXTS:
        text = file.read_text("utf-8")
        named = re.findall(r"(?:from|import\()\s*\"\./([^\"]+)\"", text)
        named += re.findall(r"(?:src|href)=\"([\w.]+)\"", text)
        assert set(named) <= served, file.name
    assert {"index.html", "app.js", "worker.js", "style.css"} <= served


def test_the_lock_is_what_was_tried() -> None:
    """The table of operators in targets/web.py is of one version; a newer one wants the survey again."""
    lock = json.loads(LOCK.read_text("utf-8"))
    packages = lock["packages"]
    assert f"@litertjs/core {packages['node_modules/@litertjs/core']['version']}" == VERSION
    assert not [name for name, row in packages.items() if "resolved" in row]
    assert all(row["license"] == "Apache-2.0" for name, row in packages.items() if name)
    wanted = json.loads((LOCK.parent / "package.json").read_text("utf-8"))["dependencies"]
    assert wanted == packages[""]["dependencies"]
