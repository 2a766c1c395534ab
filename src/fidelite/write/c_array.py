"""A `.tflite` file as a C array, for devices without a file system: a source and a header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fidelite.errors import UsageError
from fidelite.files import publish

SUFFIXES = (".c", ".cc", ".cpp")
_ALIGNMENT = 16
_PER_LINE = 20


def write_c_array(content: bytes, path: Path, arena: Mapping[str, int] | None = None) -> tuple[Path, Path]:
    """Write `path` and its header, and return both. `arena`: what an interpreter needed, for a comment.

    Raises UsageError (F280) for another suffix than .c, .cc or .cpp, OutputError where it cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"a C array is a {', '.join(SUFFIXES)} file, not '{path.name}'", code="F280",
                         remedy="--c-array model.cc")
    name, header = symbol(path.stem), path.with_suffix(".h")
    with publish(path) as source, publish(header) as beside:
        with source.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_source(content, name, header.name, in_c=path.suffix.lower() == ".c"))
        beside.write_text(_header(len(content), name, arena), "ascii", newline="\n")
    return path, header


def symbol(stem: str) -> str:
    """A C identifier from a file's name: what C does not allow becomes an underscore."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", stem).strip("_") or "model"
    return f"g_{name}" if name[0].isdigit() else name


def _source(content: bytes, name: str, header: str, *, in_c: bool) -> Iterator[str]:
    align = f"_Alignas({_ALIGNMENT})" if in_c else f"alignas({_ALIGNMENT})"
    yield f'#include "{header}"\n\n'
    yield f"{align} const unsigned char {name}[] = {{\n"
    for start in range(0, len(content), _PER_LINE):
        yield "  " + " ".join(f"0x{byte:02x}," for byte in content[start : start + _PER_LINE]) + "\n"
    yield "};\n"
    yield f"const unsigned int {name}_len = {len(content)}U;\n"


def _header(size: int, name: str, arena: Mapping[str, int] | None) -> str:
    guard = f"{name.upper()}_H_"
    lines = [f"#ifndef {guard}", f"#define {guard}", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    if arena is not None:
        lines += [f"// Tensor arena, measured with 64-bit pointers: {arena['smallest']} bytes, of which",
                  f"// {arena['values']} for values and {arena['structures']} for the interpreter's structures.", ""]
    lines += [f"extern const unsigned char {name}[];  // {size} bytes, aligned to {_ALIGNMENT}",
              f"extern const unsigned int {name}_len;", "", "#ifdef __cplusplus", "}", "#endif", "",
              f"#endif  // {guard}", ""]
    return "\n".join(lines)
