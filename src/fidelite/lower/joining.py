"""Concat, Split and Slice: tensors put together and cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import ContradictoryModel, NeedsConstant
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, is_static, maximum, minimum
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_EXPORT_AGAIN = "export the model again; if an input's shape was changed, export with that shape"
_FAR = 2**31 - 1
"""Ends at or beyond this reach to the end: no axis is longer in TFLite."""
_TO_THE_END = (2**31 - 1, 2**63 - 1)


@lowers("Concat", since=4)
def concat(node: Node, b: Builder) -> Tensor:
    parts = node.inputs()
    axis = node.axis(parts[0].rank)
    ranks = {p.rank for p in parts}
    if len(ranks) > 1:
        raise ContradictoryModel(f"it joins tensors of {sorted(ranks)} dimensions", remedy=_EXPORT_AGAIN)
    for a in range(parts[0].rank):
        sizes = {p.shape[a] for p in parts if isinstance(p.shape[a], int)}
        if a != axis and len(sizes) > 1:
            raise ContradictoryModel(f"it joins tensors along axis {axis} whose sizes along axis {a} differ: "
                                     f"{sorted(sizes, key=str)}", remedy=_EXPORT_AGAIN)
    filled = [p for p in parts if p.shape[axis] != 0]
    return b.concat(filled or parts[:1], axis)


# -- Split

@lowers("Split", since=2, until=12)
def split_attribute(node: Node, b: Builder) -> Sequence[Tensor]:
    x = node.input(0)
    axis = node.normalized(node.int_("axis", 0), x.rank)
    sizes = node.ints("split", None)
    return _split(node, b, axis, _equal(x, axis, node.output_count) if sizes is None else sizes)


@lowers("Split", since=13, until=17)
def split(node: Node, b: Builder) -> Sequence[Tensor]:
    x = node.input(0)
    axis = node.normalized(node.int_("axis", 0), x.rank)
    if node.optional(1) is None:
        return _split(node, b, axis, _equal(x, axis, node.output_count))
    return _split_by_operand(node, b, axis)


@lowers("Split", since=18)
def split_num_outputs(node: Node, b: Builder) -> Sequence[Tensor]:
    """num_outputs parts of ceil(size / num_outputs) each, of which the last may be smaller."""
    x = node.input(0)
    axis = node.normalized(node.int_("axis", 0), x.rank)
    if node.optional(1) is not None:
        return _split_by_operand(node, b, axis)
    count, size = node.int_("num_outputs", node.output_count), x.shape[axis]
    part = -(-size // count)
    if isinstance(size, int) and isinstance(part, int):
        return _split(node, b, axis, [max(0, min(part, size - i * part)) for i in range(count)])
    return _split(node, b, axis, [part] * (count - 1) + [size - part * (count - 1)])


def _split_by_operand(node: Node, b: Builder, axis: int) -> Sequence[Tensor]:
    sizes = node.known_dims(1)
    if sizes is not None:
        return _split(node, b, axis, sizes)
    x, count = node.input(0), node.output_count
    carrier = b.carrier("SPLIT_V", x.element)
    shapes = [(carrier, (0,) * x.rank)] * count
    operands = [b.bitcast(x, carrier), b.cast(node.input(1), ElementType.INT32), b.int32(axis)]
    parts = b.emit("SPLIT_V", operands, shapes, {"numSplits": count})
    dims = [None if a == axis else d for a, d in enumerate(x.shape)]
    return [b.bitcast(b.sized_at_run_time(part, dims), x.element) for part in parts]


def _equal(x: Tensor, axis: int, count: int) -> list[Dim]:
    size = x.shape[axis]
    if isinstance(size, int) and size % count:
        raise ContradictoryModel(f"it splits the {size} entries of '{x.name}' along axis {axis} into {count} equal "
                                 "parts", remedy=_EXPORT_AGAIN)
    return [size // count] * count


def _split(node: Node, b: Builder, axis: int, sizes: Sequence[Dim]) -> Sequence[Tensor]:
    x = node.input(0)
    if len(sizes) < node.output_count:
        raise ContradictoryModel(f"it gives {node.output_count} parts the sizes {list(sizes)}", remedy=_EXPORT_AGAIN)
    total: Dim = 0
    for size in sizes:
        total = total + size
    if is_static((total, x.shape[axis])) and total != x.shape[axis]:
        raise ContradictoryModel(f"it splits the {x.shape[axis]} entries of '{x.name}' along axis {axis} into parts "
                                 f"of {list(sizes)}", remedy=_EXPORT_AGAIN)
    known = [s for s in sizes if isinstance(s, int)]
    if len(known) == len(sizes):
        return b.split(x, known, axis) if isinstance(x.shape[axis], int) else _cut(x, known, axis, b)
    # SPLIT asks for equal parts of whatever size a dynamic axis has when the model is loaded; SPLIT_V does not.
    carrier = b.carrier("SPLIT_V", x.element)
    shapes = [tuple(s if a == axis else d for a, d in enumerate(x.shape)) for s in sizes]
    operands = [b.bitcast(x, carrier), b.shape_operand(sizes), b.int32(axis)]
    parts = b.emit("SPLIT_V", operands, [(carrier, s) for s in shapes], {"numSplits": len(sizes)})
    return [b.bitcast(part, x.element) for part in parts]


def _cut(x: Tensor, sizes: Sequence[int], axis: int, b: Builder) -> list[Tensor]:
    """Parts of known sizes of a dynamic axis, by STRIDED_SLICE, which does not mind what size it has at first."""
    parts: list[Tensor] = []
    first = 0
    others = sum(1 << a for a in range(x.rank) if a != axis)
    for size in sizes:
        begin, end = ([v if a == axis else 0 for a in range(x.rank)] for v in (first, first + size))
        shape = [size if a == axis else d for a, d in enumerate(x.shape)]
        parts.append(b.strided_slice(x, begin, end, [1] * x.rank, shape, end_mask=others))
        first += size
    return parts


# -- Slice

@lowers("Slice", until=9)
def slice_attributes(node: Node, b: Builder) -> Tensor:
    starts, ends = node.ints("starts"), node.ints("ends")
    axes = node.ints("axes", None)
    return _slice(node, b, starts, ends, range(len(starts)) if axes is None else axes, [1] * len(starts))


@lowers("Slice", since=10)
def slice_operands(node: Node, b: Builder) -> Tensor:
    starts, ends = node.known_dims(1), node.known_dims(2)
    axes = None if node.optional(3) is None else node.known_dims(3)
    steps = None if node.optional(4) is None else node.known_dims(4)
    unknown = [i for i, known in enumerate((starts, ends, axes, steps), 1)
               if known is None and node.optional(i) is not None]
    if unknown or starts is None or ends is None or (steps is not None and not is_static(steps)):
        return _slice_at_run_time(node, b)
    return _slice(node, b, starts, ends, range(len(starts)) if axes is None else _ints(axes),
                  [1] * len(starts) if steps is None else _ints(steps))


def _ints(dims: Sequence[Dim]) -> list[int]:
    return [d for d in dims if isinstance(d, int)]


def _slice(node: Node, b: Builder, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int],
           steps: Sequence[int]) -> Tensor:
    """Constant bounds become SLICE (step 1, static size) or STRIDED_SLICE, which clamps as ONNX does."""
    x = node.input(0)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ContradictoryModel(f"it has {len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} "
                                 "steps", remedy=_EXPORT_AGAIN)
    begin: list[Dim] = [0] * x.rank
    end, stride, shape = list(x.shape), [1] * x.rank, list(x.shape)
    open_ends = 0
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise ContradictoryModel("it has a step of 0", remedy=_EXPORT_AGAIN)
        axis = node.normalized(axis, x.rank)
        begin[axis], end[axis], shape[axis], is_open = _bounds(start, stop, step, x.shape[axis])
        stride[axis] = step
        open_ends |= is_open << axis
    if tuple(shape) == x.shape and all(s == 1 for s in stride) and is_static(shape):
        return x
    if 0 in shape:
        return b.constant(np.zeros(_ints(shape), x.element.dtype)) if is_static(shape) else _strided(
            b, x, begin, end, stride, shape, open_ends)
    known = _ints(begin)
    if all(s == 1 for s in stride) and x.is_static and len(known) == len(begin) and is_static(shape):
        return b.slice(x, known, shape)
    return _strided(b, x, begin, end, stride, shape, open_ends)


def _bounds(start: Dim, stop: Dim, step: int, size: Dim) -> tuple[Dim, Dim, Dim, bool]:
    """Begin and end for STRIDED_SLICE, the number of elements, and whether the end is open.

    ONNX counts negative bounds from the end, then clamps to [0, size] where the step is positive, and where it is
    negative the start to [0, size - 1] and the end to [-1, size - 1]. The largest int32 and int64 say "to the end" in
    both directions (so ONNX Runtime).
    """
    if step < 0 and isinstance(stop, int) and stop in _TO_THE_END:
        stop = -_FAR
    if isinstance(start, int) and isinstance(stop, int) and isinstance(size, int):
        low, high = (0, size) if step > 0 else (0, size - 1)
        start = min(max(start + size if start < 0 else start, low), high)
        stop = min(max(stop + size if stop < 0 else stop, low if step > 0 else -1), high)
        count = max(0, -((start - stop) // step)) if size else 0
        return start, max(stop, 0), count, stop < 0
    first, last = _clamped(start, size, step), _clamped(stop, size, step, is_end=True)
    count = maximum(0, -((first - last) // step))
    is_open = isinstance(stop, int) and (stop >= _FAR if step > 0 else stop <= -_FAR)
    # STRIDED_SLICE counts and clamps as ONNX does, but for a start below the first element and a negative step.
    if isinstance(start, int) and (start < -1 if step < 0 else start <= -_FAR):
        start = first
    if isinstance(stop, int) and abs(stop) >= _FAR:
        stop = 0 if step > 0 else _FAR
    return min(start, _FAR) if isinstance(start, int) else start, stop, count, is_open


def _clamped(bound: Dim, size: Dim, step: int, *, is_end: bool = False) -> Dim:
    """A bound counted from the front and clamped; symbolic ones are sizes, which are not negative."""
    high = size if step > 0 else size - 1
    low = -1 if is_end and step < 0 else 0
    if isinstance(bound, int) and abs(bound) >= _FAR:
        return high if bound > 0 else low
    if isinstance(bound, int) and bound < 0:
        return maximum(bound + size, low)
    return minimum(bound, high)


def _strided(b: Builder, x: Tensor, begin: Sequence[Dim], end: Sequence[Dim], stride: Sequence[int],
             shape: Sequence[Dim], open_ends: int) -> Tensor:
    for axis, size in enumerate(x.shape):  # untouched dynamic axes need no run-time operand
        if begin[axis] == 0 and end[axis] == size and stride[axis] == 1 and not isinstance(size, int):
            open_ends |= 1 << axis
            end = [0 if i == axis else e for i, e in enumerate(end)]
    end = [0 if open_ends >> i & 1 else e for i, e in enumerate(end)]
    return b.strided_slice(x, begin, end, stride, shape, end_mask=open_ends)


def _slice_at_run_time(node: Node, b: Builder) -> Tensor:
    """STRIDED_SLICE with operands that the model computes, spread over all axes."""
    x = node.input(0)
    size = b.shape_operand(x.shape)
    starts, ends = (_narrow(node.input(i), b) for i in (1, 2))
    count = starts.shape[0]
    axes = b.int32(list(range(x.rank)))
    if node.optional(3) is not None:
        axes = b.cast(node.input(3), ElementType.INT32)
        axes = b.binary("FLOOR_MOD", axes, b.int32([x.rank]))
    elif isinstance(count, int):
        axes = b.int32(list(range(count)))
    else:
        raise NeedsConstant("the number of axes it cuts is known only when the model runs",
                            remedy="make its starts and ends constants")
    steps = b.int32([1])
    if node.optional(4) is not None:
        steps = _narrow(node.input(4), b)
        far = b.binary("LOGICAL_AND", b.compare("LESS", steps, b.int32(0)), b.compare("EQUAL", ends, b.int32(_FAR)))
        ends = b.select(far, b.int32(-_FAR), ends)
    places = b.reshape(axes, (axes.shape[0], 1))
    touched = b.scatter_nd(places, b.broadcast_to(b.int32([1]), axes.shape), (x.rank,))
    touched = b.compare("GREATER", touched, b.int32([0]))

    def spread(values: Tensor, default: Tensor) -> Tensor:
        values = b.broadcast_to(values, axes.shape)
        return b.select(touched, b.scatter_nd(places, values, (x.rank,)), default)

    begin = b.maximum(spread(starts, b.int32([0])), b.mul(size, b.int32([-1])))  # ONNX clamps a start to 0
    operands = [x, begin, spread(ends, size), spread(steps, b.int32([1]))]
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0)
    result = b.one("STRIDED_SLICE", operands, x.element, x.shape, **masks)
    given = None if node.optional(3) is None else node.known_dims(3)
    cut = set(range(count if node.optional(3) is None and isinstance(count, int) else x.rank))
    if given is not None:
        cut = {node.normalized(a, x.rank) for a in _ints(given)}
    return b.sized_at_run_time(result, [None if i in cut else d for i, d in enumerate(x.shape)])


def _narrow(values: Tensor, b: Builder) -> Tensor:
    """int64 bounds as int32: what lies beyond is as far as can be."""
    if values.element is ElementType.INT64:
        values = b.maximum(b.minimum(values, b.scalar(_FAR, values)), b.scalar(-_FAR, values))
    return b.cast(values, ElementType.INT32)
