"""Activations: functions of one element (and of constants, or a slope)."""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.functions import erf as erf_of
from fidelite.lower.functions import in_float32, plus, times
from fidelite.lower.functions import softplus as softplus_of
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS


@lowers("Relu")
def relu(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    return b.relu(x) if x.element.is_float else b.maximum(b.scalar(0, x), x)


@lowers("LeakyRelu")
def leaky_relu(node: Node, b: Builder) -> Tensor:
    """x where x >= 0, else alpha x."""
    return b.leaky_relu(node.input(0), node.float_("alpha", 0.01))


@lowers("PRelu", since=7)
def prelu(node: Node, b: Builder) -> Tensor:
    """x where x >= 0, else slope x; the slope broadcasts to x's shape."""
    x, slope = node.input(0), node.input(1)
    if x.element.is_float:
        return b.prelu(x, slope)
    return b.select(b.compare("LESS", x, b.scalar(0, x)), b.mul(x, slope), x)


@lowers("PRelu", until=6)
def prelu_along_channels(node: Node, b: Builder) -> Tensor:
    """As `prelu`, where a slope of one dimension lies along x's second axis."""
    x, slope = node.input(0), node.input(1)
    if slope.rank == 1 and x.rank > 1 and slope.shape != (1,):
        slope = b.reshape(slope, (slope.shape[0],) + (1,) * (x.rank - 2))
    return b.prelu(x, slope)


@lowers("ThresholdedRelu")
def thresholded_relu(node: Node, b: Builder) -> Tensor:
    """x where x > alpha, else 0."""
    x = node.input(0)
    above = b.compare("GREATER", x, b.scalar(node.float_("alpha", 1.0), x))
    return b.select(above, x, b.scalar(0, x))


def _exponential(b: Builder, x: Tensor, positive: float, negative: float, scale: float = 1.0) -> Tensor:
    """positive x where x >= 0, else negative (e^(x / scale) - 1)."""
    if positive == negative == scale == 1.0:
        return b.unary("ELU", x)
    below = times(b, b.minimum(b.scalar(0.0, x), x), 1.0 / scale)
    return b.add(times(b, b.relu(x), positive), times(b, b.unary("ELU", below), negative))


@lowers("Elu")
def elu(node: Node, b: Builder) -> Tensor:
    """x where x >= 0, else alpha (e^x - 1)."""
    alpha = node.float_("alpha", 1.0)
    return in_float32(node.input(0), b, lambda x: _exponential(b, x, 1.0, alpha))


@lowers("Selu")
def selu(node: Node, b: Builder) -> Tensor:
    """gamma x where x > 0, else gamma (alpha e^x - alpha)."""
    legacy = node.version < 6
    alpha = node.float_("alpha", 1.6732 if legacy else 1.67326319217681884765625)
    gamma = node.float_("gamma", 1.0507 if legacy else 1.05070102214813232421875)
    return in_float32(node.input(0), b, lambda x: _exponential(b, x, gamma, alpha * gamma))


@lowers("Celu", partial="alpha must be positive")
def celu(node: Node, b: Builder) -> Tensor:
    """x where x >= 0, else alpha (e^(x / alpha) - 1)."""
    alpha = node.float_("alpha", 1.0)
    if alpha <= 0.0:
        raise UnsupportedAttribute(f"Celu with alpha {alpha} grows without bound below 0, and divides by zero at 0",
                                   remedy="use a positive alpha")
    return in_float32(node.input(0), b, lambda x: _exponential(b, x, 1.0, alpha, alpha))


@lowers("Sigmoid")
def sigmoid(node: Node, b: Builder) -> Tensor:
    return b.logistic(node.input(0))


@lowers("Tanh")
def tanh(node: Node, b: Builder) -> Tensor:
    return b.unary("TANH", node.input(0))


@lowers("HardSigmoid")
def hard_sigmoid(node: Node, b: Builder) -> Tensor:
    """max(0, min(1, alpha x + beta)): relu6(x + 3) / 6 where it is that, else two clamps that XNNPACK takes."""
    alpha, beta = node.float_("alpha", 0.2), node.float_("beta", 0.5)

    def build(x: Tensor) -> Tensor:
        if abs(alpha * 6.0 - 1.0) < 1e-6 and beta == 0.5:
            return times(b, _add_fused(b, x, 3.0, "RELU6"), 1.0 / 6.0)
        return b.relu(_add_fused(b, times(b, x, alpha), beta, "RELU_N1_TO_1"))

    return in_float32(node.input(0), b, build)


def _add_fused(b: Builder, x: Tensor, term: float, activation: str) -> Tensor:
    return b.binary("ADD", x, b.scalar(term, x), fusedActivationFunction=FUSED_ACTIVATIONS[activation])


@lowers("HardSwish")
def hard_swish(node: Node, b: Builder) -> Tensor:
    """x max(0, min(1, x / 6 + 1/2))."""
    return b.unary("HARD_SWISH", node.input(0))


@lowers("Softplus")
def softplus(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: softplus_of(b, x))


@lowers("Softsign")
def softsign(node: Node, b: Builder) -> Tensor:
    """x / (1 + |x|)."""
    return in_float32(node.input(0), b, lambda x: b.div(x, plus(b, b.unary("ABS", x), 1.0)))


@lowers("Mish")
def mish(node: Node, b: Builder) -> Tensor:
    """x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2), which is 1 in float32 long before x = 20."""

    def build(x: Tensor) -> Tensor:
        e = b.unary("EXP", b.minimum(b.scalar(20.0, x), x))
        n = b.mul(e, plus(b, e, 2.0))
        return b.mul(b.div(n, plus(b, n, 2.0)), x)

    return in_float32(node.input(0), b, build)


@lowers("Swish")
def swish(node: Node, b: Builder) -> Tensor:
    """x sigmoid(alpha x)."""
    alpha = node.float_("alpha", 1.0)
    return in_float32(node.input(0), b, lambda x: b.mul(b.logistic(times(b, x, alpha)), x))


@lowers("Gelu")
def gelu(node: Node, b: Builder) -> Tensor:
    """x Phi(x), or with tanh for Phi: within 8e-7 of the true value, in absolute terms."""
    approximate = node.str_("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise UnsupportedAttribute(f"Gelu with the approximation '{approximate}' is not in the standard",
                                   remedy="use 'none' or 'tanh'")
    return b.gelu(node.input(0), approximate=approximate == "tanh")


@lowers("Erf")
def erf(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: erf_of(b, x))


@lowers("Shrink", partial="integers with a bias that is no integer")
def shrink(node: Node, b: Builder) -> Tensor:
    """x + bias where x < -lambd, x - bias where x > lambd, else 0."""
    x = node.input(0)
    lambd, bias = node.float_("lambd", 0.5), node.float_("bias", 0.0)
    if x.element.is_float:
        return in_float32(x, b, lambda y: _shrunk(b, y, -lambd, lambd, bias))
    if not bias.is_integer():
        raise UnsupportedAttribute("Shrink of integers with a bias that is no integer", remedy="use a float type")
    return _shrunk(b, x, ceil(-lambd), floor(lambd), int(bias))


def _shrunk(b: Builder, x: Tensor, low: float, high: float, bias: float) -> Tensor:
    result = b.mul(x, b.scalar(0, x)) if not x.element.is_float else b.scalar(0, x)
    for op, limit, term in (("LESS", low, bias), ("GREATER", high, -bias)):
        info = None if x.element.is_float else np.iinfo(x.element.dtype)
        if info is None or info.min <= limit <= info.max:
            beyond = b.compare(op, x, b.scalar(limit, x))
            result = b.select(beyond, _shifted(b, x, term), result)
        elif (limit > info.max) == (op == "LESS"):  # all are beyond
            result = _shifted(b, x, term)
    return result


def _shifted(b: Builder, x: Tensor, term: float) -> Tensor:
    if not term:
        return x
    value = term if x.element.is_float else int(term) % (1 << x.element.bits)
    return b.add(x, b.constant(np.asarray(value, x.element.dtype) if x.element.is_float else
                               np.asarray(value, f"uint{x.element.bits}").view(x.element.dtype)))
