"""Pad a maximum pool with zeros where its input cannot be negative.

max(x..., -inf) = max(x..., 0) for x >= 0, unless a window lies in the padding alone, which ONNX forbids (pads are
smaller than the kernel). XNNPACK takes PAD (zeros), not PADV2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS, VALID

_NEVER_NEGATIVE = frozenset({"RELU", "RELU6", "RELU_0_TO_1", "LOGISTIC", "EXP", "ABS", "SQUARE", "SQRT", "SOFTMAX"})
_PASSING = frozenset({"RESHAPE", "TRANSPOSE", "MAX_POOL_2D", "SLICE", "CONCATENATION", "RESIZE_BILINEAR",
                      "RESIZE_NEAREST_NEIGHBOR", "AVERAGE_POOL_2D", "MEAN", "REDUCE_MAX"})
_MAX_STEPS = 16


@dataclass(frozen=True)
class PadPoolsWithZeros:
    """PADV2 by minus infinity, read by MAX_POOL_2D alone, over values that are never negative, becomes PAD."""

    name: ClassVar[str] = "pad pools with zeros"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            for operator in graph.operators:
                if operator.op == "PADV2":
                    count += _with_zeros(graph, operator, outputs, log)
        return count


def _with_zeros(graph: Graph, operator: Operator, outputs: set[Tensor], log: Log) -> int:
    data, widths, value = operator.inputs
    result = operator.outputs[0]
    if data is None or widths is None or value is None or value.constant is None or widths.constant is None:
        return 0
    if result in outputs or not result.users or any(
            u.op != "MAX_POOL_2D" or u.options.get("padding") != VALID for u in result.users):
        return 0
    lowest = np.finfo(np.float32).min if value.element.is_float else 0
    if float(value.constant.numpy().reshape(-1)[0]) > lowest:
        return 0
    pads = widths.constant.numpy()
    for user in result.users:
        kernel = (user.options["filterHeight"], user.options["filterWidth"])
        if any(int(pads[i + 1].max()) >= kernel[i] for i in (0, 1)):
            return 0
    if not never_negative(data, _MAX_STEPS):
        log.refuse("pad pools with zeros", f"'{data.name}' may be negative")
        return 0
    operator.op = "PAD"
    graph.set_inputs(operator, [data, widths])
    result.origin = None
    return 1


def never_negative(tensor: Tensor, steps: int) -> bool:
    """Whether the operators that make `tensor` show that no element is below zero (NaN aside)."""
    maker = tensor.producer
    if steps == 0:
        return False
    if tensor.constant is not None:
        return tensor.constant.size <= 4096 and bool(np.all(tensor.constant.numpy() >= 0))
    if maker is None:
        return False
    if maker.op in _NEVER_NEGATIVE:
        return True
    if maker.options.get("fusedActivationFunction") in (FUSED_ACTIVATIONS["RELU"], FUSED_ACTIVATIONS["RELU6"]):
        return True
    if maker.op in _PASSING:
        data = maker.inputs if maker.op == "CONCATENATION" else maker.inputs[:1]
        return all(t is not None and never_negative(t, steps - 1) for t in data)
    return False
