"""Messages between fidelite and its worker: a JSON header and the raw bytes of arrays, over a pipe.

A frame is b"FDLT", the header's length (uint32, little-endian), the header in UTF-8, and then the bytes of
each array that the header's "arrays" lists by element type and shape. Nothing is unpickled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from fidelite.runtime.protocol import Array, dtype_of

_MAGIC = b"FDLT"
_LIMIT = 1 << 28
_CHUNK = 1 << 24


class BrokenFrame(Exception):
    """The other side went away in the middle of a frame, or sent something else."""


def write_frame(stream: IO[bytes], header: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Send one frame. Raises OSError where the pipe is closed, TypeError for arrays of no numeric type."""
    flat: list[Array] = []
    listed: list[dict[str, Any]] = []
    for array in arrays:
        dtype_of(array.dtype.name)
        listed.append({"dtype": array.dtype.name, "shape": list(array.shape)})
        flat.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    text = json.dumps(header | {"arrays": listed}, ensure_ascii=False).encode("utf-8")
    stream.write(_MAGIC + struct.pack("<I", len(text)) + text)
    for data in flat:
        for start in range(0, data.size, _CHUNK):
            stream.write(data[start : start + _CHUNK].data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], list[Array]] | None:
    """The next frame, or None where the stream ended between frames. Raises `BrokenFrame`."""
    start = stream.read(8)
    if not start:
        return None
    if len(start) < 8 or start[:4] != _MAGIC:
        raise BrokenFrame("no frame begins here")
    (length,) = struct.unpack("<I", start[4:])
    if length > _LIMIT:
        raise BrokenFrame("the header is too long")
    header: dict[str, Any] = json.loads(_read(stream, length).tobytes().decode("utf-8"))
    arrays: list[Array] = []
    for item in header.pop("arrays"):
        dtype, shape = dtype_of(item["dtype"]), tuple(item["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(_read(stream, count * dtype.itemsize).view(dtype).reshape(shape))
    return header, arrays


def _read(stream: IO[bytes], size: int) -> Array:
    data = np.empty(size, np.uint8)
    view, done = data.data, 0
    buffered: Any = stream  # a BufferedReader, which IO does not say
    while done < size:
        got: int = buffered.readinto(view[done : done + _CHUNK])
        if not got:
            raise BrokenFrame("the stream ended inside a frame")
        done += got
    return data
