"""Pad: constant, reflect, edge and wrap. Negative pads crop first, and the mode sees what is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import ContradictoryModel, UnsupportedAttribute
from fidelite.lower.filling import counting
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, is_static, maximum
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_EXPORT_AGAIN = "export the model again; if an input's shape was changed, export with that shape"


@lowers("Pad", since=2, until=10)
def pad_attributes(node: Node, b: Builder) -> Tensor:
    return _pad(node, b, node.ints("pads"), np.asarray(node.float_("value", 0.0)), None)


@lowers("Pad", since=11)
def pad_operands(node: Node, b: Builder) -> Tensor:
    """Schema 18 adds the operand `axes`, 19 the mode wrap."""
    value = node.optional(2)
    given = np.zeros(()) if value is None else b.reshape(value, ())
    axes = None if node.optional(3) is None else node.known_dims(3)
    pads = node.known_dims(1)
    if pads is None or (axes is None and node.optional(3) is not None):
        return _pad_at_run_time(node, b, given)
    return _pad(node, b, pads, given, axes)


def _mode(node: Node) -> str:
    mode = node.str_("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise UnsupportedAttribute(f"it pads in the unknown mode '{mode}'",
                                   remedy="ONNX knows constant, reflect, edge and wrap")
    return mode


def _pad(node: Node, b: Builder, pads: Sequence[Dim], value: Tensor | np.ndarray,
         axes: Sequence[Dim] | None) -> Tensor:
    x, mode = node.input(0), _mode(node)
    places = list(range(x.rank)) if axes is None else [
        node.normalized(a, x.rank) for a in axes if isinstance(a, int)]
    if len(pads) != 2 * len(places):
        raise ContradictoryModel(f"it has {len(pads)} pads for {len(places)} axes", remedy=_EXPORT_AGAIN)
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for i, axis in enumerate(places):
        before[axis], after[axis] = pads[i], pads[i + len(places)]
    x, before, after = _cropped(x, before, after, b)
    if mode == "constant":
        return b.pad(x, before, after, value)
    return _pad_by_index(x, before, after, mode, b)


def _cropped(x: Tensor, before: Sequence[Dim], after: Sequence[Dim],
             b: Builder) -> tuple[Tensor, list[Dim], list[Dim]]:
    """`x` without what negative pads take away, and the pads that are left. Symbolic pads are not negative."""
    first = [-p if isinstance(p, int) and p < 0 else 0 for p in before]
    last = [p if isinstance(p, int) and p < 0 else 0 for p in after]
    if any(first) or any(last):
        shape = [d - f + c for d, f, c in zip(x.shape, first, last, strict=True)]
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise ContradictoryModel(f"its negative pads take away more than '{x.name}' has", remedy=_EXPORT_AGAIN)
        open_ends = sum(1 << i for i, c in enumerate(last) if not c)
        x = b.slice(x, first, shape) if is_static(shape) else b.strided_slice(
            x, first, last, [1] * x.rank, shape, end_mask=open_ends)

    def left(pads: Sequence[Dim]) -> list[Dim]:
        return [max(p, 0) if isinstance(p, int) else p for p in pads]

    return x, left(before), left(after)


def _pad_by_index(x: Tensor, before: Sequence[Dim], after: Sequence[Dim], mode: str, b: Builder) -> Tensor:
    """Pads that repeat elements: MIRROR_PAD where it can, else one GATHER for each padded axis."""
    padded = [a for a in range(x.rank) if before[a] != 0 or after[a] != 0]
    if any(x.shape[a] == 0 for a in padded):
        raise ContradictoryModel(f"it pads '{x.name}' with elements of it along an axis that has none",
                                 remedy=_EXPORT_AGAIN)
    if len(padded) > 1 and x.is_static and 0 not in x.shape:
        widths = [(p, d) for pads in (before, after) for p, d in zip(pads, x.static_shape, strict=True)]
        ints = [(p, d) for p, d in widths if isinstance(p, int)]
        if len(ints) == len(widths) and (
                (mode == "reflect" and all(p <= d - 1 for p, d in ints)) or
                (mode == "edge" and all(p <= 1 for p, _ in ints))):  # the edge once is the mirror with its edge
            return b.mirror_pad(x, [p for p, _ in ints[:x.rank]], [p for p, _ in ints[x.rank:]],
                                symmetric=mode == "edge")
    for axis in padded:
        size = x.shape[axis]
        total = before[axis] + size + after[axis]
        places = b.sub(counting(total, b), b.reshape(b.shape_operand([before[axis]]), ())) \
            if not is_static((before[axis], total)) else b.constant(
                np.arange(int(total), dtype=np.int32) - int(before[axis]))  # type: ignore[arg-type]
        x = b.gather(x, _sources(places, size, mode, b), axis)
    return x


def _sources(places: Tensor, size: Dim, mode: str, b: Builder) -> Tensor:
    """Where the element at each of `places` (from -before to size + after) comes from.

    edge: clamp(i, 0, n - 1); wrap: i mod n; reflect: min(i mod p, p - i mod p), the triangle
    wave of period p = 2 (n - 1).
    """
    if places.constant is not None and isinstance(size, int):
        i, period = places.constant.numpy(), max(2 * (size - 1), 1)
        values = {"edge": np.clip(i, 0, size - 1), "wrap": i % size,
                  "reflect": np.minimum(i % period, period - i % period) if size > 1 else i * 0}[mode]
        return b.constant(values.astype(np.int32))
    if mode == "edge":
        return b.maximum(b.minimum(places, b.shape_operand([size - 1])), b.int32([0]))
    if mode == "wrap":
        return b.binary("FLOOR_MOD", places, b.shape_operand([size]))
    period = b.shape_operand([maximum(2 * (size - 1), 1)])
    around = b.binary("FLOOR_MOD", places, period)
    return b.minimum(b.minimum(around, b.sub(period, around)), b.shape_operand([size - 1]))


def _pad_at_run_time(node: Node, b: Builder, value: Tensor | np.ndarray) -> Tensor:
    """Pads that the model computes: cropped by STRIDED_SLICE, then padded axis by axis or by PADV2."""
    x, mode = node.input(0), _mode(node)
    pads = b.cast(node.input(1), ElementType.INT32)
    count = b.static_dim(pads.shape[0], "the number of pads")
    pads = b.reshape(pads, (2, count // 2))
    if node.optional(3) is not None:  # spread over all axes: [2, n] -> [2, rank]
        axes = b.binary("FLOOR_MOD", b.cast(node.input(3), ElementType.INT32), b.int32([x.rank]))
        spread = b.scatter_nd(b.reshape(axes, (count // 2, 1)), b.transpose(pads, (1, 0)), (x.rank, 2))
        pads = b.transpose(spread, (1, 0))
    before, after = (b.reshape(p, (x.rank,)) for p in b.split(pads, [1, 1], 0))
    zero, size = b.int32([0]), b.shape_operand(x.shape)
    begin = b.maximum(b.mul(before, b.int32([-1])), zero)
    end = b.add(size, b.minimum(after, zero))
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0)
    x = b.one("STRIDED_SLICE", [x, begin, end, b.int32([1] * x.rank)], x.element, x.shape, **masks)
    x = b.sized_at_run_time(x, [None] * x.rank)
    before, after = b.maximum(before, zero), b.maximum(after, zero)
    if mode == "constant":
        carrier = b.carrier("PADV2", x.element)
        fill = value if isinstance(value, Tensor) else b.constant(value.astype(x.element.dtype).reshape(()))
        widths = b.transpose(b.concat([b.reshape(p, (1, x.rank)) for p in (before, after)], 0), (1, 0))
        result = b.one("PADV2", [b.bitcast(x, carrier), widths, b.bitcast(fill, carrier)], carrier, x.shape)
        return b.bitcast(b.sized_at_run_time(result, [None] * x.rank), x.element)
    total = b.add(b.add(before, b.shape_operand(x.shape)), after)
    for axis in range(x.rank):
        first, last = (b.reshape(b.slice(t, [axis], [1]), ()) for t in (before, total))
        places = b.one("RANGE", [b.int32(0), last, b.int32(1)], ElementType.INT32, (0,))
        places = b.sub(b.sized_at_run_time(places, [None]), first)
        x = b.gather(x, _sources(places, x.shape[axis], mode, b), axis)
    return x
