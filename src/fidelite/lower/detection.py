"""NonMaxSuppression, by LiteRT's kernel for one class of one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.filling import counting
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, minimum
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

MOST_LISTS = 1000
"""Images times classes, each of which takes a handful of operators."""
_LOWEST = float(np.finfo(np.float32).min)
_SMALLEST = float(np.finfo(np.float32).tiny)


@lowers("NonMaxSuppression", since=10, partial="dynamic numbers of images and classes")
def non_max_suppression(node: Node, b: Builder) -> Tensor:
    """Rows of (image, class, box): boxes by falling score, without those that overlap an earlier one too much.

    Equal scores go by index, as in ONNX Runtime; LiteRT's kernel leaves their order open. So the boxes are sorted
    first, and the kernel gets their ranks as scores: N - 1 down to 0, and -1 for those that the threshold takes out.
    The kernel gives a box that does not overlap itself (an empty one) again and again: see `_apart`.
    """
    boxes, scores = node.input(0), node.input(1)
    images = b.static_dim(boxes.shape[0], "the number of images in NonMaxSuppression")
    classes = b.static_dim(scores.shape[1], "the number of classes in NonMaxSuppression")
    if not isinstance(scores.shape[2], int):
        boxes, scores = _never_empty(boxes, scores, b)
    count = scores.shape[2]
    most = _most(node, count)
    if not images * classes or count == 0 or most == 0:
        return b.constant(np.zeros((0, 3), np.int64))
    if images * classes > MOST_LISTS:
        raise UnsupportedAttribute(f"{images} images of {classes} classes would take {images * classes} kernels",
                                   remedy=f"up to {MOST_LISTS} lists are taken: suppress without classes")
    threshold = _scalar(node, 4, b)
    if threshold is None:  # all take part, -inf too
        scores, threshold = b.maximum(scores, b.scalar(_LOWEST, scores)), b.scalar(-np.inf, scores)
    values, order = b.top_k(scores, count)
    ranks = _falling(count, b)
    ranks = b.select(b.compare("GREATER", values, threshold), ranks, b.scalar(-1.0, ranks))
    if node.int_("center_point_box", 0):
        boxes = _corners(boxes, b)
    limit = _scalar(node, 3, b)
    limit = b.scalar(0.0, ElementType.FLOAT32) if limit is None else limit
    boxes, overlap = _apart(boxes, limit, b), _above(limit, b)
    rows = [_one_list(b, [_row(x, at, b) for x, at in ((boxes, (i,)), (ranks, (i, c)), (order, (i, c)))],
                      overlap, most, (i, c), _limit(node, b))
            for i in range(images) for c in range(classes)]
    return b.cast(b.concat(rows, 0), ElementType.INT64)


def _falling(count: Dim, b: Builder) -> Tensor:
    """count - 1, ... 1, 0 as float32."""
    if isinstance(count, int):
        return b.constant(np.arange(count - 1, -1, -1, dtype=np.float32))
    return b.cast(b.sub(b.size_operand(count - 1), counting(count, b)), ElementType.FLOAT32)


def _never_empty(boxes: Tensor, scores: Tensor, b: Builder) -> tuple[Tensor, Tensor]:
    """One more box, whose score of -inf no threshold lets in: LiteRT's kernels take no empty lists."""
    images, classes = boxes.shape[0], scores.shape[1]
    more = b.broadcast_to(b.constant(np.zeros((1, 1, 4), np.float32)), (images, 1, 4))
    lowest = b.broadcast_to(b.constant(np.full((1, 1, 1), -np.inf, np.float32)), (images, classes, 1))
    return b.concat([boxes, more], 1), b.concat([scores, lowest], 2)


def _most(node: Node, count: Dim) -> Dim:
    """How many boxes a list can have at most."""
    if node.optional(2) is None:
        return 0
    known = node.input(2).constant
    if known is None:
        return count
    return minimum(min(max(int(known.numpy().reshape(-1)[0]), 0), 2**31 - 1), count)


def _limit(node: Node, b: Builder) -> Tensor | None:
    """The greatest length of a list where only the run time knows it, as an int32 vector of one element."""
    given = node.input(2)
    if given.constant is not None:
        return None
    bounded = b.minimum(b.maximum(b.reshape(given, (1,)), b.scalar(0, given)), b.scalar(2**31 - 1, given))
    return b.cast(bounded, ElementType.INT32)


