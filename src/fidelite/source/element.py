"""The ONNX element type of a value, also where the model does not declare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fidelite.source.node import plain_domain

if TYPE_CHECKING:
    import onnx_ir

_MOST_STEPS = 10_000


def element_type_of(value: onnx_ir.Value | None, opsets: Mapping[str, int]) -> onnx_ir.DataType | None:
    """The declared type, else the one that the schemas give from the operands on; None where they do not tell.

    A schema says of a result either its type, or the type parameter that it shares with an operand; Cast names its own.
    """
    import onnx_ir

    for _ in range(_MOST_STEPS):
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.dtype
        if value.dtype is not None and value.dtype.value:
            return value.dtype
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "Cast" and (to := node.attributes.get("to")) is not None:
            named = to.type == onnx_ir.AttributeType.STRING  # before opset 6
            return onnx_ir.DataType.__members__.get(to.as_string()) if named else onnx_ir.DataType(to.as_int())
        found = _parameter_of(node, value, opsets)
        if found.startswith("tensor("):
            return onnx_ir.DataType.__members__.get(found[len("tensor("):-1].upper())
        value = _operand_of(node, found, opsets)
    return None


def _parameter_of(node: onnx_ir.Node, value: onnx_ir.Value, opsets: Mapping[str, int]) -> str:
    schema = _schema(node, opsets)
    return "" if schema is None else _parameter(schema.outputs, list(node.outputs).index(value))


def _operand_of(node: onnx_ir.Node, parameter: str, opsets: Mapping[str, int]) -> onnx_ir.Value | None:
    """The first operand whose type is `parameter`."""
    schema = _schema(node, opsets)
    if schema is None or not parameter:
        return None
    return next((v for i, v in enumerate(node.inputs) if v is not None and _parameter(schema.inputs, i) == parameter),
                None)


def _schema(node: onnx_ir.Node, opsets: Mapping[str, int]) -> Any:
    import onnx

    domain = plain_domain(node.domain)
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None


def _parameter(formal: Any, index: int) -> str:
    """The type, or type parameter, of the operand or result at `index` (the last one may be variadic)."""
    return "" if not formal else str(formal[min(index, len(formal) - 1)].type_str)
