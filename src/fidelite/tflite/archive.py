"""Small files behind the tables of a `.tflite`: a zip, whose directory stands at the end, so that both can be read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

LARGEST = 1 << 24
"""Files of more bytes than this are no labels, and are not read."""
_UNIX = 3
_READABLE = 0o644 << 16


def append_files(stream: BinaryIO, files: Mapping[str, bytes]) -> int:
    """Write `files` as a zip from where `stream` stands, and return where it ends.

    The same bytes on every system: stored (MediaPipe reads nothing else), dated 1980, by name.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            archive.writestr(entry, files[name])
    return stream.tell()


def read_files(stream: BinaryIO) -> dict[str, bytes]:
    """The files of a zip at the end of `stream`; none where there is no zip, or a damaged one.

    Only stored files count, as for MediaPipe.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            return {entry.filename: archive.read(entry) for entry in archive.infolist()
                    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= LARGEST}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError, OSError):
        return {}
