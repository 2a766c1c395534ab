"""A result whose inputs and outputs are stored integers, asked and answering with the numbers that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from fidelite.runtime.protocol import Array, Arrays, Port, Session
from fidelite.tflite.graph import Graph
from fidelite.tflite.grid import Grid
from fidelite.tflite.types import ElementType

_STORED = frozenset({ElementType.INT8, ElementType.UINT8, ElementType.INT16})


def stored_ports(graph: Graph) -> dict[str, Grid]:
    """Inputs and outputs of a graph that hold integers on a grid, by name."""
    return {t.name: Grid(t.element, t.quantization) for t in (*graph.inputs, *graph.outputs)
            if t.element in _STORED and t.quantization is not None and len(t.quantization.scale) == 1}


class RealValues:
    """`session` with float32 in the place of integers on `grids`."""

    def __init__(self, session: Session, grids: Mapping[str, Grid]) -> None:
        self._session = session
        self._grids = grids

    @property
    def runtime(self) -> str:
        return self._session.runtime

    @property
    def inputs(self) -> tuple[Port, ...]:
        return tuple(self._port(p) for p in self._session.inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return tuple(self._port(p) for p in self._session.outputs)

    def _port(self, port: Port) -> Port:
        return replace(port, dtype="float32") if port.name in self._grids else port

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`. Feeds are rounded half to even, and clipped."""
        stored = {name: _stored(array, self._grids.get(name)) for name, array in feeds.items()}
        return {name: _real(array, self._grids.get(name)) for name, array in self._session.run(stored, outputs).items()}

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._session.__exit__(kind, error, trace)


def _stored(array: Array, grid: Grid | None) -> Array:
    if grid is None:
        return array
    steps = np.rint(array.astype(np.float64) / grid.scale) + grid.zero_point
    return np.clip(steps, grid.low, grid.high).astype(grid.element.dtype)


def _real(array: Array, grid: Grid | None) -> Array:
    if grid is None:
        return array
    values: np.ndarray[Any, Any] = (array.astype(np.int64) - grid.zero_point) * grid.scale
    return values.astype(np.float32)
