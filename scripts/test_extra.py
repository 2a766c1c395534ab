"""Runs the tests of one folder of tests/extras/ in an environment of its own.

    python scripts/test_extra.py NAME [PYTEST ARGUMENTS]

The environment, `.venv-NAME`, is made on the first run and whenever the folder's lists of packages have changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("requirements.txt", "apt.txt", "package.json", "package-lock.json")


def names() -> list[str]:
    """The folders that there are."""
    return sorted(path.parent.name for path in (ROOT / "tests" / "extras").glob("*/requirements.txt"))


def python_of(name: str) -> Path:
    folder = ROOT / f".venv-{name}"
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(name: str) -> None:
    """Makes the environment, unless it is there and as its lists say."""
    folder, stamp = ROOT / "tests" / "extras" / name, ROOT / f".venv-{name}" / ".installed"
    content = b"".join((folder / f).read_bytes() for f in LISTS if (folder / f).is_file())
    digest = hashlib.sha256(content + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text("utf-8") == digest:
        return
    print(f"making .venv-{name} ...", flush=True)
    if (folder / "apt.txt").is_file():
        install_debian((folder / "apt.txt").read_text("utf-8").split())
    venv.create(ROOT / f".venv-{name}", with_pip=True, clear=True)
    pip = [str(python_of(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(folder / "requirements.txt"), "-e", "."], check=True, cwd=ROOT)
    if (folder / "package-lock.json").is_file():
        npm = shutil.which("npm") or sys.exit("npm is not installed: it comes with Node.js 20 or newer")
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], check=True, cwd=folder)
    stamp.write_text(digest, encoding="utf-8")


def install_debian(packages: list[str]) -> None:
    """Installs Debian packages where this is Debian; elsewhere says what is needed."""
    if shutil.which("dpkg-query") is None:
        print(f"note: install the like of these yourself: {' '.join(packages)}")
        return
    state = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
                           capture_output=True, text=True, check=False).stdout
    missing = sorted(set(packages) - {line.split()[0] for line in state.splitlines() if line.endswith(" installed")})
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"missing: sudo apt-get install --no-install-recommends {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], check=True,
                   env=environment, stdout=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in names():
        print(__doc__)
        print(f"NAME is one of: {', '.join(names())}")
        return 2
    name, *more = arguments
    install(name)
    command = [str(python_of(name)), "-m", "pytest", f"tests/extras/{name}", *more]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
