"""What a model's own nodes tell about its inputs: an index that selects among 10 rows lies in 0..9."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fidelite.check.inputs import InputHint
from fidelite.edge import Edge, InputEdge
from fidelite.options import Normalization

if TYPE_CHECKING:
    import onnx_ir

# Operator -> rows of (operand that holds indices, operand and axis attribute (default) that they select along).
_INDEXING = {"Gather": ((1, 0, 0),), "GatherElements": ((1, 0, 0),),
             "EmbedLayerNormalization": ((0, 2, 0), (1, 4, 0), (8, 3, 0)),
             "RotaryEmbedding": ((1, 2, 0), (3, 1, 0))}  # ONNX Runtime's own, and the standard's
_COMPARING = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
_THROUGH = frozenset({"Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Transpose", "Expand", "Slice"})
_INTEGERS = frozenset({"INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32", "UINT64"})


def hints_of(model: onnx_ir.Model, edge: Edge) -> dict[str, InputHint]:
    """Hints by input name: index ranges from consumers, picture ranges from the edge."""
    hints: dict[str, InputHint] = {}
    for value in model.graph.inputs:
        name = value.name or ""
        element = edge.inputs[name].element if name in edge.inputs else None
        if element is not None and element.source == "bool":
            hints[name] = InputHint(0, 1, "index")  # what the file takes as numbers is true or false all the same
        elif value.dtype is not None and value.dtype.name in _INTEGERS:
            high, tried = _index_limit(value), _compared_with(value)
            if high is not None:
                hints[name] = InputHint(0, max(high - 1, 0), "index", tried=tried)
            elif tried:
                hints[name] = InputHint(tried=tried)
        elif name in edge.inputs:
            hints[name] = _picture_hint(edge.inputs[name], 0 if value.shape is None else len(value.shape))
    return hints


def _index_limit(value: onnx_ir.Value) -> int | None:
    """The least size of what `value` (or a view of it) selects from."""
    limits: list[int] = []
    for node, position in _uses(value):
        row = next((r for r in _INDEXING.get(node.op_type, ()) if r[0] == position), None)
        if row is not None:
            size = _size(node, row[1], row[2])
            if size is not None:
                limits.append(size)
        elif node.op_type == "OneHot" and position == 0:
            depth = node.inputs[1]
            if depth is not None and depth.const_value is not None:
                limits.append(int(depth.const_value.numpy().reshape(-1)[0]))
    return min(limits, default=None)


def _compared_with(value: onnx_ir.Value) -> tuple[int, ...]:
    """Numbers that take each way through comparisons of `value` (or a view of it): for `== 5`, 5 and another."""
    found: list[int] = []
    for node, position in _uses(value):
        if node.op_type not in _COMPARING:
            continue
        other = node.inputs[1 - position]
        tensor = _constant(other)
        if tensor is not None and tensor.size == 1:
            number = int(tensor.numpy().reshape(-1)[0])
            found += [number, number - 1, number + 1]
    return tuple(dict.fromkeys(found))


def _uses(value: onnx_ir.Value) -> Iterator[tuple[onnx_ir.Node, int]]:
    """Who reads `value` or a view of it, and as which operand."""
    pending, seen = [value], {value}
    while pending:
        for node, position in pending.pop().uses():
            yield node, position
            if node.op_type in _THROUGH and position == 0:
                pending += [v for v in node.outputs if v not in seen]
                seen.update(node.outputs)


def _constant(value: onnx_ir.Value | None) -> onnx_ir.TensorProtocol | None:
    import onnx_ir

    return onnx_ir.convenience.get_const_tensor(value) if value is not None else None


def _size(node: onnx_ir.Node, operand: int, axis: int) -> int | None:
    data = node.inputs[operand] if len(node.inputs) > operand else None
    attribute = node.attributes.get("axis")
    axis = axis if attribute is None else attribute.as_int()
    if data is None or data.shape is None:
        return None
    size = data.shape[axis]
    return size if isinstance(size, int) else None


def _picture_hint(edge: InputEdge, rank: int) -> InputHint:
    """Values that the normalisation maps to about -2..2, or 0..255 where it expects pictures of bytes."""
    channel = edge.channel_axis if edge.channel_axis is not None else 1
    axis = edge.permutation[channel] if edge.permutation else channel
    facts = edge.normalization
    if facts is None:
        return InputHint(channel_axis=axis) if rank >= 3 else InputHint()
    low = min((m - 2 * s) / facts.scale for m, s in _pairs(facts))
    high = max((m + 2 * s) / facts.scale for m, s in _pairs(facts))
    if facts.scale != 1.0:
        low, high = 0.0, 1.0 / facts.scale
    return InputHint(low, high, "picture" if rank >= 3 else "values", axis if rank >= 3 else None)


def _pairs(facts: Normalization) -> list[tuple[float, float]]:
    count = max(len(facts.mean), len(facts.std))
    return [(facts.mean[i % len(facts.mean)], facts.std[i % len(facts.std)]) for i in range(count)]
