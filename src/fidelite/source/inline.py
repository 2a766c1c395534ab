"""Weights inside a `.onnx` file, mapped in place.

Parsing a protobuf message copies every tensor in it. Here the file is mapped, its fields are walked, and a
skeleton is made of it in which each large initializer says instead that its bytes lie in an external file,
namely in this very one. Encoding: https://protobuf.dev/programming-guides/encoding/; field numbers:
onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SMALLEST_FILE = 1 << 18
_SMALLEST_TENSOR = 1024

_GRAPH = 7  # ModelProto.graph
_INITIALIZER = 5  # GraphProto.initializer
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # TensorProto

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Malformed(Exception):
    """The bytes do not follow the encoding."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire: int
    start: int
    """Where the tag begins."""
    content: int
    end: int


def skeleton(path: Path, location: str) -> bytes | None:
    """The model at `path` with large raw initializers replaced by references to `location` (the file itself).

    None where this does not apply: a small file, no large initializers, or bytes that are not understood (the
    ordinary parser then says what is wrong with them).
    """
    if path.stat().st_size < SMALLEST_FILE:
        return None
    try:
        encoded = location.encode()
    except UnicodeEncodeError:  # a file name that is no Unicode
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _model(data, encoded)
        except (_Malformed, IndexError):
            return None


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        start = at
        tag, at = _varint(data, at, end)
        wire = tag & 7
        content = at
        if wire == _BYTES:
            length, content = _varint(data, at, end)
            at = content + length
        elif wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise _Malformed
        if at > end:
            raise _Malformed
        yield _Field(tag >> 3, wire, start, content, at)


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Malformed


def _model(data: mmap.mmap, location: bytes) -> bytes | None:
    fields = list(_fields(data, 0, len(data)))
    graphs = [f for f in fields if f.number == _GRAPH and f.wire == _BYTES]
    if len(graphs) != 1:
        return None
    graph = _graph(data, graphs[0], location)
    if graph is None:
        return None
    head, tail = data[: graphs[0].start], data[graphs[0].end :]
    return b"".join((head, _message(_GRAPH, graph), tail))


def _graph(data: mmap.mmap, graph: _Field, location: bytes) -> bytes | None:
    parts: list[bytes] = []
    copied = graph.content  # everything before it is in `parts`
    for field in _fields(data, graph.content, graph.end):
        if field.number != _INITIALIZER or field.end - field.content < _SMALLEST_TENSOR:
            continue
        tensor = _tensor(data, field, location)
        if tensor is not None:
            parts.append(data[copied : field.start])
            parts.append(_message(_INITIALIZER, tensor))
            copied = field.end
    if not parts:
        return None
    parts.append(data[copied : graph.end])
    return b"".join(parts)


def _tensor(data: mmap.mmap, tensor: _Field, location: bytes) -> bytes | None:
    fields = list(_fields(data, tensor.content, tensor.end))
    raw = [f for f in fields if f.number == _RAW_DATA]
    if len(raw) != 1 or raw[0].end - raw[0].content < _SMALLEST_TENSOR:
        return None
    if any(f.number in (_EXTERNAL_DATA, _DATA_LOCATION) for f in fields):
        return None
    entries = {
        b"location": location,
        b"offset": str(raw[0].content).encode(),
        b"length": str(raw[0].end - raw[0].content).encode(),
    }
    external = [
        _message(_EXTERNAL_DATA, _message(1, key) + _message(2, value)) for key, value in entries.items()
    ]
    is_external = bytes((_DATA_LOCATION << 3 | _VARINT, 1))
    return b"".join(
        (data[tensor.content : raw[0].start], data[raw[0].end : tensor.end], *external, is_external)
    )


def _message(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
