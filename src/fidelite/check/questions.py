"""What a model is asked: the user's samples, or made ones, in several sizes where dimensions are free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.check.hints import hints_of
from fidelite.check.inputs import make_inputs
from fidelite.check.samples import load_samples
from fidelite.edge import Edge
from fidelite.runtime.protocol import Arrays, Port

if TYPE_CHECKING:
    import onnx_ir

# Sizes tried for free dimensions: of the batch (axis 0), of the spatial axes of pictures, of other axes. What a row
# does not suit (a window that is longer, a table of positions that is shorter), a later one may.
_FREE_SIZES = ((1, 64, 8), (2, 96, 12), (1, 224, 16), (2, 256, 32), (1, 512, 64), (2, 320, 300), (1, 640, 576),
               (1, 32, 1024), (2, 48, 4096))


def sample_sets(ports: Sequence[Port], model: onnx_ir.Model, edge: Edge,
                own: Path | None = None) -> Sequence[Sequence[Arrays]]:
    """Sets of samples to try, one after the other: the user's, or made ones; with free dimensions, several sizes.

    Raises BadSample where the user's do not fit.
    """
    if own is not None:
        return [load_samples(own, ports)]
    hints = hints_of(model, edge)
    if all_fixed(ports):
        return [make_inputs(ports, hints=hints)]
    sets: list[Sequence[Arrays]] = []
    for i in range(len(_FREE_SIZES) - 1):
        first, second = (_sizes(ports, row) for row in _FREE_SIZES[i:i + 2])
        made = make_inputs(ports, hints=hints, symbols=first)
        sets.append([*made, *make_inputs(ports, count=1, seed=1, hints=hints, symbols=second)])
    return sets


def all_fixed(ports: Sequence[Port]) -> bool:
    """Whether no dimension is free."""
    return all(isinstance(d, int) for p in ports for d in p.shape)


def _sizes(ports: Sequence[Port], row: tuple[int, int, int]) -> dict[str, int]:
    batch, picture, other = row
    sizes: dict[str, int] = {}
    for port in ports:
        for axis, dim in enumerate(port.shape):
            if isinstance(dim, str):
                sizes.setdefault(dim, batch if axis == 0 else picture if len(port.shape) == 4 else other)
    return sizes
