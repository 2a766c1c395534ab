"""A headless Chromium for tests: steps in, what came out back. `browser.mjs` beside this drives it with Playwright.

    with serving(folder) as address:
        seen = Browser(modules=Path(__file__).parent).run([
            {"open": address + "/page.html"},
            {"wait": "window.ready === true"},
            {"evaluate": {"function": "() => document.title"}},
        ])
    assert seen.results[-1] == "..."

A step is an object with one key: open, wait (an expression), evaluate, click, choose (files into an input), drop (a
file on an element), select, press, resize, media, screenshot.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Seen:
    """What came out: one result per step, what the page logged, its uncaught errors, requests that failed."""

    results: list[Any]
    console: list[str]
    errors: list[str]
    failed: list[str]


@dataclass(frozen=True)
class Browser:
    """How the browser is started. `modules` is a folder whose node_modules holds playwright-core."""

    modules: Path
    width: int = 1280
    height: int = 800
    scale: float = 1.0
    scheme: str = "light"
    flags: Sequence[str] = ()
    permissions: Sequence[str] = ()
    timeout: float = 240.0
    """Seconds for each step."""
    environment: Mapping[str, str] | None = field(default=None)

    def run(self, steps: Sequence[Mapping[str, Any]]) -> Seen:
        """Take the steps in a fresh profile. A step that fails is an AssertionError with what the page said."""
        node = shutil.which("node")
        assert node is not None, "Node.js 20 or newer is not installed"
        with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
            job = {"modules": str(self.modules.resolve()), "executable": executable(), "profile": profile,
                   "width": self.width, "height": self.height, "scale": self.scale, "scheme": self.scheme,
                   "flags": list(self.flags), "permissions": list(self.permissions),
                   "timeout": round(self.timeout * 1000), "steps": list(steps)}
            run = subprocess.run([node, str(Path(__file__).with_suffix(".mjs"))], input=json.dumps(job),
                                 capture_output=True, encoding="utf-8", env=self.environment, check=False)
        assert run.returncode == 0, run.stderr
        told = json.loads(run.stdout)
        said = "\n".join([*told["errors"], *told["console"], *told["failed"]])
        step = list(steps)[len(told["results"])] if told["failure"] else None
        assert told["failure"] is None, f"step {step} failed: {told['failure']}\nthe page said:\n{said}"
        return Seen(told["results"], told["console"], told["errors"], told["failed"])


def executable() -> str:
    """Where Chromium is."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    assert found is not None, "Chromium is not installed (Debian: apt-get install chromium)"
    return found


@contextmanager
def serving(folder: Path) -> Generator[str]:
    """A server on loopback that gives out a folder's files; its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,  # noqa: RUF012 (as the parent has it)
                      ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

    def end_headers(self) -> None:
        # Threads in WebAssembly need an isolated page.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
