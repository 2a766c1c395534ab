"""Rounding that is seen: QUANTIZE whose integers leave the model, or are read as numbers, by plain arithmetic.

QUANTIZE multiplies by 1 / scale where ONNX divides, so that a value close to the middle between two steps may come
out one step off. Before an integer kernel that is within its own rounding; in an output it is a wrong number.
"""

from __future__ import annotations

import numpy as np

from fidelite.quantize.integer.annotate import NAME
from fidelite.quantize.integer.signs import signed
from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.grid import grid_of_tensor
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType


def make_exact(work: Work) -> int:
    """Replace those QUANTIZEs of float values; returns how many."""
    count = 0
    _collapse(work)
    for operator in work.graph.operators:
        value, result = operator.inputs[0], operator.outputs[0]
        if operator.op != "QUANTIZE" or operator.made_by == NAME or value is None or not value.element.is_float:
            continue
        grid = grid_of_tensor(result)
        if grid is None or not _seen(work, result):
            continue
        b = work.b
        b.nodes = operator.nodes
        work.graph.remove(operator)
        made = b.quantize_exactly(value, b.constant(np.asarray(grid.scale, np.float32)),
                                  b.constant(np.asarray(grid.zero_point, np.float32)), grid.element)
        maker = made.producer
        assert maker is not None
        work.graph.set_outputs(maker, [result])
        count += 1
    return count


def _collapse(work: Work) -> None:
    """A value that was rounded to int8 only to be shifted to uint8: rounded to uint8."""
    for operator in work.graph.operators:
        stored = operator.inputs[0]
        if operator.op != "QUANTIZE" or stored is None or stored.element is not ElementType.INT8:
            continue
        maker, grid = stored.producer, grid_of_tensor(operator.outputs[0])
        own = grid_of_tensor(stored)
        if own is None or grid is None or signed(grid) != own or maker is None or maker.op != "QUANTIZE":
            continue
        value = maker.inputs[0]
        if value is not None and value.element.is_float and len(stored.users) == 1 and stored not in work.outputs:
            work.graph.set_inputs(operator, [value])
            work.graph.remove(maker)


def _seen(work: Work, tensor: Tensor) -> bool:
    """Whether integers are an output, or read as numbers, moved or not."""
    return tensor in work.outputs or any(_reads_numbers(work, user) for user in tensor.users)


def _reads_numbers(work: Work, operator: Operator) -> bool:
    row = row_of(operator.op)
    if operator.op in ("QUANTIZE", "DEQUANTIZE"):
        return False
    if row is None:
        return True
    return row.kind is Kind.MOVES and any(_seen(work, t) for t in operator.outputs)
