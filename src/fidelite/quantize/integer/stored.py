"""Constants on a grid whose operator computes in float32: stored as their integers, with a DEQUANTIZE in front.

The values are the same, and the file has a quarter of their bytes. Convolutions whose weights are unpacked per channel
run slower than from float32 constants (measured: 4.5 times on a BiSeNet, 2.2 times on a MobileNet). XNNPACK unpacks
int8 alone, so that 4-bit integers are stored as int8.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from fidelite.quantize.integer.weights import Stored, shifted, stored_as
from fidelite.quantize.integer.work import Work
from fidelite.tflite.constant import Cast
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.grid import Grid
from fidelite.tflite.quantized import WEIGHTED
from fidelite.tflite.types import ElementType

LEAST_ELEMENTS = 1024
"""Smaller constants would save less than the operator costs."""
_READERS = frozenset({*WEIGHTED, "BATCH_MATMUL", "GATHER", "ADD", "SUB", "MUL", "DIV"})
_I4, _I8, _U8 = ElementType.INT4, ElementType.INT8, ElementType.UINT8


def store_constants(model: Model) -> int:
    """Change `model` in place; returns how many constants are stored as integers now."""
    return sum(_store(graph) for graph in model.graphs)


def _store(graph: Graph) -> int:
    made: dict[Hashable, Tensor] = {}
    for operator in graph.operators:
        if operator.op not in _READERS:
            continue
        operands = list(operator.inputs)
        for position, tensor in enumerate(operands):
            stored = _bytes_of(tensor)
            if stored is None or tensor is None:
                continue
            key = (stored.integers.identity, stored.grid)
            if key not in made:
                integers = Work.on(stored.integers, stored.grid, f"{tensor.name}/{stored.grid.element.name.lower()}")
                made[key] = Tensor(tensor.name, tensor.element, tensor.shape)
                graph.append(Operator("DEQUANTIZE", [integers], [made[key]], nodes=operator.nodes, made_by="store"))
            operands[position] = made[key]
        if operands != list(operator.inputs):
            graph.set_inputs(operator, operands)
    graph.sort()
    return len(made)


def _bytes_of(tensor: Tensor | None) -> Stored | None:
    """The 8-bit integers that a large float constant is made of, where DEQUANTIZE gives its values back."""
    stored = stored_as(tensor) if tensor is not None and tensor.element is ElementType.FLOAT32 else None
    if stored is None or stored.integers.size < LEAST_ELEMENTS:
        return None
    if stored.grid.element is _I4:
        stored = Stored(stored.integers.then(Cast(_I8)), replace(stored.grid, element=_I8))
    elif stored.grid.element is _U8 and not stored.grid.per_tensor:
        stored = shifted(stored, _I8) or stored
    elif stored.grid.element is ElementType.UINT4:
        signed = shifted(stored, _I4)
        assert signed is not None
        stored = Stored(signed.integers.then(Cast(_I8)), Grid(_I8, signed.grid.quantization))
    if stored.grid.element not in (_I8, _U8):
        return None
    whole = stored.grid.per_tensor or not any(stored.grid.quantization.zero_point)
    return stored if whole else None
