"""Normalizations: mean and variance taken out, scale and bias put on.

Computed in float32, whatever `stash_type` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import VALID
from fidelite.tflite.types import ElementType

_STASHED = {1: ElementType.FLOAT32, 10: ElementType.FLOAT16, 11: ElementType.FLOAT64, 16: ElementType.BFLOAT16}
_SMALLEST = float(np.finfo(np.float32).tiny)


def _nothing(x: Tensor, b: Builder, element: ElementType | None = None) -> Tensor | None:
    """An empty result for an empty input, which LiteRT's kernels do not take."""
    known = [d for d in x.shape if isinstance(d, int)]
    return b.constant(np.zeros(known, (element or x.element).dtype)) if 0 in known and len(known) == x.rank else None


def moments(x: Tensor, axes: Sequence[int], b: Builder) -> tuple[Tensor, Tensor, Tensor]:
    """x - mean, the mean and the variance, both with unit dimensions at `axes`."""
    mean = b.reduce("MEAN", x, axes, keep_dims=True)
    variance = b.reduce("MEAN", b.binary("SQUARED_DIFFERENCE", x, mean), axes, keep_dims=True)
    return b.sub(x, mean), mean, variance


def inverse_deviation(variance: Tensor, epsilon: float, b: Builder) -> Tensor:
    """1 / sqrt(variance + epsilon)"""
    return b.unary("RSQRT", b.add(variance, b.scalar(epsilon, variance)))


def _per_channel(parameter: Tensor, rank: int, b: Builder) -> Tensor:
    """[C] as float32 [1,C,1,...]."""
    return b.reshape(b.float32(parameter), (1, parameter.shape[0], *[1] * (rank - 2)) if rank > 1 else parameter.shape)


# -- BatchNormalization


@lowers("BatchNormalization", until=8, partial="training")
def batch_normalization_spatial(node: Node, b: Builder) -> Tensor:
    _refuse_training(node)
    if node.version < 7 and not node.int_("is_test", 0):
        raise UnsupportedAttribute("BatchNormalization before opset 7 without is_test is that of training",
                                   remedy="export the model in inference mode (model.eval())")
    x = node.input(0)
    if node.int_("spatial", 1):
        return _batch_normalized(node, b, lambda p: _per_channel(p, x.rank, b))
    return _batch_normalized(node, b, lambda p: b.reshape(b.float32(p), (1, *p.shape)))


@lowers("BatchNormalization", since=9, until=13, partial="training")
def batch_normalization(node: Node, b: Builder) -> Tensor:
    _refuse_training(node)
    return _batch_normalized(node, b, lambda p: _per_channel(p, node.input(0).rank, b))


@lowers("BatchNormalization", since=14)
def batch_normalization_with_mode(node: Node, b: Builder) -> Sequence[Tensor | None]:
    x = node.input(0)
    if not node.int_("training_mode", 0):
        return _batch_normalized(node, b, lambda p: _per_channel(p, x.rank, b)), None, None
    if (nothing := _nothing(x, b)) is not None:
        return nothing, None, None
    axes = [i for i in range(x.rank) if i != 1]
    centered, mean, variance = moments(b.float32(x), axes, b)
    scale, bias = (_per_channel(node.input(i), x.rank, b) for i in (1, 2))
    gain = b.mul(inverse_deviation(variance, node.float_("epsilon", 1e-5), b), scale)
    momentum = node.float_("momentum", 0.9)

    def running(old: Tensor, new: Tensor) -> Tensor:
        """old * momentum + new * (1 - momentum)"""
        flat = b.reshape(new, old.shape)
        kept = b.mul(b.float32(old), b.scalar(momentum, flat))
        return b.cast(b.add(kept, b.mul(flat, b.scalar(1 - momentum, flat))), old.element)

    return (b.cast(b.add(b.mul(centered, gain), bias), x.element), running(node.input(3), mean),
            running(node.input(4), variance))


def _refuse_training(node: Node) -> None:
    if any(node.output_names[1:]):
        raise UnsupportedAttribute(f"{node.op} with more than one result is that of training",
                                   remedy="export the model in inference mode (model.eval())")


