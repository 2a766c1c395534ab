"""LiteRT.js must be where the page finds it; a browser for the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras.browser import Browser
from tests.house import ROOT


@pytest.fixture(scope="session", autouse=True)
def litert_js() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "fetch_web.py")], check=True)


@pytest.fixture(scope="session")
def browser() -> Browser:
    return Browser(modules=Path(__file__).parent)
