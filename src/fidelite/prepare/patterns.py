"""Functions that exporters write out, found again: one operator is faster than six, and as exact.

    gelu(x) = x * 0.5 * (1 + erf(x / sqrt(2)))        in any order of the factors

A pattern is replaced only where nobody else reads the values in between.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

DOMAIN = "fidelite"
"""Domain of the operators that patterns become; `lower.fused` lowers them."""


def fuse_patterns(model: onnx_ir.Model) -> int:
    """Replace what is found, in place; returns how many. Linear in the nodes."""
    found = 0
    for node in list(model.graph):
        if node.op_type == "Erf" and node.domain in ("", "ai.onnx"):
            found += _fuse_gelu(model, node)
    if found:
        model.graph.opset_imports[DOMAIN] = 1
    return found


def _fuse_gelu(model: onnx_ir.Model, erf: onnx_ir.Node) -> int:
    import onnx_ir

    x = _scaled_input(erf.inputs[0])
    plus = _only_reader(erf.outputs[0])
    if x is None or plus is None or plus.op_type != "Add" or _other_number(plus, erf.outputs[0]) != 1.0:
        return 0
    product, factors = plus.outputs[0], list[onnx_ir.Value]()
    inner: list[onnx_ir.Node] = [plus, erf]
    for _ in range(2):
        mul = _only_reader(product)
        if mul is None or mul.op_type != "Mul":
            return 0
        other = mul.inputs[1] if mul.inputs[0] is product else mul.inputs[0]
        if other is None:
            return 0
        factors.append(other)
        inner.insert(0, mul)
        product = mul.outputs[0]
        if _is_half_of(other, x):
            break
    if not _gives_half_x(factors, x):
        return 0
    gelu = onnx_ir.Node(DOMAIN, "Gelu", [x], name=f"{erf.name or 'gelu'}_as_gelu", num_outputs=1,
                        attributes=[onnx_ir.AttrString("approximate", "none")])
    result = gelu.outputs[0]
    if product.dtype is not None:
        result.dtype = product.dtype
    result.shape = product.shape
    last = product.producer()
    assert last is not None
    model.graph.insert_after(last, gelu)
    name, is_output = product.name, product.is_graph_output()
    product.replace_all_uses_with(result, replace_graph_outputs=is_output)
    model.graph.remove(inner, safe=False)
    result.name = name
    return 1


def _gives_half_x(factors: list[onnx_ir.Value], x: onnx_ir.Value) -> bool:
    if len(factors) == 1:
        return _is_half_of(factors[0], x)
    numbers = [_number(f) for f in factors]
    return sorted((f is x, n == 0.5) for f, n in zip(factors, numbers, strict=True)) == [(False, True), (True, False)]


def _is_half_of(value: onnx_ir.Value, x: onnx_ir.Value) -> bool:
    """Whether `value` is x * 0.5."""
    maker = value.producer()
    return maker is not None and maker.op_type == "Mul" and x in maker.inputs and _other_number(maker, x) == 0.5


def _scaled_input(value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    """x, where `value` is x / sqrt(2) (in float32's precision)."""
    maker = value.producer() if value is not None else None
    if value is None or maker is None or _only_reader(value) is None:
        return None
    for position, x in enumerate(maker.inputs):
        number = _other_number(maker, x) if x is not None else None
        if x is None or number is None:
            continue
        factor = number if maker.op_type == "Mul" else 1.0 / number if maker.op_type == "Div" and position == 0 else 0.0
        if math.isclose(factor, math.sqrt(0.5), rel_tol=1e-6):
            return x
    return None


def _only_reader(value: onnx_ir.Value) -> onnx_ir.Node | None:
    users = {node for node, _ in value.uses()}
    return users.pop() if len(users) == 1 and not value.is_graph_output() else None


def _other_number(node: onnx_ir.Node, value: onnx_ir.Value) -> float | None:
    """The one-number constant operand beside `value`."""
    if len(node.inputs) != 2:
        return None
    other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
    return None if other is None else _number(other)


def _number(value: onnx_ir.Value) -> float | None:
    import onnx_ir

    tensor = onnx_ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > 1:
        return None
    return float(np.asarray(tensor.numpy()).reshape(-1)[0])
