"""A `.tflite` file that holds no network, told from its own tables.

Converters that give up may still write a file: one without any operator, or one whose only operator calls
back into the Python process that wrote it (`EagerPyFunc`). Both load nowhere. The FlatBuffer is read here by
hand (four fields of it), so that telling needs no runtime.
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

_PYTHON_OP = re.compile(r"(Flex)?(Eager)?PyFunc(Stateless)?$")
_CUSTOM = 32


class _Tables:
    """Just enough of FlatBuffers: https://flatbuffers.dev/internals/ (tables, vtables, vectors, strings)."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data

    def _number(self, format_: str, at: int) -> int:
        return struct.unpack_from(format_, self._data, at)[0]

    def root(self) -> int:
        return self._number("<I", 0)

    def field(self, table: int, index: int) -> int:
        """Where field `index` of `table` lies, or 0 where it is not set."""
        vtable = table - self._number("<i", table)
        slot = 4 + 2 * index
        if slot >= self._number("<H", vtable):
            return 0
        offset = self._number("<H", vtable + slot)
        return table + offset if offset else 0

    def vector(self, table: int, index: int) -> list[int]:
        """The tables in a vector of tables."""
        at = self.field(table, index)
        if not at:
            return []
        start = at + self._number("<I", at)
        count = self._number("<I", start)
        if count > len(self._data) // 4:
            raise struct.error("a vector longer than the file")
        slots = range(start + 4, start + 4 + 4 * count, 4)
        return [slot + self._number("<I", slot) for slot in slots]

    def text(self, table: int, index: int) -> str:
        at = self.field(table, index)
        if not at:
            return ""
        start = at + self._number("<I", at)
        length = self._number("<I", start)
        return bytes(self._data[start + 4 : start + 4 + length]).decode("utf-8", "replace")

    def integer(self, table: int, index: int, format_: str) -> int:
        at = self.field(table, index)
        return self._number(format_, at) if at else 0


def why_hollow(path: Path) -> str | None:
    """Why the `.tflite` file at `path` holds no network, in a clause; None if it holds one."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return why_hollow_bytes(data)


def why_hollow_bytes(data: mmap.mmap | bytes) -> str | None:
    """As `why_hollow`, of the file's bytes. Fields as numbered by tflite/schema.fbs."""
    tables = _Tables(data)
    try:
        model = tables.root()
        codes = [(_builtin(tables, code), tables.text(code, 1)) for code in tables.vector(model, 1)]
        operators = [
            tables.integer(operator, 0, "<I")
            for graph in tables.vector(model, 2)
            for operator in tables.vector(graph, 3)
        ]
        custom = sorted({codes[i][1] for i in operators if codes[i][0] == _CUSTOM})
    except (struct.error, IndexError):
        return "its tables are damaged"
    if not operators:
        return "it has no operators"
    python = [name for name in custom if _PYTHON_OP.match(name)]
    if python:
        return (
            f"its operator '{python[0]}' calls back into the Python process that wrote the file, "
            "and no runtime has it"
        )
    return None


def _builtin(tables: _Tables, code: int) -> int:
    """Codes above 127 stand in the newer field; older files only have the one-byte field."""
    return max(tables.integer(code, 0, "<b"), tables.integer(code, 3, "<i"))
