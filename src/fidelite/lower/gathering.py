"""Gather and its kin, OneHot, and the places that a condition chooses."""

from __future__ import annotations

import numpy as np

from fidelite.lower.filling import counting, filled
from fidelite.lower.indices import flat_places, from_front, never_negative
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import is_static, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType

_FAR = 2**31 - 1


@lowers("Gather")
def gather(node: Node, b: Builder) -> Tensor:
    x, indices = node.input(0), node.input(1)
    axis = node.axis(x.rank, default=0)
    if indices.constant is not None and (cut := _as_slice(x, indices.constant.numpy(), axis, b)) is not None:
        return cut
    return b.gather(x, from_front(indices, [x.shape[axis]], b), axis)


def _as_slice(x: Tensor, indices: np.ndarray, axis: int, b: Builder) -> Tensor | None:
    """One entry, or neighbours in order: SLICE (and RESHAPE), which delegates take. None for anything else."""
    size, values = x.shape[axis], indices.reshape(-1).astype(np.int64)
    if not values.size or indices.ndim > 1 or np.any(np.diff(values) != 1):
        return None
    if isinstance(size, int):
        first = int(values[0]) + (size if values[0] < 0 else 0)
        if not 0 <= first <= size - len(values) or (values[0] < 0) != (values[-1] < 0):
            return None  # refused by name, or not in a row
        cut = b.slice(x, [first if a == axis else 0 for a in range(x.rank)],
                      [len(values) if a == axis else d for a, d in enumerate(x.shape)])
    elif (values[0] < 0) != (values[-1] < 0):
        return None
    else:
        first, stop = int(values[0]), int(values[-1]) + 1
        shape = [len(values) if a == axis else d for a, d in enumerate(x.shape)]
        begin = [first if a == axis else 0 for a in range(x.rank)]
        end = [stop if a == axis else 0 for a in range(x.rank)]
        is_open = sum(1 << a for a in range(x.rank) if a != axis or stop == 0)
        cut = b.strided_slice(x, begin, end, [1] * x.rank, shape, end_mask=is_open)
    return b.reshape(cut, x.shape[:axis] + x.shape[axis + 1:]) if indices.ndim == 0 else cut


@lowers("GatherElements")
def gather_elements(node: Node, b: Builder) -> Tensor:
    """out[i, j, k] = x[indices[i, j, k], j, k] for axis 0, and so on."""
    x, indices = node.input(0), node.input(1)
    axis = node.axis(x.rank, default=0)
    places = from_front(indices, [x.shape[axis]], b)
    if x.rank == 1:
        return b.gather(x, places, 0)
    if axis == x.rank - 1 and x.shape[:-1] == indices.shape[:-1] and not places.is_constant:
        rows = product(x.shape[:-1])
        found = b.gather(b.reshape(x, (rows, x.shape[-1])), b.reshape(places, (rows, indices.shape[-1])), 1,
                         batch_dims=1)
        return b.reshape(found, indices.shape)
    return b.gather(b.reshape(x, (product(x.shape),)), flat_places(places, x.shape, axis, b), 0)


@lowers("GatherND", until=11)
def gather_nd(node: Node, b: Builder) -> Tensor:
    return _gather_nd(node, b, 0)


@lowers("GatherND", since=12)
def gather_nd_batched(node: Node, b: Builder) -> Tensor:
    return _gather_nd(node, b, node.int_("batch_dims", 0))


def _gather_nd(node: Node, b: Builder, batch: int) -> Tensor:
    """The last axis of the indices holds places along the axes of x behind the first `batch`, which both share."""
    x, indices = node.input(0), node.input(1)
    depth = b.static_dim(indices.shape[-1], "the depth of GatherND's indices")
    places = from_front(indices, x.shape[batch:batch + depth], b)
    if not batch:
        return b.gather_nd(x, places)
    rows = product(indices.shape[:batch] if is_static(indices.shape[:batch]) else x.shape[:batch])
    inner = b.reshape(x, (rows, *x.shape[batch:]))
    many = b.reshape(places, (rows, *indices.shape[batch:]))
    result = (*indices.shape[:-1], *x.shape[batch + depth:])
    if depth == 1:
        found = b.gather(inner, b.reshape(many, many.shape[:-1]), 1, batch_dims=1)
        return b.reshape(found, result)
    row = b.reshape(_rows(many, b), (*many.shape[:-1], 1))
    return b.reshape(b.gather_nd(inner, b.concat([b.cast(row, many.element), many], -1)), result)


