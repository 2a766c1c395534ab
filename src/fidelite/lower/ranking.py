"""Operators along one axis that order or accumulate: ArgMax, ArgMin, TopK, CumSum, CumProd."""

from __future__ import annotations

import numpy as np

from fidelite.errors import InvalidModel
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_I32, _I64, _U64, _F64 = ElementType.INT32, ElementType.INT64, ElementType.UINT64, ElementType.FLOAT64
_ARG_TYPES = frozenset({ElementType.FLOAT32, ElementType.FLOAT16, ElementType.BFLOAT16, ElementType.INT8,
                        ElementType.UINT8, ElementType.INT16, ElementType.UINT16, ElementType.INT32})


def sortable(b: Builder, x: Tensor) -> Tensor:
    """`x`, or int64 in the same order where LiteRT does not order `x`'s type."""
    if x.element in (_U64, _F64):
        return b.ordered(x)
    return b.cast(x, _I64) if x.element is ElementType.UINT32 else x


def reversed_order(b: Builder, x: Tensor) -> Tensor:
    """The opposite order: -x, or for integers -1 - x (unsigned: the largest less x), which cannot overflow."""
    if x.element.is_float:
        return b.unary("NEG", x)
    largest = -1 if x.element.is_signed_integer else int(np.iinfo(x.element.dtype).max)
    return b.sub(b.scalar(largest, x), x)


@lowers("ArgMax")
def arg_max(node: Node, b: Builder) -> Tensor:
    return _arg(node, b, "ARG_MAX")


@lowers("ArgMin")
def arg_min(node: Node, b: Builder) -> Tensor:
    return _arg(node, b, "ARG_MIN")


def _arg(node: Node, b: Builder, op: str) -> Tensor:
    """The first (or last) index of the extreme, as int64."""
    x = node.input(0)
    axis, last = node.axis(x.rank, 0), bool(node.int_("select_last_index", 0))
    kept = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    shape = kept if node.int_("keepdims", 1) else tuple(d for i, d in enumerate(x.shape) if i != axis)
    if not x.rank or (0 in shape and x.is_static):
        return b.constant(np.zeros([b.static_dim(d, "an empty ArgMax") for d in shape], np.int64))
    if last:
        x = b.carried("REVERSE_V2", x, lambda y: b.reverse(y, [axis]))
    index = _first(b, op, x, axis)
    if last:
        size = b.cast(b.reshape(b.shape_operand([x.shape[axis]]), ()), _I64)
        index = b.sub(b.sub(size, b.scalar(1, size)), index)
    return b.reshape(index, shape)


def _first(b: Builder, op: str, x: Tensor, axis: int) -> Tensor:
    """ARG_MAX or ARG_MIN, or the first of TOPK_V2 for the types that those lack. The axis is dropped."""
    if x.element in _ARG_TYPES or x.element is ElementType.BOOL:
        return b.arg(op, x, axis, _I64)
    keys = sortable(b, x)
    if op == "ARG_MIN":
        keys = reversed_order(b, keys)
    order = [a for a in range(x.rank) if a != axis] + [axis]
    indices = b.top_k(b.transpose(keys, order), 1)[1]
    return b.cast(b.reshape(indices, indices.shape[:-1]), _I64)


@lowers("TopK", until=9)
def top_k_attribute(node: Node, b: Builder) -> tuple[Tensor, Tensor]:
    return _top_k(node, b, node.int_("k"))


@lowers("TopK", since=10)
def top_k(node: Node, b: Builder) -> tuple[Tensor, Tensor]:
    known = node.input(1)
    return _top_k(node, b, node.ints_at(1, "k")[0] if known.constant is not None else None)


