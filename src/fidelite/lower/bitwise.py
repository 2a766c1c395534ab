"""Operators on the bits of integers."""

from __future__ import annotations

from fidelite.errors import UnsupportedAttribute
from fidelite.lower import integers
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import is_static
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType


@lowers("BitShift")
def bit_shift(node: Node, b: Builder) -> Tensor:
    x, y = node.input(0), node.input(1)
    direction = node.str_("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise UnsupportedAttribute(f"BitShift in the direction '{direction}'", remedy="use LEFT or RIGHT")
    return (integers.shift_left if direction == "LEFT" else integers.shift_right)(b, x, y)


def _and(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """STABLEHLO_AND, which takes operands of one shape. Of shapes that only the run time knows, each is stretched by
    adding nothing times the other."""
    if x.shape == y.shape:
        wide = x, y
    elif is_static(shape := b.broadcast(x.shape, y.shape)):
        wide = b.broadcast_to(x, shape), b.broadcast_to(y, shape)
    else:
        zero = b.scalar(0, x)
        wide = b.add(x, b.mul(y, zero)), b.add(b.mul(x, zero), y)
    return b.one("STABLEHLO_AND", wide, x.element, wide[0].shape)


@lowers("BitwiseAnd")
def bitwise_and(node: Node, b: Builder) -> Tensor:
    return _and(b, node.input(0), node.input(1))


@lowers("BitwiseOr")
def bitwise_or(node: Node, b: Builder) -> Tensor:
    """x + y - (x and y)."""
    x, y = node.input(0), node.input(1)
    return b.sub(b.add(x, y), _and(b, x, y))


@lowers("BitwiseXor")
def bitwise_xor(node: Node, b: Builder) -> Tensor:
    """BITWISE_XOR, or x + y - 2 (x and y) for 64 bits."""
    x, y = node.input(0), node.input(1)
    if x.element in (kernel_types("BITWISE_XOR") or ()):
        return b.binary("BITWISE_XOR", x, y)
    return b.sub(b.add(x, y), b.mul(_and(b, x, y), b.scalar(2, x)))


@lowers("BitwiseNot")
def bitwise_not(node: Node, b: Builder) -> Tensor:
    """-1 - x in two's complement."""
    x = node.input(0)
    if x.element is ElementType.UINT64:
        ones = b.bitcast(b.scalar(-1, ElementType.INT64), x.element)
    else:
        ones = b.cast(b.scalar(-1, ElementType.INT64), x.element)
    return b.sub(ones, x)
