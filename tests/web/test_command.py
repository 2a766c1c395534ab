"""`fidelite serve` as it is typed: it tells its address, opens the browser unless told not to, and ends with Ctrl+C."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from fidelite.web import server as server_module
from fidelite.web.server import Served
from tests.cli import support
from tests.source.models import conv_model, save


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Addresses that a browser was told to open. Waiting is answered with Ctrl+C."""
    found: list[str] = []

    def interrupt(served: Served) -> None:
        raise KeyboardInterrupt

    own = server_module.page_files()
    monkeypatch.setattr(server_module, "page_files", lambda: {"vendor/litert.js": tmp_path, **own})
    monkeypatch.setattr(Served, "wait", interrupt)
    monkeypatch.setattr(webbrowser, "open", lambda address: found.append(address))
    return found


def test_serve(opened: list[str], tmp_path: Path) -> None:
    model = save(conv_model(), tmp_path / "conv.onnx")
    told = support.fidelite("serve", model, "--port", "0").stdout
    assert told.startswith("fidelite is at http://127.0.0.1:")
    assert opened
    assert opened[0] in told


def test_no_browser(opened: list[str]) -> None:
    told = support.data("serve", "--port", "0", "--no-browser")
    assert told["address"].startswith("http://127.0.0.1:")
    assert opened == []


def test_a_model_that_is_not_there(opened: list[str], tmp_path: Path) -> None:
    assert "F305" in support.fidelite("serve", tmp_path / "none.onnx", code=3).stderr
    assert opened == []