def _scalar(node: Node, index: int, b: Builder) -> Tensor | None:
    given = node.optional(index)
    return None if given is None else b.reshape(given, ())


def _above(threshold: Tensor, b: Builder) -> Tensor:
    """The next float, up to 1: LiteRT suppresses at the threshold, ONNX above it. Floats from 0 on count up as
    integers do; the next one after 0 that no processor takes for 0 is the smallest normal one."""
    if threshold.constant is not None:
        following = np.nextafter(threshold.constant.numpy(), np.float32(2), dtype=np.float32)
        return b.constant(np.clip(following, _SMALLEST, np.float32(1)))
    positive = b.maximum(threshold, b.scalar(0.0, threshold))
    following = b.bitcast(b.add(b.bitcast(positive, ElementType.INT32), b.int32(1)), ElementType.FLOAT32)
    return b.maximum(b.minimum(following, b.scalar(1.0, following)), b.scalar(_SMALLEST, following))


def _apart(boxes: Tensor, threshold: Tensor, b: Builder) -> Tensor:
    """`boxes` [N, M, 4] with those that suppress nothing replaced by ones far away, each for itself, which suppress
    nothing but themselves: empty ones, and all of them where the threshold is 1, which no overlap exceeds.

    Far is 2^64: the areas of boxes that reach there are no float32.
    """
    count = boxes.shape[1]
    corner = np.asarray([[2.0**64, 0.0, 2.0**64 + 2.0**41, 1.0]], np.float32)
    step = np.asarray([[2.0**42, 0.0, 2.0**42, 0.0]], np.float32)  # exact below 2^22 boxes
    if isinstance(count, int):
        far = b.constant(corner + np.arange(count, dtype=np.float32)[:, None] * step)
    else:
        places = b.reshape(b.cast(counting(count, b), ElementType.FLOAT32), (count, 1))
        far = b.add(b.mul(places, b.constant(step)), b.constant(corner))
    first, second = b.split(boxes, [2, 2], 2)
    height, width = b.split(b.unary("ABS", b.sub(second, first)), [1, 1], 2)
    real = b.compare("GREATER", b.mul(height, width), b.scalar(0.0, height))
    return b.select(b.logical("LOGICAL_AND", real, b.compare("LESS", threshold, b.scalar(1.0, threshold))), boxes, far)


def _corners(boxes: Tensor, b: Builder) -> Tensor:
    """x, y, width, height about the centre as y1, x1, y2, x2. A negative size is none, as for ONNX Runtime."""
    middle, size = b.split(boxes, [2, 2], 2)
    half = b.mul(b.relu(size), b.scalar(0.5, size))
    corners = b.concat([b.sub(middle, half), b.add(middle, half)], 2)
    return b.gather(corners, b.int32([1, 0, 3, 2]), 2)


def _row(x: Tensor, at: Sequence[int], b: Builder) -> Tensor:
    """x[at]."""
    cut = b.slice(x, [*at, *[0] * (x.rank - len(at))], [*[1] * len(at), *x.shape[len(at):]])
    return b.reshape(cut, x.shape[len(at):])


def _one_list(b: Builder, parts: Sequence[Tensor], overlap: Tensor, most: Dim, at: tuple[int, int],
              limit: Tensor | None) -> Tensor:
    """The rows of one class of one image, int32 [found, 3]."""
    boxes, ranks, order = parts
    operands = [b.gather(boxes, order, 0), ranks, b.size_operand(most), overlap, b.scalar(-0.5, ranks)]
    chosen, found = b.emit("NON_MAX_SUPPRESSION_V4", operands,
                           [(ElementType.INT32, (most,)), (ElementType.INT32, ())])
    number = b.reshape(found, (1,))
    if limit is not None:
        number = b.minimum(number, limit)
    place = b.broadcast_to(b.constant(np.asarray([at], np.int32)), (most, 2))
    rows = b.concat([place, b.reshape(b.gather(order, chosen, 0), (most, 1))], 1)
    size = b.concat([number, b.int32([3])], 0)
    cut = b.emit("SLICE", [rows, b.int32([0, 0]), size], [(ElementType.INT32, (most, 3))])[0]
    return b.sized_at_run_time(cut, [None, 3])
