"""Takes the pictures of the page of `fidelite serve` that docs/web.md shows.

    python scripts/screenshots.py

Needs Chromium, Node.js, and playwright-core as `make test-extra-web` installs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import fidelite  # noqa: E402
from tests.extras.browser import Browser  # noqa: E402

IMAGES = ROOT / "docs" / "images"
MODULES = ROOT / "tests" / "extras" / "web"
_RAN = {"wait": "window.fidelite.running?.runs"}
_LATENCY = {"wait": "window.fidelite.running.rows.latency"}


def take(name: str, *, width: int, height: int, scheme: str, scale: float = 1.0) -> Path:
    """The embedded network, converted and run on the drawn face."""
    path = IMAGES / name
    with fidelite.serve(port=0) as served:
        Browser(MODULES, width=width, height=height, scheme=scheme, scale=scale).run([
            {"open": served.address}, {"wait": "window.fidelite?.ready"}, {"click": "#example"},
            {"wait": "document.querySelector('#convert')"}, {"click": "#convert"}, _RAN,
            {"click": "#measure"}, _LATENCY, {"click": "[data-target=web]"},
            {"wait": "document.querySelector('.told .verdict')"},
            {"evaluate": {"function": "() => scrollTo(0, 0)"}}, {"screenshot": {"path": str(path)}}])
    return _smaller(path)


def _smaller(path: Path) -> Path:
    """WebP has a fifth of PNG's bytes for a page with a picture on it."""
    from PIL import Image

    small = path.with_suffix(".webp")
    with Image.open(path) as image:
        image.convert("RGB").save(small, quality=88, method=6)
    path.unlink()
    return small


if __name__ == "__main__":
    for made in (take("serve.png", width=1360, height=1120, scheme="light"),
                 take("serve-phone.png", width=400, height=860, scheme="dark", scale=1.5)):
        print(f"{made.relative_to(ROOT)}: {made.stat().st_size // 1000} kB")
