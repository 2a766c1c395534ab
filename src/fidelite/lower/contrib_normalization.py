"""ONNX Runtime's own normalizations: with what is added before, and without a mean.

Computed in float32. Sources: ONNX Runtime, ContribOperators.md; SimplifiedLayerNormalization stands in its schemas
of the standard's domain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.node import Node
from fidelite.lower.normalization import inverse_deviation, moments
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


def _normalized(b: Builder, x: Tensor, axis: int, gamma: Tensor, beta: Tensor | None, epsilon: float, *,
                has_mean: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """x (float32) normalized over the axes from `axis` on, 1 / deviation, and the mean."""
    axes = range(axis, x.rank)
    if has_mean:
        x, mean, variance = moments(x, axes, b)
    else:
        mean, variance = None, b.reduce("MEAN", b.unary("SQUARE", x), axes, keep_dims=True)
    inverse = inverse_deviation(variance, epsilon, b)
    result = b.mul(b.mul(x, inverse), b.float32(gamma))
    return result if beta is None else b.add(result, b.float32(beta)), inverse, mean


@lowers("SimplifiedLayerNormalization")
def simplified_layer_normalization(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """x / sqrt(mean(x^2) + epsilon) * scale."""
    x, scale = node.input(0), node.input(1)
    result, inverse, _ = _normalized(b, b.float32(x), node.axis(x.rank, -1), scale, None,
                                     node.float_("epsilon", 1e-5), has_mean=False)
    return b.cast(result, scale.element), inverse if node.wants(1) else None


@lowers("SkipLayerNormalization", domain=DOMAIN)
def skip_layer_normalization(node: Node, b: Builder) -> Sequence[Tensor | None]:
    return _skip(node, b, node.optional(3), node.optional(4), has_mean=True)


@lowers("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_simplified_layer_normalization(node: Node, b: Builder) -> Sequence[Tensor | None]:
    return _skip(node, b, None, node.optional(3), has_mean=False)


def _skip(node: Node, b: Builder, beta: Tensor | None, bias: Tensor | None, *,
          has_mean: bool) -> Sequence[Tensor | None]:
    """The sum of input, skip and bias, normalized over the last axis; the sum itself is the fourth result."""
    x = node.input(0)
    total = b.add(b.float32(x), b.float32(node.input(1)))
    if bias is not None:
        total = b.add(total, b.float32(bias))
    result, inverse, mean = _normalized(b, total, total.rank - 1, node.input(2), beta, node.float_("epsilon", 1e-12),
                                        has_mean=has_mean)
    return (b.cast(result, x.element), mean if node.wants(1) else None, inverse if node.wants(2) else None,
            b.cast(total, x.element))


@lowers("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_normalization(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """Embeddings of words, positions and (optional) segments added, then normalized; the number of words in each row
    of the mask; the sum before the normalization."""
    ids, segments, word, position = node.input(0), node.optional(1), node.input(2), node.input(3)
    rows, length = ids.shape
    if (places := node.optional(8)) is None:
        size = b.static_dim(length, "the number of words of an embedding without positions")
        places = b.constant(np.arange(size, dtype=np.int32)[None])
    total = b.add(b.float32(b.gather(word, ids, 0)), b.float32(b.gather(position, places, 0)))
    if segments is not None and (table := node.optional(4)) is not None:
        total = b.add(total, b.float32(b.gather(table, segments, 0)))
    result, _, _ = _normalized(b, total, 2, node.input(5), node.input(6), node.float_("epsilon", 1e-12), has_mean=True)
    mask = node.optional(7)
    if mask is None:
        count = b.constant(np.zeros(1, np.int32))
        index = b.broadcast_to(count, (rows,))
    else:
        index = b.reduce("SUM", b.cast(mask, ElementType.INT32), [1], keep_dims=False)
    return b.cast(result, word.element), index, b.cast(total, word.element)
