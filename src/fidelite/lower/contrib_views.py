"""ONNX Runtime's own operators that move elements, most of them elder brothers of the standard's.

Source: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.filling import range_
from fidelite.lower.gathering import gather_nd
from fidelite.lower.node import Node
from fidelite.lower.ordering import trilu
from fidelite.lower.padding import pad_operands
from fidelite.lower.registry import lowers
from fidelite.lower.sampling import grid_sample
from fidelite.lower.unique import unique_elements
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


@lowers("GatherND", domain=DOMAIN)
def gather_nd_of_old(node: Node, b: Builder) -> Tensor:
    return gather_nd(node, b)


@lowers("GridSample", domain=DOMAIN, partial="dynamic sizes of the sampled image; integers but for nearest")
def grid_sample_of_old(node: Node, b: Builder) -> Tensor:
    return grid_sample(node, b)


@lowers("Trilu", domain=DOMAIN)
def trilu_of_old(node: Node, b: Builder) -> Tensor:
    return trilu(node, b)


@lowers("Pad", domain=DOMAIN)
def pad(node: Node, b: Builder) -> Tensor:
    return pad_operands(node.standing_for([node.input(0), node.input(1), node.optional(2)], 13), b)


@lowers("Range", domain=DOMAIN)
def range_with_default(node: Node, b: Builder) -> Tensor:
    """A step that is left out is 1; operands may have one dimension of 1."""
    start, limit, delta = node.input(0), node.input(1), node.optional(2)
    operands = [start, limit, b.scalar(1, start) if delta is None else delta]
    return range_(node.standing_for([b.reshape(t, ()) for t in operands], 11), b)


@lowers("ExpandDims", domain=DOMAIN, partial="an axis that is not constant")
def expand_dims(node: Node, b: Builder) -> Tensor:
    return b.unsqueeze(node.input(0), node.ints_at(1, "the axis"))


@lowers("Unique", domain=DOMAIN, partial="dynamic shapes")
def unique(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """Elements of a vector in the order in which they come, the place of each there, and how often they come."""
    values, _, places, counts = unique_elements(node.input(0), b, in_order=False, wants=(False, True, True))
    return values, places, counts


@lowers("UnfoldTensor", domain=DOMAIN, partial="dynamic sizes")
def unfold_tensor(node: Node, b: Builder) -> Tensor:
    """Slices of `size` along an axis, `step` apart: [..., count, ..., size]."""
    x = node.input(0)
    axis, size, step = node.normalized(node.int_("dim", -1), x.rank), node.int_("size"), node.int_("step", 1)
    count = (b.static_dim(x.shape[axis], "a dimension that is unfolded") - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    before, after = x.shape[:axis], x.shape[axis + 1:]
    flat = b.reshape(x, (product(before), x.shape[axis], product(after)))
    found = b.gather(flat, b.int32(places.reshape(-1).tolist()), 1)
    split = b.reshape(found, (product(before), count, size, product(after)))
    return b.reshape(b.transpose(split, (0, 1, 3, 2)), (*before, count, *after, size))


@lowers("CropAndResize", domain=DOMAIN, partial="a crop_size that is not constant; dynamic sizes of images")
def crop_and_resize(node: Node, b: Builder) -> Tensor:
    """x [N, C, H, W], boxes [R, 4] as y1, x1, y2, x2 from 0 to 1 -> [R, C, height, width], corners on corners.

    A place is y1 (H - 1) + i (y2 - y1) (H - 1) / (height - 1), or the middle of the box for one row; outside of the
    image, it is the extrapolation value.
    """
    x, boxes, images = node.input(0), b.float32(node.input(1)), node.input(2)
    mode = node.str_("mode", "bilinear")
    if mode not in ("bilinear", "nearest"):
        raise UnsupportedAttribute(f"there is no mode '{mode}'", remedy="use bilinear or nearest")
    counts = node.ints_at(3, "the crop_size")
    n, channels, *sizes = b.static(x, "an image that is cropped")
    wide = b.reshape(b.channels_last(b.float32(x)), (n * sizes[0] * sizes[1], channels))
    regions = boxes.shape[0]
    base = b.reshape(b.mul(b.cast(images, ElementType.INT32), b.int32(sizes[0] * sizes[1])), (regions, 1, 1))
    grid, inside = list[list[tuple[Tensor, Tensor]]](), None
    for axis in (0, 1):
        at = _places(b, boxes, axis, counts[axis], sizes[axis])
        shape = (regions, counts[0], 1) if axis == 0 else (regions, 1, counts[1])
        grid.append([(b.reshape(b.cast(v, ElementType.INT32), shape), b.reshape(w, (*shape, 1)))
                     for v, w in _taps(b, at, sizes[axis], mode)])
        within = b.logical("LOGICAL_AND", b.compare("GREATER_EQUAL", at, b.scalar(0.0, at)),
                           b.compare("LESS_EQUAL", at, b.scalar(sizes[axis] - 1.0, at)))
        within = b.reshape(within, (*shape, 1))
        inside = within if inside is None else b.logical("LOGICAL_AND", inside, within)
    total: Tensor | None = None
    for above, weight_y in grid[0]:
        line = b.add(base, b.mul(above, b.int32(sizes[1])))
        for beside, weight_x in grid[1]:
            part = b.mul(b.gather(wide, b.add(line, beside), 0), b.mul(weight_y, weight_x))
            total = part if total is None else b.add(total, part)
    assert total is not None
    assert inside is not None
    result = b.select(inside, total, b.scalar(node.float_("extrapolation_value", 0.0), total))
    return b.cast(b.channels_first(result), x.element)


def _places(b: Builder, boxes: Tensor, axis: int, count: int, size: int) -> Tensor:
    """Coordinates [R, count] along an axis (0: y)."""
    first, last = (b.slice(boxes, [0, axis + 2 * side], [boxes.shape[0], 1]) for side in (0, 1))
    most = b.scalar(size - 1.0, boxes)
    if count == 1:
        return b.mul(b.mul(b.add(first, last), b.scalar(0.5, boxes)), most)
    step = b.div(b.mul(b.sub(last, first), most), b.scalar(count - 1.0, boxes))
    steps = b.constant(np.arange(count, dtype=np.float32)[None])
    return b.add(b.mul(first, most), b.mul(steps, step))


def _taps(b: Builder, at: Tensor, size: int, mode: str) -> list[tuple[Tensor, Tensor]]:
    """Elements around each coordinate (held inside) with their weights."""
    held = b.minimum(b.scalar(size - 1.0, at), b.maximum(b.scalar(0.0, at), at))
    if mode == "nearest":  # halves go away from zero
        near = b.minimum(b.scalar(size - 1.0, at), b.unary("FLOOR", b.add(held, b.scalar(0.5, at))))
        return [(near, b.add(b.mul(near, b.scalar(0.0, at)), b.scalar(1.0, at)))]
    low, high = b.unary("FLOOR", held), b.unary("CEIL", held)
    rest = b.sub(held, low)
    return [(low, b.sub(b.scalar(1.0, at), rest)), (high, rest)]