def _rows(x: Tensor, b: Builder) -> Tensor:
    """0, 1, ... along the first axis of `x`, for each place of its other axes but the last: int32."""
    shape = x.shape[:-1]
    if is_static(shape):
        sizes = [int(d) for d in shape]  # type: ignore[arg-type]
        first = np.arange(sizes[0], dtype=np.int32).reshape([-1] + [1] * (len(sizes) - 1))
        return b.constant(np.broadcast_to(first, sizes).copy())
    return b.broadcast_to(b.reshape(counting(shape[0], b), (shape[0], *[1] * (len(shape) - 1))), shape)


# -- OneHot

@lowers("OneHot")
def one_hot(node: Node, b: Builder) -> Tensor:
    """`values[1]` at index, else `values[0]`; an index in [-depth, -1] counts from the end, others match nowhere.

    Schema 9 says that indices are not negative; ONNX Runtime treats them there as later schemas do.
    """
    indices, values = _whole(node.input(0), b), node.input(2)
    axis = node.normalized(node.int_("axis", -1), indices.rank + 1)
    depth = node.input(1)
    if depth.constant is not None:
        size = b.int32(int(depth.constant.numpy().reshape(-1)[0]))
    else:
        size = b.reshape(_whole(depth, b), ())
    if not never_negative(indices):
        negative = b.compare("LESS", indices, b.int32(0))
        indices = b.select(negative, b.add(indices, size), indices)
    if values.constant is None:
        off, on = (b.reshape(part, ()) for part in b.split(values, [1, 1], 0))
    else:
        off, on = (b.constant(v.reshape(())) for v in values.constant.numpy())
    hot = values.element in (kernel_types("ONE_HOT") or ())
    pair = [on, off] if hot else [b.scalar(True, ElementType.BOOL), b.scalar(False, ElementType.BOOL)]
    dims = (*indices.shape[:axis], 0, *indices.shape[axis:])
    result = b.emit("ONE_HOT", [indices, size, *pair], [(pair[0].element, dims)],
                    {"axis": -1 if axis == indices.rank else axis})[0]
    known = None if size.constant is None else int(size.constant.numpy())
    result = b.sized_at_run_time(result, [known if i == axis else d for i, d in enumerate(dims)])
    return result if hot else b.select(result, on, off)


def _whole(x: Tensor, b: Builder) -> Tensor:
    """Indices as int32, to which the kernel would cut them: floats are truncated, and what is too large for int32
    stays too large (or too small) to match."""
    if x.element is ElementType.INT32 or (x.element.is_integer and x.element.bits < 32):
        return b.cast(x, ElementType.INT32)
    if x.element is ElementType.UINT64:
        limit = filled(b, x.shape, np.asarray(_FAR, np.uint64))
        return b.cast(b.bitcast(b.one("STABLEHLO_MINIMUM", [x, limit], x.element, x.shape), ElementType.INT64),
                      ElementType.INT32)
    x = b.cast(x, ElementType.INT64)
    x = b.minimum(x, b.scalar(_FAR, x))
    return b.cast(x if never_negative(x) else b.maximum(x, b.scalar(-_FAR, x)), ElementType.INT32)


# -- what a condition chooses

@lowers("Compress")
def compress(node: Node, b: Builder) -> Tensor:
    """The entries of x along the axis (of x flattened, where none is given) at which the condition holds."""
    x, condition = node.input(0), node.input(1)
    axis = node.int_("axis", None)
    if axis is None:
        x, axis = b.reshape(x, (product(x.shape),)), 0
    axis = node.normalized(axis, x.rank)
    if condition.constant is not None:
        chosen = np.flatnonzero(condition.constant.numpy())
        cut = _as_slice(x, chosen, axis, b)
        return b.gather(x, b.constant(chosen.astype(np.int32)), axis) if cut is None else cut
    chosen = b.where(condition)
    return b.gather(x, b.reshape(chosen, chosen.shape[:1]), axis)


@lowers("NonZero")
def non_zero(node: Node, b: Builder) -> Tensor:
    """The places of what is not zero, [rank, count], in row-major order; a rank-0 x counts as [1]."""
    x = node.input(0)
    if x.rank == 0:
        x = b.reshape(x, (1,))
    if x.element is not ElementType.BOOL:
        x = b.cast(b.bitcast(x, ElementType.INT64) if x.element is ElementType.UINT64 else x, ElementType.BOOL)
    places = b.where(x)
    count = places.shape[0]
    return b.reshape(places, (1, count)) if x.rank == 1 else b.transpose(places, (1, 0))
