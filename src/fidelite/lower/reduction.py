"""Reductions. Axes are an attribute, or an operand in newer schema versions; none at all means every axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from fidelite.errors import NeedsConstant, UnsupportedType
from fidelite.lower import functions, integers
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Shape, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import max_rank
from fidelite.tflite.types import ElementType

_BOOL, _F32, _I64, _U64 = ElementType.BOOL, ElementType.FLOAT32, ElementType.INT64, ElementType.UINT64


@dataclass(frozen=True)
class Reduction:
    """What a node reduces over. `axes` is None where only the run time knows them (then `operand` holds them)."""

    b: Builder
    axes: tuple[int, ...] | None
    operand: Tensor | None
    keep_dims: bool

    def __call__(self, op: str, x: Tensor, keep_dims: bool | None = None) -> Tensor:
        keep = self.keep_dims if keep_dims is None else keep_dims
        if self.axes is None:
            return self._at_run_time(op, x, keep)
        return reduced(self.b, op, x, self.axes, keep)

    def count(self, x: Tensor) -> int:
        """How many elements each result is made of."""
        if self.axes is None:
            raise NeedsConstant("the mean of integers needs axes that are known when converting",
                                remedy="make the axes an initializer in the model")
        return prod(self.b.static_dim(x.shape[a], "the mean of integers") for a in self.axes)

    def _at_run_time(self, op: str, x: Tensor, keep: bool) -> Tensor:
        assert self.operand is not None
        count = self.b.static_dim(self.operand.shape[0], "the number of axes")
        if x.rank > max_rank(op):
            raise NeedsConstant(f"LiteRT reduces {max_rank(op)} dimensions at most, and merging {x.rank} needs "
                                "axes that are known when converting",
                                remedy="make the axes an initializer in the model")
        wide = self.b.compute_type(op, x.element)
        axes = self.b.cast(self.operand, ElementType.INT32)
        result = self.b.one(op, [self.b.cast(x, wide), axes], wide, (), keepDims=keep)
        rank = x.rank if keep else x.rank - count
        return self.b.cast(self.b.sized_at_run_time(result, [None] * rank), x.element)


def reduced(b: Builder, op: str, x: Tensor, axes: Sequence[int], keep_dims: bool) -> Tensor:
    """`b.reduce` of any rank: neighbouring axes of one fate are merged where there are too many."""
    if not axes or x.rank <= max_rank(op):
        return b.reduce(op, x, axes, keep_dims=keep_dims)
    fates = [axis in axes for axis in range(x.rank)]
    groups: list[list[int]] = []
    for axis in range(x.rank):
        if groups and fates[groups[-1][-1]] == fates[axis]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) > max_rank(op):
        x, groups = b.transpose(x, sorted(range(x.rank), key=lambda a: fates[a])), [
            [a for a in range(x.rank) if not fates[a]], [a for a in range(x.rank) if fates[a]]]
        sizes: list[Shape] = [x.shape[:len(groups[0])], x.shape[len(groups[0]):]]
    else:
        sizes = [tuple(x.shape[a] for a in group) for group in groups]
    order = [a for group in groups for a in group]
    shape = dict(zip(order, x.shape, strict=True))
    flat = b.reshape(x, [product(size) for size in sizes])
    result = b.reduce(op, flat, [i for i, group in enumerate(groups) if fates[group[0]]], keep_dims=False)
    return b.reshape(result, [1 if fates[a] else shape[a] for a in sorted(order) if keep_dims or not fates[a]])


Build = Callable[[Builder, Tensor, Reduction], Tensor]


def _lowered(node: Node, b: Builder, empty: float | None, build: Build) -> Tensor:
    """`build` on the node's operand; `empty` is what reducing no elements gives (None: an error in the model)."""
    x = node.input(0)
    reduction = _reduction(node, b, x)
    axes = reduction.axes
    if axes is not None and x.is_static and 0 in x.shape:
        shape = tuple(1 if i in axes else d for i, d in enumerate(x.static_shape)
                      if reduction.keep_dims or i not in axes)
        if 0 in shape or empty is not None:
            return b.constant(np.full(shape, _limited(empty or 0.0, x.element), x.element.dtype))
    if axes is None and 0 in x.shape:
        return _of_nothing(b, x, reduction, empty)
    return build(b, x, reduction)


def _of_nothing(b: Builder, x: Tensor, reduction: Reduction, empty: float | None) -> Tensor:
    """What reducing an empty tensor gives where only the run time knows the axes: every element is `empty`."""
    if empty is None:
        raise NeedsConstant("this reduction of an empty tensor needs axes that are known when converting",
                            remedy="make the axes an initializer in the model")
    zeros = reduction("SUM", b.bitcast(x, _I64) if x.element is _U64 else b.cast(x, ElementType.INT32))
    value = _limited(empty, x.element)
    if x.element is _BOOL:
        return b.compare("EQUAL" if value else "NOT_EQUAL", zeros, b.scalar(0, zeros))
    zeros = b.bitcast(zeros, _U64) if x.element is _U64 else b.cast(zeros, x.element)
    return b.add(zeros, b.scalar(value, x))


def _limited(value: float, element: ElementType) -> float | int | bool:
    """Infinities as the type's limits."""
    if element.is_float or value not in (inf, -inf):
        return value
    if element is _BOOL:
        return value > 0
    info = np.iinfo(element.dtype)
    return int(info.max if value > 0 else info.min)


