"""Values on a grid: by how much a right result may differ, in steps of the grid, and source values as a result stores
them.

An integer kernel rounds once where its source does, and may do so to the other side: one step. In a whole network such
steps add up, so that a model that came quantized is proven step by step (`bisect`), each fed the source's own values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fidelite.check.tolerance import Tolerance
from fidelite.runtime.protocol import Array
from fidelite.tflite.graph import Graph, Tensor
from fidelite.tflite.types import ElementType

QUANTIZED_SOURCE = "quantized-source"
_STORED = frozenset({ElementType.INT8, ElementType.UINT8, ElementType.INT16})
_OFFSET = 128


def computes_on_grids(graph: Graph) -> bool:
    """Whether values that are computed are stored as integers on a grid."""
    return any(t.quantization is not None and t.element in _STORED and not t.is_constant
               for o in graph.operators for t in (*o.inputs, *o.outputs) if t is not None)


def step_size(tensor: Tensor) -> float | None:
    """One step of the grid that a value lies on: 1 for stored integers, the scale for floats made of them; None where
    it lies on none, or on several."""
    if tensor.quantization is not None and tensor.element in _STORED:
        return 1.0
    maker = tensor.producer
    stored = maker.inputs[0] if maker is not None and maker.op == "DEQUANTIZE" else None
    if stored is None or stored.quantization is None or stored.is_constant:
        return None
    return max(stored.quantization.scale)


def tolerances(graph: Graph) -> dict[str, Tolerance]:
    """The bounds for each output of a graph that came quantized."""
    base = Tolerance.for_precision(QUANTIZED_SOURCE)
    found = {t.name: replace(base, step=step) for t in graph.outputs if (step := step_size(t)) is not None}
    return {"": base, **found}


def as_stored(array: Array, tensor: Tensor) -> Array:
    """The source's value in the type that `tensor` has: uint8 on a grid is stored as int8, 128 lower."""
    if array.dtype == np.uint8 and tensor.element is ElementType.INT8:
        return (array.astype(np.int16) - _OFFSET).astype(np.int8)
    return array