def _batch_normalized(node: Node, b: Builder, shaped: Callable[[Tensor], Tensor]) -> Tensor:
    """x * gain + offset, with gain = scale / sqrt(var + epsilon) and offset = B - mean * gain in float64 where they
    are known when converting."""
    x = node.input(0)
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    operands = [node.input(i) for i in range(1, 5)]
    epsilon = node.float_("epsilon", 1e-5)
    if all(t.constant is not None for t in operands):
        scale, bias, mean, variance = (node.constant(i).astype(np.float64) for i in range(1, 5))
        exact = scale / np.sqrt(variance + epsilon)
        factors = [b.constant(a.astype(np.float32)) for a in (exact, bias - mean * exact)]
    else:
        scale, bias, mean, variance = (b.float32(t) for t in operands)
        gain = b.mul(scale, inverse_deviation(variance, epsilon, b))
        factors = [gain, b.sub(bias, b.mul(mean, gain))]
    multiplied = b.mul(b.float32(x), shaped(factors[0]))
    return b.cast(b.add(multiplied, shaped(factors[1])), x.element)


# -- over the trailing dimensions


@lowers("LayerNormalization")
def layer_normalization(node: Node, b: Builder) -> Sequence[Tensor | None]:
    x = node.input(0)
    axis, stashed = node.axis(x.rank, -1), _stashed(node)
    outer = (*x.shape[:axis], *[1] * (x.rank - axis))
    if (nothing := _nothing(x, b)) is not None:
        empty = b.constant(np.zeros([b.static_dim(d, "an empty mean") for d in outer], stashed.dtype))
        return nothing, empty, empty
    centered, mean, variance = moments(b.float32(x), range(axis, x.rank), b)
    inverse = inverse_deviation(variance, node.float_("epsilon", 1e-5), b)
    result = b.mul(b.mul(centered, inverse), b.float32(node.input(1)))
    if (bias := node.optional(2)) is not None:
        result = b.add(result, b.float32(bias))
    wanted = [*node.output_names, None, None]
    return (b.cast(result, x.element), b.cast(mean, stashed) if wanted[1] else None,
            b.cast(inverse, stashed) if wanted[2] else None)


def _stashed(node: Node) -> ElementType:
    stash = node.int_("stash_type", 1)
    if stash not in _STASHED:
        raise InvalidModel(f"stash_type {stash} is no floating-point type", remedy="export the model again")
    return _STASHED[stash]


@lowers("RMSNormalization", since=23)
def rms_normalization(node: Node, b: Builder) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * scale, in the type of scale."""
    x, scale = node.input(0), node.input(1)
    _stashed(node)
    if (nothing := _nothing(x, b, scale.element)) is not None:
        return nothing
    wide = b.float32(x)
    squares = b.reduce("MEAN", b.unary("SQUARE", wide), range(node.axis(x.rank, -1), x.rank), keep_dims=True)
    inverse = inverse_deviation(squares, node.float_("epsilon", 1e-5), b)
    return b.cast(b.mul(b.mul(wide, inverse), b.float32(scale)), scale.element)


# -- over the spatial dimensions


@lowers("InstanceNormalization", since=6)
def instance_normalization(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    centered, _, variance = moments(b.float32(x), range(2, x.rank), b)
    scale, bias = (_per_channel(node.input(i), x.rank, b) for i in (1, 2))
    gain = b.mul(inverse_deviation(variance, node.float_("epsilon", 1e-5), b), scale)
    return b.cast(b.add(b.mul(centered, gain), bias), x.element)


@lowers("GroupNormalization", since=18, until=20)
def group_normalization_by_groups(node: Node, b: Builder) -> Tensor:
    """Scale and bias [num_groups]."""
    return _group_normalized(node, 1, b)


@lowers("GroupNormalization", since=21)
def group_normalization(node: Node, b: Builder) -> Tensor:
    """Scale and bias [C]."""
    _stashed(node)
    channels = b.static_dim(node.input(0).shape[1], "the channels of GroupNormalization")
    return _group_normalized(node, channels // node.int_("num_groups"), b)


def _group_normalized(node: Node, parameters: int, b: Builder) -> Tensor:
    """Over [N,G,C/G,...]; each group has `parameters` scales and biases."""
    x, groups = node.input(0), node.int_("num_groups")
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    channels = b.static_dim(x.shape[1], "the channels of GroupNormalization")
    spatial = x.shape[2:] if x.rank <= 5 else (product(x.shape[2:]),)
    split = b.reshape(b.float32(x), (x.shape[0], groups, channels // groups, *spatial))
    centered, _, variance = moments(split, range(2, split.rank), b)
    scale, bias = (b.reshape(b.float32(node.input(i)), (1, groups, parameters, *[1] * len(spatial))) for i in (1, 2))
    gain = b.mul(inverse_deviation(variance, node.float_("epsilon", 1e-5), b), scale)
    return b.cast(b.reshape(b.add(b.mul(centered, gain), bias), x.shape), x.element)


@lowers("MeanVarianceNormalization", since=9)
def mean_variance_normalization(node: Node, b: Builder) -> Tensor:
    """(x - mean) / (standard deviation + 1e-9), after the operator's function body."""
    x = node.input(0)
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    axes = [node.normalized(a, x.rank) for a in node.ints("axes", (0, 2, 3))]
    centered, _, variance = moments(b.float32(x), axes, b)
    deviation = b.unary("SQRT", variance)
    return b.cast(b.div(centered, b.add(deviation, b.scalar(1e-9, deviation))), x.element)


