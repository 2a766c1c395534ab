"""Writes constraints.txt and constraints-torch.txt: exact versions of all that the tests install.

Run by the oldest Python that the project supports (`make lock`), so that the versions exist for all.
Only names and versions are written, no addresses.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make lock`. Exact versions of what the tests install{what}.\n"
TORCH = "torch==2.13.0"
# What the base install needs on Windows beyond what it needs here.
WINDOWS = "colorama"
# A GPU build of PyTorch brings these; its own requirements pin them.
SKIPPED = re.compile(r"^(nvidia-|cuda-|triton\b|pip\b|setuptools\b|wheel\b|fidelite\b)", re.IGNORECASE)


def install_and_freeze(*requirements: str) -> dict[str, str]:
    """Installs the requirements in a new environment; returns what lies there, version by name."""
    with tempfile.TemporaryDirectory(prefix="fidelite-lock-") as folder:
        venv.create(folder, with_pip=True)
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        python = str(Path(folder, scripts, "python"))
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *requirements], check=True, cwd=ROOT)
        frozen = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True)
    versions: dict[str, str] = {}
    for line in frozen.stdout.splitlines():
        name, _, version = line.strip().partition("==")
        if version and not SKIPPED.match(name):
            versions[name] = version.partition("+")[0]  # a local build such as 2.13.0+cpu
    return versions


def write(path: Path, what: str, versions: dict[str, str]) -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items(), key=lambda x: x[0].lower())]
    path.write_text(HEADER.format(what=what) + "".join(lines), encoding="utf-8")
    print(f"{path.name}: {len(lines)} packages")


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        print(f"note: locking with Python {sys.version.split()[0]}; 3.11 is the oldest supported")
    base = install_and_freeze(".[test]", WINDOWS)
    write(ROOT / "constraints.txt", "", base)
    with_torch = install_and_freeze("-c", "constraints.txt", ".[test,torch]", TORCH, WINDOWS)
    extra = {name: version for name, version in with_torch.items() if name not in base}
    write(ROOT / "constraints-torch.txt", " for the torch extra, beyond constraints.txt", extra)


if __name__ == "__main__":
    main()
