"""How the house tests read the source: files, imports, functions."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "fidelite"


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute dotted name, and where."""

    file: Path
    line: int
    module: str

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def source_files(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), filename=str(file))


def room(file: Path) -> str:
    """The part of the package that a file belongs to: `lower` for lower/conv.py, `errors` for errors.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(file: Path) -> str:
    """`fidelite.lower.conv` for lower/conv.py, `fidelite.lower` for lower/__init__.py."""
    parts = ["fidelite", *file.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package_of(file: Path) -> str:
    name = module_name(file)
    return name if file.name == "__init__.py" else name.rpartition(".")[0]


def _is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def _targets(file: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = _package_of(file).split(".")
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if base.split(".")[0] == "fidelite" and _is_module(inner) else base


def imports(file: Path) -> Iterator[Import]:
    """All imports of a file, those inside functions and under TYPE_CHECKING included."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _targets(file, node):
                yield Import(file, node.lineno, name)


def functions(file: Path) -> Iterator[tuple[str, int]]:
    """The name of each function of a file, and its lines without decorators and docstring."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}", _length(child)
                yield from walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(parse(file), "")


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return lines


def project_files() -> list[Path]:
    """The files under version control, or those that would be, outside of a checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name.decode("utf-8") for name in listed.stdout.split(b"\0") if name]
    else:
        paths = [path for name in ("src", "tests", "docs", "scripts") for path in (ROOT / name).rglob("*")]
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)