def _reduction(node: Node, b: Builder, x: Tensor) -> Reduction:
    keep = bool(node.int_("keepdims", 1))
    operand = node.optional(1)
    if operand is not None and operand.constant is None and operand.shape != (0,):
        return Reduction(b, None, operand, keep)
    known = None if operand is not None and operand.constant is None else node.axes_operand_or_attribute(1, x.rank)
    if not known and not node.int_("noop_with_empty_axes", 0):
        known = list(range(x.rank))
    return Reduction(b, tuple(sorted(set(known or ()))), None, keep)


def _through_int64(b: Builder, x: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
    """uint64 as int64's bits, which sums and products do not tell apart."""
    return b.bitcast(build(b.bitcast(x, _I64)), _U64) if x.element is _U64 else build(x)


def _sum(b: Builder, x: Tensor, r: Reduction) -> Tensor:
    return _through_int64(b, x, lambda y: r("SUM", y))


@lowers("ReduceSum")
def reduce_sum(node: Node, b: Builder) -> Tensor:
    return _lowered(node, b, 0.0, _sum)


@lowers("ReduceProd")
def reduce_prod(node: Node, b: Builder) -> Tensor:
    return _lowered(node, b, 1.0, lambda b, x, r: _through_int64(b, x, lambda y: r("REDUCE_PROD", y)))


@lowers("ReduceMean", partial="integers with axes or sizes known only at run time")
def reduce_mean(node: Node, b: Builder) -> Tensor:
    """The mean; of integers, the sum's quotient towards zero; of nothing, 0 (as ONNX Runtime has it)."""

    def build(b: Builder, x: Tensor, r: Reduction) -> Tensor:
        if x.element.is_float:
            return r("MEAN", x)
        return integers.quotient(b, _sum(b, x, r), b.scalar(r.count(x), x))

    return _lowered(node, b, 0.0 if node.input(0).element.is_float else None, build)


@lowers("ReduceMax")
def reduce_max(node: Node, b: Builder) -> Tensor:
    return _lowered(node, b, -inf, lambda b, x, r: _extreme(b, x, r, "REDUCE_MAX", "REDUCE_ANY"))


@lowers("ReduceMin")
def reduce_min(node: Node, b: Builder) -> Tensor:
    return _lowered(node, b, inf, lambda b, x, r: _extreme(b, x, r, "REDUCE_MIN", "REDUCE_ALL"))


def _extreme(b: Builder, x: Tensor, r: Reduction, op: str, logical: str) -> Tensor:
    if x.element is _U64:
        return b.from_ordered(r(op, b.ordered(x)), _U64)
    return r(logical if x.element is _BOOL else op, x)


@lowers("ReduceL1")
def reduce_l1(node: Node, b: Builder) -> Tensor:
    """The sum of absolute values."""

    def build(b: Builder, x: Tensor, r: Reduction) -> Tensor:
        if x.element is _I64:
            x = b.maximum(x, b.unary("NEG", x))
        elif x.element.is_float or x.element.is_signed_integer:
            x = b.unary("ABS", x)
        return _sum(b, x, r)

    return _lowered(node, b, 0.0, build)


def _square(b: Builder, x: Tensor) -> Tensor:
    return b.unary("SQUARE", x) if x.element.is_float else b.mul(x, x)


@lowers("ReduceSumSquare")
def reduce_sum_square(node: Node, b: Builder) -> Tensor:
    return _lowered(node, b, 0.0, lambda b, x, r: _in_float32(b, x, lambda y: _sum(b, _square(b, y), r)))


@lowers("ReduceL2")
def reduce_l2(node: Node, b: Builder) -> Tensor:
    """The root of the sum of squares; of integers, without its fraction."""

    def build(b: Builder, x: Tensor, r: Reduction) -> Tensor:
        if x.element.is_float:
            return _in_float32(b, x, lambda y: b.unary("SQRT", _sum(b, _square(b, y), r)))
        return integers.root(b, _sum(b, _square(b, x), r))

    return _lowered(node, b, 0.0, build)


def _in_float32(b: Builder, x: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
    return functions.in_float32(x, b, build) if x.element.is_float else build(x)


@lowers("ReduceLogSum")
def reduce_log_sum(node: Node, b: Builder) -> Tensor:
    """The logarithm of the sum; of integers, without its fraction."""

    def build(b: Builder, x: Tensor, r: Reduction) -> Tensor:
        if x.element.is_float:
            return functions.in_float32(x, b, lambda y: b.unary("LOG", r("SUM", y)))
        return integers.logarithm(b, _sum(b, x, r))

    return _lowered(node, b, -inf if node.input(0).element.is_float else None, build)


@lowers("ReduceLogSumExp", partial="integers")
def reduce_log_sum_exp(node: Node, b: Builder) -> Tensor:
    """m + ln(sum of e^(x - m)) with m the maximum, or the largest finite number of its sign where that is infinite."""
    if not node.input(0).element.is_float:
        raise UnsupportedType("ReduceLogSumExp of integers has no defined rounding, and later schemas dropped it",
                              remedy="cast to float32 in the model")

    def build(b: Builder, x: Tensor, r: Reduction) -> Tensor:
        largest = float(np.finfo(np.float32).max)

        def shifted(y: Tensor) -> Tensor:
            top = b.maximum(b.scalar(-largest, y), r("REDUCE_MAX", y, keep_dims=True))
            top = b.minimum(b.scalar(largest, y), top)
            total = b.unary("LOG", r("SUM", functions.exp(b, b.sub(y, top)), keep_dims=True))
            result = b.add(total, top)
            if r.keep_dims or not result.rank:
                return result
            if r.axes is None:
                return r("REDUCE_MAX", result)
            return b.squeeze(result, r.axes) if r.axes else result

        return functions.in_float32(x, b, shifted)

    return _lowered(node, b, -inf, build)
