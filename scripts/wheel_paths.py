"""Records the longest file names that the base install brings to Windows.

Downloads the `win_amd64` wheels of the base install, at the versions of constraints.txt, into a
temporary folder and reads the names in them: pure look-up, nothing is installed. The result,
`tests/data/win_amd64_paths.json`, is what `tests/test_windows_paths.py` checks without a network.

    python scripts/wheel_paths.py            rewrite the file
    python scripts/wheel_paths.py --print    to standard output only
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "data" / "win_amd64_paths.json"
PYTHON_VERSION = "3.12"
LONGEST = 20
LONGEST_BYTECODE = 5
# pip asks the markers of the machine it runs on; this is what they add on Windows.
WINDOWS_ONLY = ["colorama"]


def installed_name(name: str) -> str | None:
    """Where a wheel's member ends up, relative to site-packages; None if elsewhere."""
    parts = PurePosixPath(name).parts
    if parts[0].endswith(".data"):
        if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
            return None
        parts = parts[2:]
    return "/".join(parts)


def bytecode_name(name: str) -> str:
    """The compiled file that pip lays beside a module."""
    folder, _, file = name.rpartition("/")
    tag = "cpython-" + PYTHON_VERSION.replace(".", "")
    return f"{folder}/__pycache__/{file[:-3]}.{tag}.pyc".lstrip("/")


def longest(names: list[str], count: int) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))[:count]


def download(folder: Path) -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--platform", "win_amd64", "--python-version", PYTHON_VERSION, "--implementation", "cp"]
    command += ["--only-binary=:all:", "-c", str(ROOT / "constraints.txt"), "-d", str(folder)]
    subprocess.run([*command, *requirements, *WINDOWS_ONLY], check=True)


def record() -> dict[str, object]:
    """Per wheel its version and its longest names."""
    wheels: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="fidelite-wheels-") as temporary:
        folder = Path(temporary)
        download(folder)
        for path in sorted(folder.glob("*.whl"), key=lambda p: p.name.lower()):
            package, version = path.name.split("-")[:2]
            with zipfile.ZipFile(path) as wheel:
                members = [entry for entry in wheel.namelist() if not entry.endswith("/")]
            names = [name for member in members if (name := installed_name(member))]
            compiled = [bytecode_name(name) for name in names if name.endswith(".py")]
            key = package.lower().replace("_", "-").replace(".", "-")
            wheels[key] = {
                "version": version,
                "files": longest(names, LONGEST),
                "bytecode": longest(compiled, LONGEST_BYTECODE),
            }
    return {"python": PYTHON_VERSION, "platform": "win_amd64", "wheels": wheels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--print", action="store_true", dest="only_print")
    options = parser.parse_args()
    text = json.dumps(record(), indent=1) + "\n"
    if options.only_print:
        sys.stdout.write(text)
        return
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(text, encoding="utf-8")
    print(f"wrote {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
