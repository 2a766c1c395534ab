"""Fold per-channel scales and shifts into the weights and bias beside them.

    conv(x, W, b) * s + t  =  conv(x, W * s, b * s + t)          (s, t per output channel, or one number)
    conv(x * s, W, b)      =  conv(x, W * s, b)                  (s per input channel; padding with zeros commutes)

A shift before a convolution that pads with zeros does not fold: the border would come out wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fidelite.optimize.passes import Log, only_user
from fidelite.tflite.constant import Constant, Scale
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.types import ElementType

# Operator -> (position of the data, of the weights, of the bias, axis of the output channels in the weights).
_WEIGHTED: dict[str, tuple[int, int, int, int]] = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "CONV_3D": (0, 1, 2, 4),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
_INPUT_AXIS = {"CONV_2D": 3, "FULLY_CONNECTED": 1}


@dataclass(frozen=True)
class FoldAffine:
    """MUL, DIV, ADD and SUB by per-channel constants into the operator with weights before them, MUL after it."""

    name: ClassVar[str] = "fold affine"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            for operator in graph.operators:
                if operator not in graph:
                    continue
                if operator.op in ("MUL", "DIV", "ADD", "SUB"):
                    count += _fold_after(graph, operator, outputs, log) or _fold_before(graph, operator, outputs, log)
        return count


def _constant_operand(operator: Operator) -> tuple[Tensor, Tensor] | None:
    """(data, constant) of a binary operator with one float32 constant; SUB and DIV only where it is the second."""
    a, b = operator.inputs[0], operator.inputs[1]
    if a is None or b is None or a.element is not ElementType.FLOAT32:
        return None
    if b.is_constant and not a.is_constant:
        return a, b
    if a.is_constant and not b.is_constant and operator.op in ("MUL", "ADD"):
        return b, a
    return None


def _per_channel(constant: Tensor, data: Tensor) -> int:
    """How many channels (last axis of `data`) the constant speaks of: 1 for one number, 0 if it is neither."""
    shape = constant.static_shape
    if len(shape) > data.rank or any(d != 1 for d in shape[:-1]):
        return 0
    size = shape[-1] if shape else 1
    return size if size == 1 or size == data.shape[-1] else 0


def _fold_after(graph: Graph, operator: Operator, outputs: set[Tensor], log: Log) -> int:
    found = _constant_operand(operator)
    if found is None:
        return 0
    data, factor = found
    maker = data.producer
    if maker is None or maker.op not in _WEIGHTED or len(data.users) != 1 or data in outputs:
        return 0
    if maker.options.get("fusedActivationFunction") or operator.outputs[0].shape != data.shape:
        return 0
    if not _per_channel(factor, data):
        log.refuse("fold affine", f"{operator.op} '{operator.outputs[0].name}' is not per channel")
        return 0
    _, w, b, axis = _WEIGHTED[maker.op]
    weights = maker.inputs[w]
    bias = maker.inputs[b] if len(maker.inputs) > b else None
    if weights is None or weights.constant is None or (bias is not None and bias.constant is None):
        return 0
    if not _is_safe(operator.op, factor):
        log.refuse("fold affine", f"{operator.op} '{operator.outputs[0].name}' has zeros, infinities or NaN")
        return 0
    channels = weights.static_shape[axis]
    inputs = list(maker.inputs) + [None] * (b + 1 - len(maker.inputs))
    if operator.op in ("MUL", "DIV"):
        inputs[w] = _constant(weights, _scaled(weights.constant, factor, axis, operator.op == "DIV"))
    inputs[b] = _new_bias(operator.op, bias, factor, channels, weights.name)
    if operator.op == "MUL" and bias is None:
        inputs = inputs[:len(maker.inputs)]
    graph.set_inputs(maker, inputs)
    _bypass(graph, operator, maker, data)
    return 1


def _is_safe(op: str, factor: Tensor) -> bool:
    """Whether every value of the constant may be multiplied into weights: 0 * (x / 0) is not (0 * x) / 0."""
    assert factor.constant is not None
    values = factor.constant.numpy()
    return bool(np.isfinite(values).all() and (op != "DIV" or np.all(values != 0)))


def _new_bias(op: str, bias: Tensor | None, factor: Tensor, channels: int, name: str) -> Tensor:
    """The bias after the scale or shift; evaluated now, since it is small."""
    assert factor.constant is not None
    old = np.zeros(channels, np.float64) if bias is None or bias.constant is None else bias.constant.numpy()
    value = factor.constant.numpy().reshape(-1).astype(np.float64)
    new = {"MUL": lambda: old * value, "DIV": lambda: old / value, "ADD": lambda: old + value,
           "SUB": lambda: old - value}[op]()
    constant = Constant.of(np.broadcast_to(new, (channels,)).astype(np.float32))
    return Tensor(bias.name if bias is not None else f"{name}/bias", ElementType.FLOAT32, constant.shape,
                  constant=constant)


def _scaled(weights: Constant, factor: Tensor, axis: int, divide: bool) -> Constant:
    """`weights` times (or divided by) `factor` along `axis`, when they are written."""
    assert factor.constant is not None
    values = factor.constant.numpy().reshape(-1)
    return weights.then(Scale(axis, tuple(float(v) for v in values), divide))


def _constant(old: Tensor, constant: Constant) -> Tensor:
    return Tensor(old.name, old.element, constant.shape, constant=constant)


def _bypass(graph: Graph, operator: Operator, maker: Operator, data: Tensor) -> None:
    """Let `maker` make what `operator` made."""
    result = operator.outputs[0]
    graph.remove(operator)
    graph.set_outputs(maker, [result if t is data else t for t in maker.outputs])
    maker.options["fusedActivationFunction"] = operator.options.get("fusedActivationFunction", 0)
    maker.nodes = tuple(dict.fromkeys((*maker.nodes, *operator.nodes)))


def _fold_before(graph: Graph, operator: Operator, outputs: set[Tensor], log: Log) -> int:
    """A scale whose only reader is a convolution (or a zero PAD before one)."""
    found = _constant_operand(operator)
    result = operator.outputs[0]
    if found is None or operator.op != "MUL" or result in outputs or operator.options.get("fusedActivationFunction"):
        return 0
    data, factor = found
    channels = _per_channel(factor, result)
    user = only_user(result, outputs)
    pad = user if user is not None and user.op == "PAD" and user.inputs[0] is result else None
    if pad is not None:
        user = only_user(pad.outputs[0], outputs)
    if not channels or user is None or user.op not in _INPUT_AXIS or data.shape != result.shape:
        return 0
    weights = user.inputs[1]
    seen = pad.outputs[0] if pad is not None else result
    axis = _INPUT_AXIS[user.op]
    if not _is_safe("MUL", factor) or user.inputs[0] is not seen or weights is None or weights.constant is None or (
            channels > 1 and weights.static_shape[axis] != channels):
        return 0
    inputs = list(user.inputs)
    inputs[1] = _constant(weights, _scaled(weights.constant, factor, axis, False))
    graph.set_inputs(user, inputs)
    reader = pad if pad is not None else user
    graph.set_inputs(reader, [data if t is result else t for t in reader.inputs])
    reader.nodes = tuple(dict.fromkeys((*operator.nodes, *reader.nodes)))
    if pad is not None:
        pad.outputs[0].origin = None  # it now holds the unscaled value
    graph.remove(operator)
    return 1


