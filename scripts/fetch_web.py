"""Fetches what the page of `fidelite serve` runs with (LiteRT.js) from npm into src/fidelite/web/vendor/.

    python scripts/fetch_web.py

Versions and hashes are those of scripts/web/package-lock.json. The build of a wheel does the same (hatch_build.py);
in a checkout it is needed once, and again when the lock has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "scripts" / "web"
VENDOR = ROOT / "src" / "fidelite" / "web" / "vendor"
STAMP = "versions.json"

# The builds of LiteRT's WebAssembly that the page chooses from: with threads, for WebGPU (which hands operators that it
# has not back to WebAssembly), and for browsers without relaxed SIMD (Safari) or isolation.
WASM = ("threaded", "jspi", "compat")
_CHANGED = "// Changed by fidelite: the import of @litertjs/wasm-utils names the file beside this one.\n"


def digest() -> str:
    """Of the lock and of this file: what they say is what vendor/ must hold."""
    content = (LISTS / "package-lock.json").read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def is_current() -> bool:
    stamp = VENDOR / STAMP
    return stamp.is_file() and json.loads(stamp.read_text("utf-8")).get("digest") == digest()


def fetch() -> None:
    """Fills vendor/, unless it is as the lock says. Exits with a message where npm is missing or fails."""
    if is_current():
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed, and LiteRT.js comes from it: install Node.js 20 or newer (Debian: apt-get "
                 "install nodejs npm; Windows: winget install OpenJS.NodeJS.LTS), then try again")
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(LISTS / name, Path(folder) / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, check=False)
        if done.returncode:
            sys.exit(f"npm ci failed (exit code {done.returncode}): see its message above")
        _copy(Path(folder) / "node_modules" / "@litertjs")


def _copy(modules: Path) -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    (VENDOR / "wasm").mkdir(parents=True)
    core = _without_map((modules / "core" / "dist" / "index.js").read_text("utf-8"))
    changed = core.replace('from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"')
    if changed == core:
        sys.exit("@litertjs/core no longer imports @litertjs/wasm-utils: scripts/fetch_web.py wants a look")
    _write("litert.js", _CHANGED + changed)
    _write("wasm-utils.js", _without_map((modules / "wasm-utils" / "dist" / "index.js").read_text("utf-8")))
    for build in WASM:
        for ending in ("js", "wasm"):
            name = f"litert_wasm_{build}_internal.{ending}"
            shutil.copyfile(modules / "core" / "wasm" / name, VENDOR / "wasm" / name)
    shutil.copyfile(ROOT / "LICENSE", VENDOR / "LICENSE")
    versions = {f"@litertjs/{name}": json.loads((modules / name / "package.json").read_text("utf-8"))
                for name in ("core", "wasm-utils")}
    licences = {name: package["license"] for name, package in versions.items()}
    if set(licences.values()) != {"Apache-2.0"}:
        sys.exit(f"the licences have changed: {licences}")
    lines = [f"{name} {package['version']}, Copyright Google LLC, Apache-2.0 (see LICENSE)\n"
             for name, package in versions.items()]
    _write("NOTICE.txt", "This folder holds files of these packages, from npm:\n\n" + "".join(lines))
    _write(STAMP, json.dumps({"digest": digest(), **{n: p["version"] for n, p in versions.items()}}, indent=1) + "\n")


def _without_map(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("//# sourceMappingURL="))


def _write(name: str, text: str) -> None:
    (VENDOR / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    fetch()
    size = sum(path.stat().st_size for path in VENDOR.rglob("*") if path.is_file())
    print(f"{VENDOR.relative_to(ROOT)}: {size / 1e6:.1f} MB")
