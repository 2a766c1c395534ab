"""Evaluate a node on constants.

The operators that shape arithmetic is made of are evaluated with numpy, which costs microseconds; all others by ONNX
Runtime (one node, one thread, so that the bytes are the same each time). What neither can evaluate is not folded:
the node is lowered like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

Arrays = Sequence[np.ndarray | None]
_WHOLE = ("int32", "int64")


def fold(node: onnx_ir.Node, inputs: Arrays, opset: int) -> list[np.ndarray | None] | None:
    """The node's outputs on `inputs`, or None where it cannot be evaluated here. `opset` is of the node's domain."""
    if node.domain in ("", "ai.onnx") and (rule := _RULES.get(node.op_type)) is not None:
        result = rule(node, inputs)
        if result is not None:
            return [result]
    return _with_onnx_runtime(node, inputs, opset)


def _attribute(node: onnx_ir.Node, name: str, default: Any = None) -> Any:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value


def _constant(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                        ("value_floats", np.float32)):
        if name in node.attributes:
            return np.asarray(_attribute(node, name), dtype)
    value = _attribute(node, "value")
    return None if value is None else np.asarray(value.numpy())


def _int_binary(function: Callable[[Any, Any], Any]) -> Any:
    def rule(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
        a, b = inputs[0], inputs[1]
        if a is None or b is None or a.dtype.name not in _WHOLE:
            return None
        return np.asarray(function(a, b)).astype(a.dtype)
    return rule


def _gather(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    data, indices = inputs[0], inputs[1]
    if data is None or indices is None:
        return None
    axis = _attribute(node, "axis", 0)
    size = data.shape[axis]
    if indices.size and (indices.min() < -size or indices.max() >= size):
        return None
    return np.asarray(np.take(data, indices, axis=axis))


def _concat(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    parts = [x for x in inputs if x is not None]
    return np.concatenate(parts, axis=_attribute(node, "axis", 0))


def _ints(axes: Any) -> tuple[int, ...]:
    """ONNX's own definitions give axes of rank 0 too."""
    return tuple(int(a) for a in np.atleast_1d(axes))


def _unsqueeze(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    axes = inputs[1] if len(inputs) > 1 else _attribute(node, "axes")
    return None if axes is None or inputs[0] is None else np.expand_dims(inputs[0], _ints(axes))


def _squeeze(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    axes = inputs[1] if len(inputs) > 1 else _attribute(node, "axes")
    if inputs[0] is None:
        return None
    return np.squeeze(inputs[0]) if axes is None else np.squeeze(inputs[0], _ints(axes))


def _identity(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    return inputs[0]


def _int_cast(node: onnx_ir.Node, inputs: Arrays) -> np.ndarray | None:
    """int64 <-> int32 only: other casts have rules of their own."""
    target = {6: np.int32, 7: np.int64}.get(int(_attribute(node, "to", 0)))
    if target is None or inputs[0] is None or inputs[0].dtype.name not in _WHOLE:
        return None
    return inputs[0].astype(target)


_RULES: dict[str, Any] = {
    "Constant": _constant, "Identity": _identity, "Gather": _gather, "Concat": _concat, "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze, "Cast": _int_cast, "Add": _int_binary(np.add), "Sub": _int_binary(np.subtract),
    "Mul": _int_binary(np.multiply),
}


def _with_onnx_runtime(node: onnx_ir.Node, inputs: Arrays, opset: int) -> list[np.ndarray | None] | None:
    """Run the node alone in ONNX Runtime, through the `runtime` package."""
    import onnx
    from onnx_ir import serde

    from fidelite.errors import RuntimeCrash
    from fidelite.runtime.onnx_runtime import OnnxSession

    proto = serde.serialize_node(node)
    names = [f"i{i}" if x is not None else "" for i, x in enumerate(inputs)]
    outputs = [f"o{i}" if v.name else "" for i, v in enumerate(node.outputs)]
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(outputs)
    try:
        tensors = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
                   for n, x in zip(names, inputs, strict=True) if x is not None]
    except (KeyError, ValueError):
        return None
    graph = onnx.helper.make_graph([proto], "fold", tensors,
                                   [onnx.helper.make_empty_tensor_value_info(n) for n in outputs if n])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)], ir_version=10)
    feeds = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    try:
        with OnnxSession(model.SerializeToString(), optimize=False) as session:
            found = session.run(feeds)
    except RuntimeCrash:
        return None
    return [found.get(n) if n else None for n in outputs]
