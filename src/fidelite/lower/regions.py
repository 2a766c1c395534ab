"""Regions of images: sampled on a grid of their own (RoiAlign), or pooled (MaxRoiPool)."""

from __future__ import annotations

from math import prod

import numpy as np

from fidelite.errors import NeedsConstant, UnsupportedAttribute
from fidelite.lower.functions import plus, times
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.staged import Array, Staged, Value
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_PARTIAL = "sampling_ratio 0 for regions that are not constant; dynamic sizes of images"


@lowers("RoiAlign", since=10, until=15, partial=_PARTIAL)
def roi_align_unshifted(node: Node, b: Builder) -> Tensor:
    return _roi_align(node, b, shifted=False)


@lowers("RoiAlign", since=16, partial=_PARTIAL)
def roi_align(node: Node, b: Builder) -> Tensor:
    """Schema 16 adds the shift by half a pixel."""
    mode = node.str_("coordinate_transformation_mode", "half_pixel")
    if mode not in ("half_pixel", "output_half_pixel"):
        raise UnsupportedAttribute(f"its coordinate_transformation_mode '{mode}' is unknown",
                                   remedy="ONNX knows half_pixel and output_half_pixel")
    return _roi_align(node, b, shifted=mode == "half_pixel")


def _roi_align(node: Node, b: Builder, *, shifted: bool) -> Tensor:
    """x [N, C, H, W], regions [R, 4] as x1, y1, x2, y2 -> [R, C, height, width]: the mean of (or the greatest weighed
    neighbour among) samples in each cell, as in ONNX Runtime's `roialign.cc`."""
    x, rois, images = node.input(0), node.input(1), node.input(2)
    greatest = node.str_("mode", "avg").lower() == "max"
    cells = (node.int_("output_height", 1), node.int_("output_width", 1))
    element, x = x.element, b.channels_last(b.float32(x))
    sizes = [b.static_dim(d, "the size of an image with regions") for d in x.shape[1:3]]
    n, channels = b.static_dim(x.shape[0], "the number of images with regions"), x.shape[3]
    s = Staged(b)
    corners = s.binary("MUL", s.known(rois), node.float_("spatial_scale", 1.0))
    if shifted:
        corners = s.binary("SUB", corners, 0.5)
    axes = [_samples(s, corners, axis, cells[axis], _ratio(node, s, corners, axis, cells[axis], shifted), shifted)
            for axis in (0, 1)]
    counts = [a.shape[1] for a in axes]
    held = [_neighbours(s, at, size) for at, size in zip(axes, sizes, strict=True)]
    base = s.binary("MUL", s.reshape(s.int32(s.known(images)), (rois.shape[0], 1, 1)), prod(sizes))
    grid = [[(s.reshape(v, (rois.shape[0], *((counts[0], 1) if axis == 0 else (1, counts[1])))),
              s.reshape(w, (rois.shape[0], *((counts[0], 1, 1) if axis == 0 else (1, counts[1], 1)))))
             for v, w in held[axis]] for axis in (0, 1)]
    rows = b.reshape(x, (n * prod(sizes), channels))
    parts: list[Value] = []
    for above, weight_y in grid[0]:
        line = s.binary("ADD", base, s.int32(s.binary("MUL", above, sizes[1])))
        for beside, weight_x in grid[1]:
            found = b.gather(rows, s.tensor(s.binary("ADD", line, s.int32(beside))), 0)
            parts.append(s.binary("MUL", found, s.binary("MUL", weight_y, weight_x)))
    value = s.tensor(_greatest(s, parts) if greatest else s.total(parts))
    return b.cast(b.channels_first(_pooled(b, value, cells, greatest)), element)


def _ratio(node: Node, s: Staged, corners: Value, axis: int, cells: int, shifted: bool) -> int:
    """Samples per cell along an axis (0: y). Where it is left to the regions, they must be known and agree."""
    ratio = node.int_("sampling_ratio", 0)
    if ratio > 0:
        return ratio
    if isinstance(corners, Tensor):
        raise NeedsConstant("its sampling_ratio 0 makes the number of samples depend on the regions, which the model "
                            "computes", remedy="export with a sampling_ratio above 0 (2 is common)")
    length = _length(s, corners, axis, shifted)
    assert isinstance(length, np.ndarray)
    found = {int(v) for v in np.ceil(length / np.float32(cells)).reshape(-1)}
    if len(found) > 1 or min(found, default=1) < 1:
        raise UnsupportedAttribute("its sampling_ratio 0 gives its regions different numbers of samples",
                                   remedy="export with a sampling_ratio above 0 (2 is common)")
    return found.pop() if found else 1


def _length(s: Staged, corners: Value, axis: int, shifted: bool) -> Value:
    length = s.binary("SUB", s.part(corners, 3 - axis), s.part(corners, 1 - axis))
    return length if shifted else s.binary("MAXIMUM", length, 1)


