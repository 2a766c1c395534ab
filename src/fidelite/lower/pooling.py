"""Pools: windows whose weights are fixed. LiteRT pools two axes of [N,H,W,C], and knows no dilation.

Every pool is separable, so three axes are pooled as two and one, and a dilated axis alone, as `dilation` interleaved
ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.windows import Window, read_window
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import SAME, VALID
from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class Axis:
    """A pool along one axis. Behind `after`, `extra` elements complete the last window (ceil_mode).

    `automatic`: the padding is SAME_UPPER's of a size that only the run time knows.
    """

    size: Dim
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    extra: int
    out: Dim
    automatic: bool = False

    @property
    def is_padded(self) -> bool:
        return bool(self.before or self.after or self.extra)

    @property
    def is_identity(self) -> bool:
        return self.kernel == self.stride == 1 and not self.is_padded

    @property
    def covers_all(self) -> bool:
        return self.size == self.kernel and self.out == 1 and not self.is_padded

    @property
    def is_same(self) -> bool:
        """Whether LiteRT's SAME puts every window at its place (what lies outside is ignored there)."""
        if self.automatic or self.dilation > 1:
            return self.automatic
        if not isinstance(self.size, int):
            return self.stride == 1 and self.before == (self.kernel - 1) // 2 and self.out == self.size
        out = -(-self.size // self.stride)
        total = max((out - 1) * self.stride + self.kernel - self.size, 0)
        return self.out == out and self.before == total // 2

    def counts(self, include_pad: bool) -> np.ndarray:
        """How many elements each window holds; those behind `after` never count."""
        assert isinstance(self.size, int)
        assert isinstance(self.out, int)
        taps = np.arange(self.out)[:, None] * self.stride + np.arange(self.kernel) * self.dilation - self.before
        first, last = (-self.before, self.size + self.after) if include_pad else (0, self.size)
        return ((taps >= first) & (taps < last)).sum(axis=1)


def _unit(size: Dim) -> Axis:
    return Axis(size, 1, 1, 1, 0, 0, 0, size)


def _read_axes(node: Node, x: Tensor, b: Builder) -> list[Axis]:
    """The pool per spatial axis. Raises for what LiteRT cannot do, and for windows that do not fit."""
    kernel = node.ints("kernel_shape")
    if len(kernel) != x.rank - 2:
        raise InvalidModel(f"{node.op} has a kernel of {len(kernel)} dimensions, and an input of {x.rank}",
                           remedy="export the model again")
    if len(kernel) > 3:
        raise UnsupportedAttribute(f"a pool over {len(kernel)} spatial dimensions has no LiteRT kernel",
                                   remedy="LiteRT pools over 1 to 3 spatial dimensions")
    window = read_window(node, kernel)
    if window.auto_pad.startswith("SAME") and any(d > 1 for d in window.dilations):
        raise UnsupportedAttribute("auto_pad together with dilations pads differently from runtime to runtime",
                                   remedy="give explicit pads in the model")
    return [_axis(window, i, size, bool(node.int_("ceil_mode", 0)), b) for i, size in enumerate(x.shape[2:])]


def _axis(window: Window, i: int, size: Dim, ceil: bool, b: Builder) -> Axis:
    kernel, stride, dilation, reach = window.kernel[i], window.strides[i], window.dilations[i], window.reach(i)
    pads = window.padding(i, size)
    if pads is None:
        if window.auto_pad != "SAME_UPPER":
            b.static_dim(size, f"an axis padded by auto_pad {window.auto_pad} with strides")
        return Axis(size, kernel, stride, 1, 0, 0, 0, (size + (stride - 1)) // stride, automatic=True)
    before, after = pads
    if not isinstance(size, int):
        extra = stride - 1 if ceil else 0
        if extra and after + extra >= reach:  # a window may start behind the input, which ONNX leaves out
            b.static_dim(size, "an axis pooled with ceil_mode and so much padding")
        out = (size + before + after + extra - reach) // stride + 1
        return Axis(size, kernel, stride, dilation, before, after, extra, out)
    room = size + before + after - reach
    steps = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (steps - 1) * stride >= size + before:
        steps -= 1
    if room < 0 and size and steps < 1:
        raise InvalidModel(f"a window that reaches over {reach} elements does not fit an axis of {size}",
                           remedy="export the model again, with a larger input")
    extra = max((steps - 1) * stride + reach - size - before - after, 0)
    return Axis(size, kernel, stride, dilation, before, after, extra, max(steps, 0))


# -- windows over a channels-last tensor


def _pool(op: str, x: Tensor, axes: Sequence[Axis], b: Builder, *, count_padding: bool = False) -> Tensor:
    """`op` over the spatial axes of a channels-first `x`, given per axis.

    MAX_POOL_2D ignores padding. AVERAGE_POOL_2D divides by the whole kernel with `count_padding`; without, by what
    lies inside where LiteRT's SAME fits, and by the whole kernel elsewhere (see `_corrections`).
    """
    last = b.channels_last(x)
    for first, second in _stages(axes):
        pair = (axes[first], _unit(product(last.shape[first + 2:-1])) if second is None else axes[second])
        channels = last.shape[-1]
        done = last.shape[:first + 1], last.shape[first + 2 if second is None else first + 3:-1]
        flat = b.reshape(last, (product(done[0]), pair[0].size, pair[1].size, channels))
        if pair[0].dilation > 1:
            flat = _dilated(op, flat, pair[0], b)
        else:
            flat = _pool_2d(op, flat, pair, b, _use_same(pair, count_padding))
        sizes = [pair[0].out] if second is None else [pair[0].out, pair[1].out]
        last = b.reshape(flat, (*done[0], *sizes, *done[1], channels))
    return b.channels_first(last)


def _stages(axes: Sequence[Axis]) -> list[tuple[int, int | None]]:
    """Which axes are pooled together: the last two if they can be, the others alone."""
    n = len(axes)
    todo = [i for i, a in enumerate(axes) if not a.is_identity]
    stages: list[tuple[int, int | None]] = []
    if n > 1 and all(a.dilation == 1 for a in axes[-2:]) and any(i >= n - 2 for i in todo):
        stages.append((n - 2, n - 1))
        todo = [i for i in todo if i < n - 2]
    return stages + [(i, None) for i in todo]


def _use_same(pair: Sequence[Axis], count_padding: bool) -> bool:
    if any(a.automatic for a in pair):
        return True
    return not count_padding and any(a.is_padded for a in pair) and all(a.is_same for a in pair)


def _pool_2d(op: str, x: Tensor, pair: Sequence[Axis], b: Builder, same: bool) -> Tensor:
    if not same:
        x = _pad(op, x, [(a.before, a.after + a.extra) for a in pair], b)
    return b.pool_2d(op, x, kernel=[a.kernel for a in pair], strides=[a.stride for a in pair],
                     padding=SAME if same else VALID)


def _pad(op: str, x: Tensor, widths: Sequence[tuple[int, int]], b: Builder) -> Tensor:
    """`x` [A,L,M,C] padded along L and M with what does not change the pool's result."""
    value = 0 if op != "MAX_POOL_2D" else -np.inf if x.element is ElementType.FLOAT32 else np.iinfo(x.element.dtype).min
    return b.pad(x, [0, *(w[0] for w in widths), 0], [0, *(w[1] for w in widths), 0], value)


def _dilated(op: str, x: Tensor, axis: Axis, b: Builder) -> Tensor:
    """Pool [A,L,M,C] along L: as [A,L/d,d*M,C] a window's elements are neighbours; all starts, then every stride-th."""
    d = axis.dilation
    size = b.static_dim(axis.size, "an axis pooled with dilation") + axis.before + axis.after + axis.extra
    x = _pad(op, x, [(axis.before, axis.after + axis.extra + -size % d), (0, 0)], b)
    lead, length, middle, channels = x.shape
    rows = int(b.static_dim(length, "a pooled axis")) // d
    x = b.pool_2d(op, b.reshape(x, (lead, rows, middle * d, channels)), kernel=(axis.kernel, 1), strides=(1, 1))
    x = b.reshape(x, (lead, (rows - axis.kernel + 1) * d, middle, channels))
    shape = (lead, axis.out, middle, channels)
    if axis.stride == 1:
        return b.slice(x, (0, 0, 0, 0), shape)
    end = (b.static_dim(axis.out, "a pooled axis") - 1) * axis.stride + 1
    return b.strided_slice(x, (0, 0, 0, 0), (0, end, 0, 0), (1, axis.stride, 1, 1), shape,
                           begin_mask=0b1101, end_mask=0b1101)


def _nothing(x: Tensor, axes: Sequence[Axis], b: Builder) -> Tensor | None:
    """The result where it has no elements (LiteRT's kernels do not take such shapes)."""
    shape = [d for d in (*x.shape[:2], *(a.out for a in axes)) if isinstance(d, int)]
    return b.constant(np.zeros(shape, x.element.dtype)) if 0 in shape and len(shape) == x.rank else None


# -- operators


@lowers("MaxPool", partial="auto_pad with dilations; Indices of float64; more than 3 spatial dimensions")
def max_pool(node: Node, b: Builder) -> Sequence[Tensor | None]:
    x = node.input(0)
    axes = _read_axes(node, x, b)
    with_indices = any(node.output_names[1:])
    if (nothing := _nothing(x, axes, b)) is not None:
        return nothing, b.cast(nothing, ElementType.INT64)
    if with_indices:
        return _max_pool_with_indices(x, axes, node.int_("storage_order", 0), b)
    spatial = range(2, x.rank)
    if all(a.covers_all for a in axes):
        return b.reduce("REDUCE_MAX", x, spatial, keep_dims=True), None
    wide = x if x.element in (ElementType.INT8, ElementType.UINT8) else b.float32(x)
    return b.cast(_pool("MAX_POOL_2D", wide, axes, b), x.element), None


def _max_pool_with_indices(x: Tensor, axes: Sequence[Axis], storage_order: int, b: Builder) -> tuple[Tensor, Tensor]:
    """The maxima and where they lie in the flattened input (the first one where several are equal).

    Patches are gathered; an element of a patch that lies in the padding is a copy of the patch's first that does not.
    """
    if x.element is ElementType.FLOAT64:
        raise UnsupportedType("the Indices of a float64 MaxPool cannot be told in float32",
                              remedy="use float32 in the model")
    n, c, *sizes = b.static(x, "MaxPool with Indices")
    outs = [b.static_dim(a.out, "MaxPool with Indices") for a in axes]
    windows, taps = prod(outs), prod(a.kernel for a in axes)
    places, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    stored = places
    strides = [prod(sizes[i + 1:]) if storage_order == 0 else prod(sizes[:i]) for i in range(len(axes))]
    for i, axis in enumerate(axes):
        at = np.arange(outs[i])[:, None] * axis.stride + np.arange(axis.kernel) * axis.dilation - axis.before
        places, inside, stored = (
            f(old[:, None, :, None], new[None, :, None, :]).reshape(old.shape[0] * outs[i], -1)
            for f, old, new in ((np.add, places, at * prod(sizes[i + 1:])),
                                (np.logical_and, inside, (at >= 0) & (at < sizes[i])),
                                (np.add, stored, at * strides[i])))
    if not inside.any(axis=1).all():
        raise UnsupportedAttribute("a window of MaxPool lies in the padding altogether", remedy="use less padding")
    first = inside.argmax(axis=1)[:, None]
    places, stored = (np.where(inside, t, np.take_along_axis(t, first, 1)) for t in (places, stored))
    wide = b.cast(x, b.compute_type("ARG_MAX", x.element))
    flat = b.reshape(wide, (n, c, prod(sizes)))
    patches = b.reshape(b.gather(flat, b.int32(places.reshape(-1).tolist()), 2), (n, c, windows, taps))
    values = b.reshape(b.reduce("REDUCE_MAX", patches, [3], keep_dims=False), (n, c, *outs))
    best = b.add(b.arg("ARG_MAX", patches, 3, ElementType.INT32), b.int32((np.arange(windows) * taps).tolist()))
    found = b.cast(b.gather(b.int32(stored.reshape(-1).tolist()), best, 0), ElementType.INT64)
    planes = b.constant(np.arange(n * c, dtype=np.int64).reshape(n, c, 1) * prod(sizes))
    return b.cast(values, x.element), b.reshape(b.add(found, planes), (n, c, *outs))


@lowers("MaxUnpool", since=9, partial="an output_shape other than the one that the window gives")
def max_unpool(node: Node, b: Builder) -> Tensor:
    """Zeros, with the elements of X put at the flat indices I of the result."""
    x, indices = node.input(0), node.input(1)
    n, c, *sizes = b.static(x, "MaxUnpool")
    window = read_window(node, node.ints("kernel_shape"))
    shape = [n, c, *((size - 1) * window.strides[i] + window.kernel[i] - window.before[i] - window.after[i]
                     for i, size in enumerate(sizes))]
    if node.optional(2) is not None and node.dims_at(2, "the output_shape") != shape:
        raise UnsupportedAttribute("the indices of a MaxUnpool with an output_shape of its own differ in meaning from "
                                   "runtime to runtime", remedy="leave output_shape out, and pad the result")
    zeros = b.constant(np.zeros(prod(shape), x.element.dtype))
    if 0 in x.shape:
        return b.reshape(zeros, shape)
    count = prod(b.static(x, "MaxUnpool"))
    return b.reshape(b.scatter(zeros, b.reshape(indices, (count, 1)), b.reshape(x, (count,))), shape)


@lowers("AveragePool", partial="auto_pad with dilations; more than 3 spatial dimensions")
def average_pool(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    axes = _read_axes(node, x, b)
    if (nothing := _nothing(x, axes, b)) is not None:
        return nothing
    if all(a.covers_all for a in axes):
        return b.reduce("MEAN", x, range(2, x.rank), keep_dims=True)
    include = bool(node.int_("count_include_pad", 0))
    if include:
        for a in axes:
            if a.automatic:
                b.static_dim(a.size, "an axis padded by auto_pad that counts its padding")
    result = _pool("AVERAGE_POOL_2D", b.float32(x), axes, b, count_padding=include)
    return b.cast(_corrected(result, axes, include, b), x.element)


def _corrected(result: Tensor, axes: Sequence[Axis], include: bool, b: Builder) -> Tensor:
    """Sums that were divided by the whole kernel, divided by each window's own count instead."""
    wrong: set[int] = set()
    for first, second in _stages(axes):
        pair = (axes[first], _unit(1) if second is None else axes[second])
        if pair[0].dilation > 1 or not _use_same(pair, include):
            wrong |= {i for i in (first, second) if i is not None and (
                axes[i].extra or (axes[i].is_padded and not include))}
    if not wrong:
        return result
    if not all(isinstance(axes[i].size, int) for i in wrong):
        return b.div(result, _shares(axes, wrong, include, b))
    factor = np.ones((1,) * len(axes))
    for i in wrong:
        factor = factor * (axes[i].kernel / axes[i].counts(include)).reshape(
            [-1 if j == i else 1 for j in range(len(axes))])
    return result if (factor == 1).all() else b.mul(result, b.constant(factor[None, None].astype(np.float32)))


def _shares(axes: Sequence[Axis], wrong: set[int], include: bool, b: Builder) -> Tensor:
    """The share of each window that counts: the same pool over ones, where only the run time knows the sizes."""
    mine = [a if i in wrong else _unit(1) for i, a in enumerate(axes)]
    if include:
        mine = [replace(a, size=a.size + (a.before + a.after), before=0, after=0) for a in mine]
    shape = (1, 1, *(a.size for a in mine))
    ones = b.fill(b.shape_operand(shape), b.scalar(1.0, ElementType.FLOAT32), shape)
    return _pool("AVERAGE_POOL_2D", ones, mine, b, count_padding=True)


@lowers("LpPool", since=2, partial="auto_pad with dilations; more than 3 spatial dimensions")
def lp_pool(node: Node, b: Builder) -> Tensor:
    """(sum |x|^p)^(1/p) over each window; padding adds nothing."""
    x = node.input(0)
    axes = _read_axes(node, x, b)
    if (nothing := _nothing(x, axes, b)) is not None:
        return nothing
    for a in axes:
        if a.automatic:
            b.static_dim(a.size, "an axis of LpPool padded by auto_pad")
    p = _exponent(node)
    means = _pool("AVERAGE_POOL_2D", _power(b.float32(x), p, b), axes, b, count_padding=True)
    taps = prod(a.kernel for a in axes)
    return b.cast(_root(b.mul(means, b.scalar(taps, means)) if taps > 1 else means, p, b), x.element)


def _exponent(node: Node) -> int:
    p = node.int_("p", 2)
    if p < 1:
        raise UnsupportedAttribute(f"{node.op} with p = {p} is no norm", remedy="use a p of 1 or more")
    return p


def _power(x: Tensor, p: int, b: Builder) -> Tensor:
    """|x|^p"""
    if p == 2:
        return b.unary("SQUARE", x)
    positive = b.unary("ABS", x)
    return positive if p == 1 else b.binary("POW", positive, b.scalar(p, x))


def _root(x: Tensor, p: int, b: Builder) -> Tensor:
    """x^(1/p) for x >= 0"""
    if p == 2:
        return b.unary("SQRT", x)
    return x if p == 1 else b.binary("POW", x, b.scalar(1 / p, x))


@lowers("GlobalAveragePool")
def global_average_pool(node: Node, b: Builder) -> Tensor:
    return _global("MEAN", node.input(0), b)


@lowers("GlobalMaxPool")
def global_max_pool(node: Node, b: Builder) -> Tensor:
    return _global("REDUCE_MAX", node.input(0), b)


@lowers("GlobalLpPool", since=2)
def global_lp_pool(node: Node, b: Builder) -> Tensor:
    x, p = node.input(0), _exponent(node)
    total = _global("SUM", _power(b.float32(x), p, b), b)
    return b.cast(_root(total, p, b), x.element)


def _global(op: str, x: Tensor, b: Builder) -> Tensor:
    if 0 in x.shape[:2]:
        return b.constant(np.zeros([*b.static(x, op)[:2], *[1] * (x.rank - 2)], x.element.dtype))
    if 0 in x.shape[2:]:
        raise InvalidModel(f"a global pool over the empty shape {x.shape}", remedy="use a larger input")
    return b.reduce(op, x, range(2, x.rank), keep_dims=True)
