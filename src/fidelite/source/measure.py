"""Multiplications and memory of a graph, from its shapes alone: nothing is run, no weight is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from fidelite.source.known import SAME_SHAPE, Dims, known_shape
from fidelite.source.node import plain_domain

Shapes = Mapping[str, Dims]

_LARGEST_KEPT = 1024
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True, slots=True)
class Count:
    """A sum over nodes, and how many nodes could not be counted since a shape is unknown."""

    total: int
    unknown: int


def infer_shapes(model: ir.Model) -> dict[str, Dims]:
    """Shapes of all values by name: those declared, completed by onnx's inference where some are open.

    Weights are not read: initializers above 1 KB and those in other files take part by shape only.
    """
    declared = _declared(model)
    made = (o for node in model.graph for o in node.outputs if o.name and (o.uses() or o.is_graph_output()))
    complete = all(_whole(declared.get(value.name or "")) for value in made)
    if complete:
        return declared
    return {
        **declared,
        **{name: shape for name, shape in _inferred(model).items() if not _whole(declared.get(name))},
    }


def _whole(shape: Dims | None) -> bool:
    return shape is not None and None not in shape


def _declared(model: ir.Model) -> dict[str, Dims]:
    shapes: dict[str, Dims] = {}
    graph = model.graph
    for value in [*graph.inputs, *(o for node in graph for o in node.outputs), *graph.outputs]:
        if value.name and value.shape is not None:
            shapes[value.name] = known_shape(value.shape)
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            shapes[name] = known_shape(value.const_value.shape)
    return shapes


def _inferred(model: ir.Model) -> dict[str, Dims]:
    import onnx.shape_inference

    light = model.clone()
    graph = light.graph
    inputs = {v.name for v in graph.inputs}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or (tensor.nbytes <= _LARGEST_KEPT and not isinstance(tensor, ir.ExternalTensor)):
            continue
        value.const_value = None
        del graph.initializers[name]
        if name not in inputs:
            graph.inputs.append(value)
    try:
        proto = onnx.shape_inference.infer_shapes(ir.to_proto(light), strict_mode=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    shapes: dict[str, Dims] = {}
    for info in [*proto.graph.value_info, *proto.graph.output]:
        if info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            shapes[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    return shapes


# multiplications


def multiplications(nodes: Iterable[ir.Node], shapes: Shapes) -> Count:
    """Multiply-accumulates (MACs) of the convolutions and matrix products among `nodes`."""
    total = unknown = 0
    for node in nodes:
        count = _MACS.get(node.op_type) if plain_domain(node.domain) == "" else None
        if count is None:
            continue
        try:
            total += count(node, [_shape(v, shapes) for v in node.inputs], _shape(node.outputs[0], shapes))
        except _Unknown:
            unknown += 1
    return Count(total, unknown)


class _Unknown(Exception):
    """A dimension that the count needs is not known."""


def _shape(value: ir.Value | None, shapes: Shapes) -> Dims:
    if value is None:
        return ()
    shape = shapes.get(value.name or "")
    if shape is None:
        raise _Unknown
    return shape


def _product(dims: Dims) -> int:
    known = [d for d in dims if d is not None]
    if len(known) != len(dims):
        raise _Unknown
    return prod(known)


def _conv(_node: ir.Node, inputs: list[Dims], output: Dims) -> int:
    """Each output value sums over one filter: [M, C/group, k...]."""
    return _product(output) * _product(inputs[1][1:])


def _conv_transpose(_node: ir.Node, inputs: list[Dims], _output: Dims) -> int:
    """Each input value is spread by one filter: [C, M/group, k...]."""
    return _product(inputs[0]) * _product(inputs[1][1:])


def _gemm(node: ir.Node, inputs: list[Dims], output: Dims) -> int:
    transposed = node.attributes.get("transA")
    inner = 0 if transposed is not None and not transposed.is_ref() and transposed.as_int() else 1
    return _product(output) * _product(inputs[0][inner : inner + 1])


def _matmul(_node: ir.Node, inputs: list[Dims], output: Dims) -> int:
    return _product(output) * _product(inputs[0][-1:])


def _recurrent(_node: ir.Node, inputs: list[Dims], _output: Dims) -> int:
    """Each step and sample goes through W [D, gates*H, I] and R [D, gates*H, H]; X is [steps, batch, I]."""
    return _product(inputs[0][:2]) * (_product(inputs[1]) + _product(inputs[2]))


def _uncounted(_node: ir.Node, _inputs: list[Dims], _output: Dims) -> int:
    raise _Unknown


_MACS: Mapping[str, Callable[[ir.Node, list[Dims], Dims], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    **dict.fromkeys(("Attention", "ConvInteger", "DeformConv", "Einsum", "MatMulInteger"), _uncounted),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), _uncounted),
}


# memory


def value_bytes(dtype: ir.DataType | None, shape: Dims | None, float_bits: int = 32) -> int | None:
    """Bytes of a tensor, with `float_bits` for each float; None where type or a dimension is unknown."""
    if dtype is None or shape is None or None in shape or dtype == ir.DataType.STRING:
        return None
    bits = float_bits if dtype in _FLOATS else dtype.bitwidth
    return (prod(d for d in shape if d is not None) * bits + 7) // 8


def peak_activations(graph: ir.Graph, shapes: Shapes, float_bits: int = 32) -> Count:
    """Bytes of the values that are alive at once, at most, when the nodes run in their order.

    Inputs stay until the end, as LiteRT keeps them; outputs from where they are made. A node that keeps its
    input's shape works in place where nobody else needs that input. Inner floats take `float_bits`, the model's
    own inputs and outputs 32.
    """
    last: dict[ir.Value, int] = {}
    for index, node in enumerate(graph):
        last.update({v: index for v in node.inputs if v is not None})
        for value in _captured(node):
            last[value] = index
    kept = set(graph.inputs) | set(graph.outputs)
    unknown = 0
    alive = sum(value_bytes(v.dtype, shapes.get(v.name or "")) or 0 for v in graph.inputs)
    peak = alive
    sizes: dict[ir.Value, int] = {}
    for index, node in enumerate(graph):
        dying = [
            v
            for v in {*node.inputs, *_captured(node)}
            if v in sizes and v not in kept and last.get(v) == index
        ]
        if node.op_type in SAME_SHAPE and len(dying) == 1:
            alive -= sizes.pop(dying.pop())
        for value in node.outputs:
            if not value.name:
                continue
            bits = 32 if value in kept else float_bits
            size = value_bytes(value.dtype or ir.DataType.FLOAT, shapes.get(value.name), bits)
            unknown += size is None
            sizes[value] = size or 0
            alive += size or 0
        peak = max(peak, alive)
        unused = [v for v in node.outputs if v in sizes and v not in last and v not in kept]
        for value in {*dying, *unused}:
            alive -= sizes.pop(value)
    return Count(peak, unknown)


def _captured(node: ir.Node) -> list[ir.Value]:
    """Values from outside that the graphs inside a node read."""
    values: list[ir.Value] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        graphs: Iterable[ir.Graph] = ()
        if attribute.type == ir.AttributeType.GRAPH:
            graphs = (attribute.as_graph(),)
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs = attribute.as_graphs()
        for graph in graphs:
            for inner in graph.all_nodes():
                values += [v for v in inner.inputs if v is not None]
    return values
