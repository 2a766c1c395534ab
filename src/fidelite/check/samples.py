"""The user's own samples: one array per input, by name, in an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fidelite.errors import BadSample
from fidelite.runtime.protocol import Array, Port, check_array, dtype_of


def load_samples(path: Path, ports: Sequence[Port]) -> list[dict[str, Array]]:
    """The samples in an .npz file, each with an array for every port.

    An array has its input's shape, or one more axis in front that counts samples; an array without that axis
    serves all samples. Raises `BadSample` where the file cannot be read, or names, types, shapes or counts
    do not fit.
    """
    arrays = _read(path)
    wanted = [p.name for p in ports]
    if set(wanted) != set(arrays):
        raise BadSample(
            f"'{path.name}' holds {_names(arrays)}, but the model's inputs are {_names(wanted)}",
            remedy=f"np.savez('{path.name}', {', '.join(f'{n}=...' for n in wanted)})",
            details={"expected": wanted, "found": list(arrays)},
        )
    stacks = {p.name: _stack(path, p, arrays[p.name]) for p in ports}
    counts = {name: len(stack) for name, (stack, many) in stacks.items() if many}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"'{n}' {c}" for n, c in counts.items())
        raise BadSample(
            f"'{path.name}' has a different number of samples for each input: {told}",
            remedy="give each array as many samples as the others, or none of its own",
            details={"samples": counts},
        )
    count = next(iter(counts.values()), 1)
    return [{n: stack[i if many else 0] for n, (stack, many) in stacks.items()} for i in range(count)]


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise BadSample(
                    f"'{path.name}' is a single array; an .npz with one array per input is needed",
                    remedy="np.savez('samples.npz', INPUT=array)",
                )
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BadSample(f"'{path}' cannot be read as an .npz file: {error}") from error


def _stack(path: Path, port: Port, array: Array) -> tuple[Array, bool]:
    """The array with a leading sample axis, and whether that axis was its own."""
    try:
        dtype = dtype_of(port.dtype)
    except TypeError:
        dtype = array.dtype
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
        array = array.view(dtype)  # .npy files keep the bytes of ml_dtypes' types, but not their names
    many = array.ndim == len(port.shape) + 1
    stack = array if many else array[None]
    if many and not len(stack):
        raise BadSample(f"'{path.name}' has no samples for '{port.name}'")
    try:
        check_array(port, stack[0])
    except BadSample as error:
        raise BadSample(
            f"'{path.name}' does not fit: {error.reason}", remedy=error.remedy, details=error.details
        ) from None
    return stack, many


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"'{n}'" for n in names) or "nothing"
