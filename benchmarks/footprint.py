"""How much room an installation takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import Converter

_TOOLS = re.compile(r"^(pip|setuptools|wheel|pkg_resources|_distutils_hack|distutils-precedence\.pth)([-.].*)?$")


def _entries(folder: Path) -> Iterator[Path]:
    """Files and folders below, which take room too."""
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *names))


def _on_disk(file: Path) -> int:
    """Bytes of the blocks that it takes, where the system tells; else its length. Links are not followed."""
    status = file.lstat()
    return getattr(status, "st_blocks", 0) * 512 or status.st_size


def _package(file: Path, folder: Path) -> str | None:
    """The name right below site-packages."""
    parts = file.relative_to(folder).parts
    below = parts[parts.index("site-packages") + 1:] if "site-packages" in parts else ()
    return below[0] if below else None


def _is_tool(file: Path, folder: Path) -> bool:
    name = _package(file, folder)
    return name is not None and bool(_TOOLS.match(name))


def megabytes(folder: Path) -> dict[str, float]:
    """An environment's size in MiB: all of it (as `du` counts), without pip and setuptools, and without .pyc too."""
    sizes = [(file, _on_disk(file)) for file in _entries(folder)]
    ours = [(file, size) for file, size in sizes if not _is_tool(file, folder)]
    source = [(file, size) for file, size in ours if file.suffix != ".pyc"]
    totals = {"whole": sizes, "without_pip": ours, "without_pip_and_pyc": source}
    return {name: sum(size for _, size in chosen) / 2**20 for name, chosen in totals.items()}


def largest(folder: Path, count: int = 8) -> dict[str, float]:
    """The packages that take most, in MiB."""
    totals: dict[str, float] = {}
    for file in _entries(folder):
        name = _package(file, folder)
        if name is not None and not _is_tool(file, folder):
            totals[name] = totals.get(name, 0.0) + _on_disk(file) / 2**20
    return dict(sorted(totals.items(), key=lambda item: -item[1])[:count])


def measure(converters: Sequence[Converter]) -> dict[str, Any]:
    """Of each converter's own environment."""
    found: dict[str, Any] = {}
    for converter in converters:
        if converter.missing is not None:
            found[converter.name] = {"reason": converter.missing}
            continue
        folder = converter.environment.folder
        found[converter.name] = megabytes(folder) | {"largest": largest(folder)}
    return found
