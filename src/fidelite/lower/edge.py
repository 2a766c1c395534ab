"""Put the edge that the user or the target asks for around a lowered graph: layout, normalisation, argmax, type."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fidelite.edge import Edge, InputEdge, OutputEdge
from fidelite.errors import UsageError
from fidelite.lower.cast import converted
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Origin, Tensor
from fidelite.tflite.types import ElementType


def apply_edge(model: Model, edge: Edge) -> None:
    """Change the main graph's inputs and outputs in place. Names and order stay."""
    graph = model.main
    b = Builder(graph)
    b.made_by = "edge"
    for index, tensor in enumerate(graph.inputs):
        if tensor.name in edge.inputs:
            graph.inputs[index] = _input(b, tensor, edge.inputs[tensor.name])
    for index, tensor in enumerate(graph.outputs):
        if tensor.name in edge.outputs:
            graph.outputs[index] = _output(b, tensor, edge.outputs[tensor.name])
    graph.sort()
    for signature in model.signatures:
        if signature.graph is graph:
            signature.inputs = [(t.name, t) for t in graph.inputs]
            signature.outputs = [(t.name, t) for t in graph.outputs]


def _input(b: Builder, old: Tensor, edge: InputEdge) -> Tensor:
    """A new input; what the source calls by its name is computed from it.

    (x * scale - mean) / std is written as (x - mean / scale) * (scale / std): the factor folds into a convolution's
    weights, the difference may not be folded where that convolution pads with zeros.
    """
    order = edge.permutation
    shape = old.shape if not order else tuple(old.shape[order.index(a)] for a in range(old.rank))
    element = old.element if edge.element is None else ElementType[edge.element.file.upper()]
    new = Tensor(old.name, element, shape)
    facts = old.quantization
    if facts is not None and edge.element is None:
        new.quantization = facts if not order or len(facts.scale) == 1 else replace(facts, axis=order[facts.axis])
    users = [(user, user.inputs) for user in old.users]
    value = converted(b, b.transpose(new, order) if order else new, old.element)
    value.quantization = facts  # the numbers are the same, and so is the grid that they lie on
    if edge.normalization is not None:
        if old.element is not ElementType.FLOAT32:
            raise UsageError(f"'{old.name}' is {old.element.name}: only float32 inputs can be normalised", code="F209",
                             remedy="leave --normalize out")
        value = _normalized(b, value, edge)
    for user, inputs in users:
        b.graph.set_inputs(user, [value if t is old else t for t in inputs])
    if value is not new:
        value.origin = Origin(old.name)
    return new


def _normalized(b: Builder, x: Tensor, edge: InputEdge) -> Tensor:
    facts = edge.normalization
    assert facts is not None
    shape = [1] * x.rank
    shape[edge.channel_axis or 0] = -1

    def per_channel(values: np.ndarray) -> Tensor:
        return b.constant(values.astype(np.float32).reshape(shape if values.size > 1 else [1] * x.rank))

    mean, std = np.asarray(facts.mean, np.float64), np.asarray(facts.std, np.float64)
    if np.any(mean):
        x = b.sub(x, per_channel(mean / facts.scale))
    factor = facts.scale / std
    return b.mul(x, per_channel(factor)) if np.any(factor != 1.0) else x


def _output(b: Builder, old: Tensor, edge: OutputEdge) -> Tensor:
    """A new output under the old one's name, which becomes an inner value."""
    name = old.name
    if edge.argmax_axis is not None:
        new = b.arg("ARG_MAX", old, edge.argmax_axis, ElementType.INT32)
    else:
        new = old if edge.element is None else converted(b, old, ElementType[edge.element.file.upper()])
        new = b.transpose(new, edge.permutation) if edge.permutation else new
        if edge.columns:
            new = b.gather(new, b.constant(np.asarray(edge.columns, np.int32)), axis=-1)
        if edge.activation:
            new = b.softmax(new) if edge.activation == "softmax" else b.logistic(new)
    old.name, new.name = f"{name}/source", name
    return new

