"""Cast: between all element types but strings. Types that LiteRT does not have are carried by others."""

from __future__ import annotations

import onnx_ir

from fidelite.errors import InvalidModel, UnsupportedType
from fidelite.lower import integers
from fidelite.lower.carried import carried_type
from fidelite.lower.narrow import narrowed
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.values import onnx_element_type
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_F32, _I64, _U64 = ElementType.FLOAT32, ElementType.INT64, ElementType.UINT64
_TWO_63 = 2.0**63


@lowers("Cast", since=6, partial="strings")
def cast(node: Node, b: Builder) -> Tensor:
    """Floats lose their fraction, integers wrap, booleans are what is not zero."""
    return _cast_to(node, b, onnx_ir.DataType(node.int_("to")))


@lowers("Cast", until=5, partial="strings")
def cast_by_name(node: Node, b: Builder) -> Tensor:
    """As `cast`, with the type's name for its number."""
    name = node.str_("to")
    if name not in onnx_ir.DataType.__members__:
        raise InvalidModel(f"there is no element type '{name}'", where=node.where(), remedy="export the model again")
    return _cast_to(node, b, onnx_ir.DataType[name])


@lowers("CastLike", partial="strings")
def cast_like(node: Node, b: Builder) -> Tensor:
    to = node.type_at(1)
    return converted(b, node.input(0), node.input(1).element) if to is None else _cast_to(node, b, to)


@lowers("BitCast", since=26, partial="types that LiteRT does not have")
def bit_cast(node: Node, b: Builder) -> Tensor:
    """The same bits as another type of the same width."""
    x, to = node.input(0), onnx_ir.DataType(node.int_("to"))
    source = node.type_at(0)
    if source == to:
        return x
    if carried_type(to) is not None or carried_type(source) is not None:
        raise UnsupportedType("its bits are not at hand: a type that LiteRT does not have is carried by another one",
                              remedy="cast instead, or keep the bits in int8 or uint8 in the model")
    element = onnx_element_type(to)
    if element.bits != x.element.bits:
        raise InvalidModel(f"BitCast from {x.element.name} to {element.name}, which is not as wide", where=node.where(),
                           remedy="export the model again")
    return b.bitcast(x, element)


def _cast_to(node: Node, b: Builder, to: onnx_ir.DataType) -> Tensor:
    x = node.input(0)
    if carried_type(to) is None:
        return converted(b, x, onnx_element_type(to))
    if node.type_at(0) == to:
        return x
    if x.element is _U64:
        x = _from_uint64(b, x, _F32 if to.name.startswith("FLOAT") else _I64)
    return narrowed(b, x, to, saturate=bool(node.int_("saturate", 1)), round_mode=node.str_("round_mode", "up"))


def converted(b: Builder, x: Tensor, element: ElementType) -> Tensor:
    """CAST, which has no uint64: that goes through int64's bits, and floats beyond 2^63 in two parts."""
    if x.element is element:
        return x
    if x.element is _U64:
        return _from_uint64(b, x, element)
    if element is _U64:
        return _to_uint64(b, x)
    return b.cast(x, element)


def _from_uint64(b: Builder, x: Tensor, element: ElementType) -> Tensor:
    signed = b.bitcast(x, _I64)
    if not element.is_float:
        return b.cast(signed, element)
    # Beyond 2^63: half of it, its lowest bit kept so that the rounding is the same, doubled.
    half = b.bitcast(integers.shift_right(b, x, b.scalar(1, x)), _I64)
    lowest = b.binary("FLOOR_MOD", signed, b.scalar(2, _I64))
    sticky = b.maximum(half, b.add(b.sub(half, b.binary("FLOOR_MOD", half, b.scalar(2, _I64))), lowest))
    wide = _F32 if element.bits < 32 else element
    large = b.cast(sticky, wide)
    large = b.one("STABLEHLO_ADD", [large, large], wide, x.shape)
    negative = b.compare("LESS", signed, b.scalar(0, _I64))
    return b.cast(b.select(negative, large, b.cast(signed, wide)), element)


def _to_uint64(b: Builder, x: Tensor) -> Tensor:
    if not x.element.is_float:
        return b.bitcast(b.cast(x, _I64), _U64)
    y = b.float32(x)
    limit = b.scalar(_TWO_63, y)
    top = b.bitcast(b.scalar(1 << 63, _U64), _I64)
    large = b.add(b.cast(b.sub(y, limit), _I64), top)
    return b.bitcast(b.select(b.compare("LESS", y, limit), b.cast(y, _I64), large), _U64)
