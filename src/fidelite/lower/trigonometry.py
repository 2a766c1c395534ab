"""Trigonometric and hyperbolic functions. Their errors are stated in `functions`."""

from __future__ import annotations

import numpy as np

from fidelite.lower import functions
from fidelite.lower.functions import in_float32, plus, times
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("Sin")
def sin(node: Node, b: Builder) -> Tensor:
    return b.unary("SIN", node.input(0))


@lowers("Cos")
def cos(node: Node, b: Builder) -> Tensor:
    return b.unary("COS", node.input(0))


@lowers("Tan")
def tan(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: functions.tan(b, x))


@lowers("Asin")
def asin(node: Node, b: Builder) -> Tensor:
    """The angle of (sqrt(1 - x^2), x)."""
    return in_float32(node.input(0), b, lambda x: functions.atan2(b, x, functions.cosine_of_angle(b, x)))


@lowers("Acos")
def acos(node: Node, b: Builder) -> Tensor:
    """The angle of (x, sqrt(1 - x^2))."""
    return in_float32(node.input(0), b, lambda x: functions.atan2(b, functions.cosine_of_angle(b, x), x))


@lowers("Atan")
def atan(node: Node, b: Builder) -> Tensor:
    """The angle of (1, x)."""

    def build(x: Tensor) -> Tensor:
        one = b.fill(b.shape_operand(x.shape), b.constant(np.asarray(1.0, np.float32)), x.shape)
        return functions.atan2(b, x, one)

    return in_float32(node.input(0), b, build)


@lowers("Sinh")
def sinh(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: functions.sinh(b, x))


@lowers("Cosh")
def cosh(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: functions.cosh(b, x))


@lowers("Asinh")
def asinh(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: functions.asinh(b, x))


@lowers("Acosh")
def acosh(node: Node, b: Builder) -> Tensor:
    """2 asinh(sqrt((x - 1) / 2)), which is NaN below 1 and does not overflow."""

    def build(x: Tensor) -> Tensor:
        half = times(b, plus(b, x, -1.0), 0.5)
        return times(b, functions.asinh(b, b.unary("SQRT", half)), 2.0)

    return in_float32(node.input(0), b, build)


@lowers("Atanh")
def atanh(node: Node, b: Builder) -> Tensor:
    """asinh(x / sqrt(1 - x^2))."""
    return in_float32(node.input(0), b,
                      lambda x: functions.asinh(b, b.div(x, functions.cosine_of_angle(b, x))))
