"""DeformConv: a convolution whose taps are moved by offsets, as samples of the image times a matrix."""

from __future__ import annotations

from math import prod

import numpy as np

from fidelite.lower.matmul import matrices
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.sampling import Taps, weighed
from fidelite.lower.staged import Staged, Value
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor

_MARGIN = 2
"""Zeros around the image: samples are held within, where no element is in reach."""


@lowers("DeformConv", since=19, partial="dynamic sizes of images")
def deform_conv(node: Node, b: Builder) -> Tensor:
    """x [N, C, H, W], weights [M, C / group, kh, kw], offset [N, groups * kh * kw * 2, oh, ow] in y, x.

    Samples [N, oh * ow, kh * kw * C] are gathered for each group of offsets, and multiplied with the weights.
    """
    x, offset, mask = node.input(0), node.input(2), node.optional(4)
    weights, bias = b.float32(node.input(1)), node.optional(3)
    element, groups, sets = x.element, node.int_("group", 1), node.int_("offset_group", 1)
    kernel = b.static(weights, "DeformConv")[2:]
    sizes = [b.static_dim(d, "the size of an image in DeformConv") for d in x.shape[2:]]
    out = [b.static_dim(d, "the size of DeformConv's offsets") for d in offset.shape[2:]]
    n, channels = x.shape[0], b.static_dim(x.shape[1], "the channels of DeformConv")
    places, taps, each = prod(out), prod(kernel), channels // sets
    x = b.pad(b.channels_last(b.float32(x)), [0, _MARGIN, _MARGIN, 0], [0, _MARGIN, _MARGIN, 0])
    padded = [s + 2 * _MARGIN for s in sizes]
    s = Staged(b)
    moved = b.transpose(b.reshape(b.float32(offset), (n, sets, taps, 2, places)), (0, 1, 4, 2, 3))
    at = s.binary("ADD", b.reshape(moved, (n, sets, places * taps, 2)), _regular(node, kernel, out))
    at = s.clamp(at, -_MARGIN, np.asarray(sizes, np.float32))
    if mask is not None:
        mask = b.transpose(b.reshape(b.float32(mask), (n, sets, taps, places)), (0, 1, 3, 2))
        mask = b.reshape(mask, (n, sets, places * taps, 1))
    parts: list[Tensor] = []
    for g in range(sets):
        rows = b.slice(x, [0, 0, 0, g * each], [*x.shape[:3], each])
        found = weighed(s, b.reshape(rows, (n, prod(padded), each)), _around(s, _of_set(s, at, g)), padded)
        if mask is not None:
            found = b.mul(found, s.tensor(_of_set(s, mask, g)))
        parts.append(b.reshape(found, (n, places, taps, each)))
    samples = b.concat(parts, 3)
    result = _multiplied(b, samples, weights, groups, bias)
    return b.cast(b.channels_first(b.reshape(result, (n, *out, weights.shape[0]))), element)


def _regular(node: Node, kernel: tuple[int, ...], out: list[int]) -> np.ndarray:
    """Where the taps lie without offsets: float32 [places * taps, 2]."""
    strides, dilations = node.ints("strides", [1, 1]), node.ints("dilations", [1, 1])
    pads = node.ints("pads", [0, 0, 0, 0])
    along = [np.arange(out[a])[:, None] * strides[a] - pads[a] + np.arange(kernel[a]) * dilations[a] for a in (0, 1)]
    y, x = along[0][:, None, :, None], along[1][None, :, None, :]
    both = np.stack(np.broadcast_arrays(y, x), -1)
    return both.astype(np.float32).reshape(-1, 2)


def _of_set(s: Staged, x: Value, g: int) -> Value:
    """[N, sets, P, k] -> [N, P, k]."""
    tensor = s.tensor(x)
    n, _, places, last = tensor.shape
    return s.b.reshape(s.b.slice(tensor, [0, g, 0, 0], [n, 1, places, last]), (n, places, last))


def _around(s: Staged, at: Value) -> list[Taps]:
    """The two neighbours along each axis, counted in the padded image, with their weights."""
    low = s.unary("FLOOR", at)
    rest = s.binary("SUB", at, low)
    pairs = [(s.binary("ADD", low, _MARGIN), s.binary("SUB", 1, rest)), (s.binary("ADD", low, _MARGIN + 1), rest)]
    return [[(s.part(place, i), s.part(weight, i)) for place, weight in pairs] for i in (0, 1)]


def _multiplied(b: Builder, samples: Tensor, weights: Tensor, groups: int, bias: Tensor | None) -> Tensor:
    """samples [N, places, taps, C] times weights [M, C / groups, kh, kw] -> [N, places, M]."""
    n, places, taps, channels = samples.shape
    filters, width, *kernel = b.static(weights, "DeformConv")
    rows = b.reshape(b.transpose(b.reshape(weights, (filters, width, prod(kernel))), (0, 2, 1)),
                     (filters, prod(kernel) * width))
    each, results = filters // groups, list[Tensor]()
    b.static_dim(channels, "the channels of DeformConv")
    for g in range(groups):
        part = b.reshape(b.slice(samples, [0, 0, 0, g * width], [n, places, taps, width]),
                         (n, places, prod(kernel) * width))
        results.append(matrices(b, part, _rows(b, rows, g * each, each), adj_y=True))
    product = b.concat(results, 2)
    return product if bias is None else b.add(product, b.float32(bias))


def _rows(b: Builder, x: Tensor, first: int, count: int) -> Tensor:
    """`count` rows of a matrix; constants are cut when converting."""
    if x.constant is None:
        return b.slice(x, [first, 0], [count, x.shape[1]])
    return b.constant(np.ascontiguousarray(x.constant.numpy()[first:first + count]))
