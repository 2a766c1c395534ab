"""Comparisons, logic on booleans, and choices."""

from __future__ import annotations

import numpy as np

from fidelite.lower.broadcasting import pair
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_F64, _I64 = ElementType.FLOAT64, ElementType.INT64
_INFINITY_BITS = int(np.array(np.inf).view(np.int64))


@lowers("And")
def and_(node: Node, b: Builder) -> Tensor:
    return b.logical("LOGICAL_AND", *pair(node, b))


@lowers("Or")
def or_(node: Node, b: Builder) -> Tensor:
    return b.logical("LOGICAL_OR", *pair(node, b))


@lowers("Xor")
def xor(node: Node, b: Builder) -> Tensor:
    return b.compare("NOT_EQUAL", *pair(node, b))


@lowers("Not")
def not_(node: Node, b: Builder) -> Tensor:
    return b.logical_not(node.input(0))


def _size_bits(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """A float64's bits as int64, and those of its absolute value."""
    bits = b.bitcast(x, _I64)
    zero = b.scalar(0, _I64)
    return bits, b.select(b.compare("LESS", bits, zero), b.sub(bits, b.scalar(np.iinfo(np.int64).min, _I64)), bits)


def compared(b: Builder, op: str, x: Tensor, y: Tensor) -> Tensor:
    """A comparison. float64 is compared as integers in the same order (NaN is unequal to all, itself included)."""
    if x.element is not _F64:
        return b.compare(op, x, y)
    infinity = b.scalar(_INFINITY_BITS, _I64)
    numbers = [b.compare("LESS_EQUAL", _size_bits(b, operand)[1], infinity) for operand in (x, y)]
    return b.logical("LOGICAL_AND", b.compare(op, b.ordered(x), b.ordered(y)), b.logical("LOGICAL_AND", *numbers))


@lowers("Equal")
def equal(node: Node, b: Builder) -> Tensor:
    return compared(b, "EQUAL", *pair(node, b))


@lowers("Greater")
def greater(node: Node, b: Builder) -> Tensor:
    return compared(b, "GREATER", *pair(node, b))


@lowers("Less")
def less(node: Node, b: Builder) -> Tensor:
    return compared(b, "LESS", *pair(node, b))


@lowers("GreaterOrEqual")
def greater_or_equal(node: Node, b: Builder) -> Tensor:
    return compared(b, "GREATER_EQUAL", *pair(node, b))


@lowers("LessOrEqual")
def less_or_equal(node: Node, b: Builder) -> Tensor:
    return compared(b, "LESS_EQUAL", *pair(node, b))


@lowers("Where")
def where(node: Node, b: Builder) -> Tensor:
    return b.select(node.input(0), node.input(1), node.input(2))


@lowers("IsNaN")
def is_nan(node: Node, b: Builder) -> Tensor:
    """What is not equal to itself."""
    x = node.input(0)
    if x.element is _F64:
        return b.compare("GREATER", _size_bits(b, x)[1], b.scalar(_INFINITY_BITS, _I64))
    return b.compare("NOT_EQUAL", x, x)


@lowers("IsInf")
def is_inf(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    positive, negative = bool(node.int_("detect_positive", 1)), bool(node.int_("detect_negative", 1))
    if not positive and not negative:
        return b.logical_not(b.compare("EQUAL", b.bitcast(x, _I64), b.bitcast(x, _I64)) if x.element is _F64 else
                             b.logical("LOGICAL_OR", b.compare("EQUAL", x, x), b.compare("NOT_EQUAL", x, x)))
    if x.element is _F64:
        bits, size = _size_bits(b, x)
        if positive and negative:
            return b.compare("EQUAL", size, b.scalar(_INFINITY_BITS, _I64))
        sign = 0 if positive else int(np.iinfo(np.int64).min)
        return b.compare("EQUAL", bits, b.scalar(_INFINITY_BITS + sign, _I64))
    infinity = b.scalar(float("inf" if positive else "-inf"), x)
    return b.compare("EQUAL", b.unary("ABS", x) if positive and negative else x, infinity)