def _samples(s: Staged, corners: Value, axis: int, cells: int, ratio: int, shifted: bool) -> Value:
    """Coordinates [R, cells * ratio] along an axis (0: y): start + cell * size + (i + 1/2) * size / ratio."""
    size = s.binary("DIV", _length(s, corners, axis, shifted), cells)
    at = np.arange(cells * ratio)
    cell, within = (v.astype(np.float32)[None] for v in (at // ratio, at % ratio + 0.5))
    start = s.binary("ADD", s.part(corners, 1 - axis), s.binary("MUL", size, cell))
    return s.binary("ADD", start, s.binary("DIV", s.binary("MUL", size, within), ratio))


def _neighbours(s: Staged, at: Value, size: int) -> list[tuple[Value, Value]]:
    """The two elements around each coordinate with their weights, which are 0 beyond -1 and the size."""
    outside = s.either(s.compare("LESS", at, -1), s.compare("GREATER", at, size))
    held = s.clamp(at, 0, size - 1)
    low = s.unary("FLOOR", held)
    high = s.binary("MINIMUM", s.binary("ADD", low, 1), size - 1)
    rest = s.binary("SUB", held, low)
    nothing: Array = np.zeros((), np.float32)
    return [(low, s.select(outside, nothing, s.binary("SUB", 1, rest))), (high, s.select(outside, nothing, rest))]


def _greatest(s: Staged, parts: list[Value]) -> Value:
    result = parts[0]
    for part in parts[1:]:
        result = s.binary("MAXIMUM", result, part)
    return result


def _pooled(b: Builder, samples: Tensor, cells: tuple[int, int], greatest: bool) -> Tensor:
    """[R, cells * ratio, cells * ratio, C] to one element per cell."""
    ratios = [b.static_dim(d, "the samples of a region") // c for d, c in zip(samples.shape[1:3], cells, strict=True)]
    if samples.element is not ElementType.FLOAT32 or ratios == [1, 1]:
        return samples
    op = "MAX_POOL_2D" if greatest else "AVERAGE_POOL_2D"
    return b.pool_2d(op, samples, kernel=ratios, strides=ratios)


@lowers("MaxRoiPool", partial="dynamic sizes of images")
def max_roi_pool(node: Node, b: Builder) -> Tensor:
    """x [N, C, H, W], regions [R, 5] as image, x1, y1, x2, y2 -> [R, C, height, width]: the greatest element of each
    cell, 0 where it has none, as in ONNX Runtime's `roi_pool.cc`."""
    x, rois, cells = node.input(0), b.float32(node.input(1)), node.ints("pooled_shape")
    columns = [b.slice(rois, [0, i], [rois.shape[0], 1]) for i in range(5)]
    images = b.cast(b.reshape(columns[0], (rois.shape[0],)), ElementType.INT32)
    value = b.gather(b.float32(x), images, 0)  # [R, C, H, W]
    corners = [_rounded(b, times(b, c, node.float_("spatial_scale", 1.0))) for c in columns[1:]]
    filled: Tensor | None = None
    for axis in (0, 1):
        size = b.static_dim(x.shape[2 + axis], "the size of an image with regions")
        inside = _inside(b, corners[1 - axis], corners[3 - axis], cells[axis], size)
        value = _masked_maximum(b, value, inside, axis)
        some = b.reduce("REDUCE_ANY", inside, [2], keep_dims=False)  # [R, cells]
        some = b.reshape(some, (rois.shape[0], 1, *((cells[0], 1) if axis == 0 else (1, cells[1]))))
        filled = some if filled is None else b.logical("LOGICAL_AND", filled, some)
    assert filled is not None
    return b.cast(b.select(filled, value, b.scalar(0.0, value)), x.element)


def _rounded(b: Builder, x: Tensor) -> Tensor:
    """To the nearest whole number, halves away from zero."""
    size = b.unary("FLOOR", plus(b, b.unary("ABS", x), 0.5))
    return b.select(b.compare("LESS", x, b.scalar(0.0, x)), b.unary("NEG", size), size)


def _inside(b: Builder, first: Tensor, last: Tensor, cells: int, size: int) -> Tensor:
    """Which elements along an axis lie in which cell of which region [R, 1]: bool [R, cells, size]."""
    length = b.maximum(b.scalar(1.0, first), plus(b, b.sub(last, first), 1.0))
    step = b.div(length, b.scalar(float(cells), length))
    at = np.arange(cells, dtype=np.float32)[None]
    begin = b.add(b.unary("FLOOR", b.mul(step, b.constant(at))), first)
    end = b.add(b.unary("CEIL", b.mul(step, b.constant(at + 1))), first)
    places = b.constant(np.arange(size, dtype=np.float32)[None, None])
    low = b.compare("LESS_EQUAL", b.unsqueeze(begin, [2]), places)
    return b.logical("LOGICAL_AND", low, b.compare("GREATER", b.unsqueeze(end, [2]), places))


def _masked_maximum(b: Builder, x: Tensor, inside: Tensor, axis: int) -> Tensor:
    """The greatest of the elements of x [R, C, H, W] along an axis (0: y) in each cell of `inside` [R, cells, size]."""
    regions, cells, size = inside.shape
    lowest = b.scalar(-np.inf, x)
    parts: list[Tensor] = []
    for cell in range(b.static_dim(cells, "the cells of a region")):
        mask = b.slice(inside, [0, cell, 0], [regions, 1, size])
        chosen = b.select(b.reshape(mask, (regions, 1, *((size, 1) if axis == 0 else (1, size)))), x, lowest)
        parts.append(b.reduce("REDUCE_MAX", chosen, [2 + axis], keep_dims=True))
    return b.concat(parts, 2 + axis)
