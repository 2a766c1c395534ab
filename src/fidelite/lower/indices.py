"""ONNX indices for LiteRT: negative ones, which count from the end, are not taken by its kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import ContradictoryModel
from fidelite.lower.filling import counting
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, is_static
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_COUNTS = frozenset({"ARG_MAX", "ARG_MIN", "WHERE", "SHAPE"})
_VIEWS = frozenset({"CAST", "RESHAPE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "TILE", "BROADCAST_TO", "CONCATENATION",
                    "SPLIT", "REVERSE_V2"})


def never_negative(x: Tensor, depth: int = 8) -> bool:
    """Whether the graph shows that `x` holds no negative integer."""
    if x.constant is not None:
        return not np.any(x.constant.numpy() < 0)
    maker = x.producer
    if x.element.name.startswith("UINT") or maker is None or not depth:
        return x.element.name.startswith("UINT")
    if maker.op == "FLOOR_MOD":
        divisor = maker.inputs[1]
        return divisor is not None and divisor.constant is not None and bool(np.all(divisor.constant.numpy() > 0))
    if maker.op in _COUNTS or (maker.op == "TOPK_V2" and x is maker.outputs[1]):
        return True
    if maker.op in ("MINIMUM", "MAXIMUM"):
        both = [t is not None and never_negative(t, depth - 1) for t in maker.inputs]
        return all(both) if maker.op == "MINIMUM" else any(both)
    if maker.op in _VIEWS:
        if maker.op == "CAST" and not (maker.inputs[0] is not None and maker.inputs[0].element.bits < x.element.bits):
            return False  # narrowing wraps
        data = maker.inputs if maker.op == "CONCATENATION" else maker.inputs[1:] if maker.op == "SPLIT" \
            else maker.inputs[:1]
        return all(t is not None and never_negative(t, depth - 1) for t in data)
    return False


def from_front(indices: Tensor, sizes: Sequence[Dim], b: Builder) -> Tensor:
    """`indices` counted from the front, where -size <= index < size. `sizes` is one size, or one for each entry of
    the last axis. Constants become int32; run-time ones take one FLOOR_MOD where they may be negative."""
    if indices.constant is not None:
        values = indices.constant.numpy().astype(np.int64)
        if is_static(sizes):
            known = np.asarray(sizes, np.int64)
            if values.size and (np.any(values < -known) or np.any(values >= known)):
                raise ContradictoryModel(f"an index is out of range: {values.min()} to {values.max()} for "
                                         f"{list(sizes)} entries", remedy="export the model again; if an input's "
                                         "shape was changed, export with that shape")
            values = np.where(values < 0, values + known, values)
        indices = b.constant(values.astype(np.int32))
    if never_negative(indices) or 0 in sizes:
        return indices
    if is_static(sizes):
        operand = b.constant(np.asarray(sizes, indices.element.dtype))
    else:
        indices, operand = b.cast(indices, ElementType.INT32), b.shape_operand(sizes)
    if len(sizes) == 1:
        operand = b.reshape(operand, ())
    return b.binary("FLOOR_MOD", indices, operand)


def strides_of(shape: Sequence[Dim]) -> list[Dim]:
    """How far apart neighbours along each axis lie in row-major order."""
    strides: list[Dim] = []
    step: Dim = 1
    for dim in reversed(shape):
        strides.insert(0, step)
        step = step * dim
    return strides


def offsets(shape: Sequence[Dim], strides: Sequence[Dim], axis: int, b: Builder) -> Tensor:
    """For each place of a tensor of `shape`, the sum of coordinate * stride over all axes but `axis`, where the
    result has 1 entry: int32, broadcastable to `shape`."""
    total: Tensor | None = None
    if is_static(shape) and is_static(strides):
        grid = np.zeros((), np.int64)
        for a, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            if a != axis:
                around = [1] * len(shape)
                around[a] = -1
                grid = grid + (np.arange(int(size)) * int(stride)).reshape(around)  # type: ignore[arg-type]
        return b.constant(grid.astype(np.int32).reshape([1 if a == axis else int(d)  # type: ignore[arg-type]
                                                         for a, d in enumerate(shape)]))
    for a, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        if a == axis:
            continue
        steps = counting(size, b) if stride == 1 else b.mul(counting(size, b), b.shape_operand([stride]))
        steps = b.reshape(steps, [size if i == a else 1 for i in range(len(shape))])
        total = steps if total is None else b.add(total, steps)
    return b.int32([0]) if total is None else total


def flat_places(indices: Tensor, shape: Sequence[Dim], axis: int, b: Builder) -> Tensor:
    """Where ONNX's "elements" operators point to: at [i0, ..., indices[i0, i1, ...], ..., in] of a tensor of `shape`,
    counted in row-major order. `indices` count from the front. int32, in the shape of `indices`."""
    strides = strides_of(shape)
    around = offsets(indices.shape, strides, axis, b)
    if indices.constant is not None and around.constant is not None and isinstance(stride := strides[axis], int):
        values = indices.constant.numpy().astype(np.int64) * stride + around.constant.numpy()
        return b.constant(values.astype(np.int32))
    places = b.cast(indices, ElementType.INT32)
    if strides[axis] != 1:
        places = b.mul(places, b.shape_operand([strides[axis]]))
    alone = all(d == 1 for i, d in enumerate(indices.shape) if i != axis)
    return places if alone else b.add(places, around)