def _top_k(node: Node, b: Builder, k: int | None) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) along an axis, in order, lower indices first among equals, and their indices."""
    x = node.input(0)
    axis, largest = node.axis(x.rank, -1), bool(node.int_("largest", 1))
    size = x.shape[axis]
    if k is not None and isinstance(size, int) and not 0 <= k <= size:
        raise InvalidModel(f"TopK is to take {k} of {size} elements", where=node.where(),
                           remedy="the model contradicts itself: export it again")
    if k is not None and x.is_static and (k == 0 or 0 in x.shape):
        shape = tuple(k if i == axis else d for i, d in enumerate(x.static_shape))
        return b.constant(np.zeros(shape, x.element.dtype)), b.constant(np.zeros(shape, np.int64))
    keys = sortable(b, x)
    order = [a for a in range(x.rank) if a != axis] + [axis]
    back = [order.index(a) for a in range(x.rank)]
    keys = b.transpose(keys if largest else reversed_order(b, keys), order)
    values, indices = b.top_k(keys, k) if k is not None else _run_time_top_k(b, keys, node.input(1))
    values = b.transpose(values, back)
    values = values if largest else reversed_order(b, values)
    if x.element in (_U64, _F64):
        values = b.from_ordered(values, x.element)
    return b.cast(values, x.element), b.cast(b.transpose(indices, back), _I64)


def _run_time_top_k(b: Builder, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """TOPK_V2 with a k that only the run time knows."""
    wide = b.compute_type("TOPK_V2", x.element)
    count = b.cast(b.reshape(k, ()), _I32)
    unsized = (*x.shape[:-1], 0)
    values, indices = b.emit("TOPK_V2", [b.cast(x, wide), count], [(wide, unsized), (_I32, unsized)])
    b.sized_at_run_time(values, [*x.shape[:-1], None])
    indices.shape = values.shape
    return b.cast(values, x.element), indices


@lowers("CumSum")
def cum_sum(node: Node, b: Builder) -> Tensor:
    """Sums of the elements up to each, with it or (exclusive) without."""
    x, axis = node.input(0), node.input(1)
    exclusive, backwards = bool(node.int_("exclusive", 0)), bool(node.int_("reverse", 0))
    if x.is_static and 0 in x.shape:
        return x
    unsigned = x.element is _U64
    y = b.bitcast(x, _I64) if unsigned else x
    if axis.constant is not None:
        known = node.normalized(node.ints_at(1, "axis")[0], x.rank)
        result = b.cumsum(y, known, exclusive=exclusive, reverse=backwards)
    else:
        wide = b.compute_type("CUMSUM", y.element)
        operand = b.cast(b.reshape(axis, ()), _I32)
        result = b.cast(b.one("CUMSUM", [b.cast(y, wide), operand], wide, x.shape, exclusive=exclusive,
                              reverse=backwards), y.element)
    return b.bitcast(result, _U64) if unsigned else result


@lowers("CumProd")
def cum_prod(node: Node, b: Builder) -> Tensor:
    """Products of the elements up to each. An axis that only the run time knows picks among the results of all."""
    x, axis = node.input(0), node.input(1)
    if x.is_static and 0 in x.shape:
        return x
    exclusive, backwards = bool(node.int_("exclusive", 0)), bool(node.int_("reverse", 0))
    wide = _I64 if x.element is _U64 else b.compute_type("MUL", x.element)
    y = b.bitcast(x, wide) if x.element is _U64 else b.cast(x, wide)
    if axis.constant is not None:
        result = _products(b, y, node.normalized(node.ints_at(1, "axis")[0], x.rank), exclusive, backwards)
    else:
        wanted = b.reshape(axis, ())
        wanted = b.binary("FLOOR_MOD", wanted, b.scalar(x.rank, wanted))
        result = _products(b, y, 0, exclusive, backwards)
        for other in range(1, x.rank):
            here = b.compare("EQUAL", wanted, b.scalar(other, wanted))
            result = b.select(here, _products(b, y, other, exclusive, backwards), result)
    return b.bitcast(result, _U64) if x.element is _U64 else b.cast(result, x.element)


def _products(b: Builder, x: Tensor, axis: int, exclusive: bool, backwards: bool) -> Tensor:
    """By doubling: after step i each element is the product of up to 2^i of them."""
    size = b.static_dim(x.shape[axis], "the axis of CumProd")
    if exclusive:
        x = _shifted(b, x, axis, size, 1, backwards)
    distance = 1
    while distance < size:
        x = b.mul(x, _shifted(b, x, axis, size, distance, backwards))
        distance *= 2
    return x


def _shifted(b: Builder, x: Tensor, axis: int, size: int, distance: int, backwards: bool) -> Tensor:
    """`x` moved along `axis` by `distance`, ones coming in (from the end if backwards)."""
    begin = [distance if backwards and i == axis else 0 for i in range(x.rank)]
    kept = b.slice(x, begin, [size - distance if i == axis else d for i, d in enumerate(x.shape)])
    shape = tuple(distance if i == axis else d for i, d in enumerate(x.shape))
    one = b.scalar(1, x)
    ones = b.broadcast_to(one, shape) if not x.is_static else b.constant(np.ones(shape, x.element.dtype))  # type: ignore[arg-type]
    return b.concat([kept, ones] if backwards else [ones, kept], axis)