@lowers("LpNormalization")
def lp_normalization(node: Node, b: Builder) -> Tensor:
    """x / norm along an axis; 0 where the norm is 0."""
    x, p = node.input(0), node.int_("p", 2)
    if p not in (1, 2):
        raise InvalidModel(f"LpNormalization with p = {p}: only 1 and 2 are defined", remedy="export the model again")
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    wide = b.float32(x)
    total = b.reduce("SUM", b.unary("ABS" if p == 1 else "SQUARE", wide), [node.axis(x.rank, -1)], keep_dims=True)
    norm = total if p == 1 else b.unary("SQRT", total)
    return b.cast(b.div(wide, b.maximum(norm, b.scalar(_SMALLEST, norm))), x.element)


# -- LRN


@lowers("LRN")
def lrn(node: Node, b: Builder) -> Tensor:
    """x / (bias + alpha / size * sum of squares over `size` channels)^beta; an even window reaches one further up.

    LiteRT's kernel sums over a window of 2 * radius + 1, and its alpha is not divided by it.
    """
    x, size = node.input(0), node.int_("size")
    alpha, beta, bias = node.float_("alpha", 1e-4), node.float_("beta", 0.75), node.float_("bias", 1.0)
    if (nothing := _nothing(x, b)) is not None:
        return nothing
    wide = b.float32(x)
    if size % 2 and x.rank == 4:
        last = b.channels_last(wide)
        result = b.one("LOCAL_RESPONSE_NORMALIZATION", [last], last.element, last.shape, radius=size // 2, bias=bias,
                       alpha=alpha / size, beta=beta)
        return b.cast(b.channels_first(result), x.element)
    base = b.mul(_channel_means(b.unary("SQUARE", wide), size, b), b.scalar(alpha, wide))
    base = b.add(base, b.scalar(bias, base))
    return b.cast(b.div(wide, b.binary("POW", base, b.scalar(beta, base))), x.element)


def _channel_means(x: Tensor, size: int, b: Builder) -> Tensor:
    """The sum over `size` channels around each, divided by `size`; channels that are not there count as 0."""
    before = (size - 1) // 2
    spatial: Dim = product(x.shape[2:])
    flat = b.reshape(x, (x.shape[0], x.shape[1], 1, spatial))
    padded = b.pad(flat, (0, before, 0, 0), (0, size - 1 - before, 0, 0))
    return b.reshape(b.pool_2d("AVERAGE_POOL_2D", padded, kernel=(size, 1), strides=(1, 1), padding=VALID), x.shape)
