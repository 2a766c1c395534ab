"""Resize and Upsample. LiteRT's two kernels where they compute exactly that, else gathered taps, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fidelite.errors import InvalidModel, NeedsStaticShape, UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.resampling import (
    Kernel,
    Rule,
    Taps,
    kernels_for,
    kernels_for_any,
    kernels_for_growth,
    taps_of,
)
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.grid import grid_of_tensor
from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType

_SMALL = (ElementType.INT8, ElementType.UINT8)
_FLOATS = (ElementType.FLOAT32, ElementType.FLOAT16, ElementType.BFLOAT16, ElementType.FLOAT64)
_PARTIAL = ("cubic and antialias of integers; other sizes than whole multiples where only the run time knows them "
            "(but for linear), and the result's shape is not declared; scales and roi must be constant")


@dataclass(frozen=True, slots=True)
class Axis:
    """What becomes of one axis: `taps` where its sizes are known when converting, and LiteRT's settings that fit."""

    axis: int
    out: Dim
    taps: Taps | None
    kernels: frozenset[Kernel]


@dataclass(frozen=True, slots=True)
class Target:
    """The size of every axis of the result, the nominal scale (None: the ratio of sizes) and the region."""

    sizes: list[Dim]
    scales: list[np.float32 | None]
    regions: list[tuple[float, float]]


@lowers("Upsample", since=7, until=8, partial=_PARTIAL)
def upsample_with_attribute(node: Node, b: Builder) -> Tensor:
    return _old(node, list(node.floats("scales")), b)


@lowers("Upsample", since=9, partial=_PARTIAL)
@lowers("Resize", since=10, until=10, partial=_PARTIAL)
def resize_by_scales(node: Node, b: Builder) -> Tensor:
    return _old(node, [float(s) for s in node.constant(1, "the scales").reshape(-1)], b)


def _old(node: Node, scales: list[float], b: Builder) -> Tensor:
    """Upsample, and Resize of opset 10: coordinates are i / scale; nearest rounds down, or up where an axis shrinks."""
    x = node.input(0)
    mode = {"bilinear": "linear"}.get(node.str_("mode", "nearest"), node.str_("mode", "nearest"))
    rule = Rule(mode, "asymmetric", "simple")
    factors: list[np.float32 | None] = [np.float32(s) for s in scales]
    if len(factors) != x.rank:
        raise InvalidModel(f"{node.op} has {len(factors)} scales for {x.rank} dimensions",
                           remedy="export the model again")
    sizes = [_scaled(d, np.float32(s), b) for d, s in zip(x.shape, scales, strict=True)]
    return _resize(x, rule, Target(sizes, factors, [(0.0, 1.0)] * x.rank), 0.0, b)


@lowers("Resize", since=11, partial=_PARTIAL)
def resize(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    rule = Rule(
        node.str_("mode", "nearest"), node.str_("coordinate_transformation_mode", "half_pixel"),
        node.str_("nearest_mode", "round_prefer_floor"), node.float_("cubic_coeff_a", -0.75),
        bool(node.int_("exclude_outside", 0)), bool(node.int_("antialias", 0)))
    if rule.antialias and rule.mode == "nearest":
        raise UnsupportedAttribute("antialias has no meaning for mode nearest", remedy="leave antialias out")
    target = _read_target(node, x, rule, b)
    return _resize(x, rule, target, node.float_("extrapolation_value", 0.0), b)


def _read_target(node: Node, x: Tensor, rule: Rule, b: Builder) -> Target:
    axes = node.ints("axes", None)
    axes = list(range(x.rank)) if axes is None else [node.normalized(a, x.rank) for a in axes]
    sizes, scales = list(x.shape), [np.float32(1)] * x.rank
    nominal: list[np.float32 | None] = list(scales)
    regions = [(0.0, 1.0)] * x.rank
    if rule.crops:
        roi = [float(v) for v in node.constant(1, "the roi").reshape(-1)]
        for i, axis in enumerate(axes):
            regions[axis] = roi[i], roi[i + len(axes)]
    if node.optional(3) is None or node.input(3).shape == (0,):
        factors = node.constant(2, "the scales").reshape(-1)
        for axis, scale in zip(axes, factors, strict=True):
            sizes[axis], nominal[axis] = _scaled(x.shape[axis], np.float32(scale), b), np.float32(scale)
            start, end = regions[axis]
            if rule.coordinate == "align_corners" and not _is_whole(x.shape[axis], np.float32(scale)):
                raise UnsupportedAttribute("align_corners with scales that give no whole size differs from runtime to "
                                           "runtime", remedy="give sizes instead of scales in the model")
            if end - start != 1 and rule.crops and np.floor(b.static_dim(x.shape[axis], "a cropped axis") * (
                    end - start) * scale) != sizes[axis]:
                raise UnsupportedAttribute("the size of a crop given by scales differs from runtime to runtime",
                                           remedy="give sizes instead of scales in the model")
        return Target(sizes, nominal, regions)
    known_sizes, declared = node.known_dims(3), node.declared_shape()
    if known_sizes is None and declared is not None and node.str_("keep_aspect_ratio_policy", "stretch") == "stretch":
        known_sizes = [declared[a] for a in axes]
    wanted = node.dims_at(3, "the sizes") if known_sizes is None else known_sizes
    policy = node.str_("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        known = [(b.static_dim(x.shape[a], policy), b.static_dim(d, policy)) for a, d in zip(axes, wanted, strict=True)]
        one = choose(np.float32(out) / np.float32(size) for size, out in known)
        for axis, (size, _) in zip(axes, known, strict=True):
            sizes[axis], nominal[axis] = int(np.floor(one * np.float32(size) + np.float32(0.5))), one
        return Target(sizes, nominal, regions)
    for axis, dim in zip(axes, wanted, strict=True):
        sizes[axis] = dim
        nominal[axis] = np.float32(1) if dim == x.shape[axis] else None
    return Target(sizes, nominal, regions)


def _scaled(size: Dim, scale: np.float32, b: Builder) -> Dim:
    """floor(size * scale), in float32 as ONNX Runtime has it."""
    if scale <= 0:
        raise InvalidModel(f"a scale of {scale} leaves nothing", remedy="export the model again")
    if scale == int(scale):
        return size * int(scale)
    return int(np.float32(b.static_dim(size, f"an axis resized by {scale}")) * scale)


def _is_whole(size: Dim, scale: np.float32) -> bool:
    return not isinstance(size, int) or abs(float(scale) * size - round(float(scale) * size)) < 1e-4


def _resize(x: Tensor, rule: Rule, target: Target, extrapolation: float, b: Builder) -> Tensor:
    if 0 in target.sizes:
        return b.constant(np.zeros([b.static_dim(d, "an empty result") for d in target.sizes], x.element.dtype))
    grid = grid_of_tensor(x)
    if grid is not None and rule.mode == "linear" and not rule.antialias and not rule.crops:
        return b.quantize(_resize(b.dequantize(x, grid), rule, target, extrapolation, b), grid)  # to within one step
    rule = replace(rule, fixed_point=x.element.bits == 8)
    axes = [_axis(i, x.shape[i], rule, target) for i in range(x.rank)]
    axes = [a for a in axes if a.taps is None or not a.taps.is_identity]
    axes = [a for a in axes if not (a.taps is None and a.out == x.shape[a.axis])]
    if axes and tuple(target.sizes) == x.shape:  # ONNX Runtime then copies, whatever the coordinates say
        raise _keeps_size()
    element, x = x.element, _computed(x, rule, axes, b)
    if not rule.crops and all(x.shape[a.axis] == 1 for a in axes):
        return b.cast(b.broadcast_to(x, target.sizes), element)
    op = "RESIZE_NEAREST_NEIGHBOR" if rule.mode == "nearest" else "RESIZE_BILINEAR"
    fits = x.element in (kernel_types(op) or ()) and (rule.mode == "nearest" or element not in _SMALL)
    served = [a for a in axes if fits and a.kernels]
    result = _by_kernel(op, x, served, b) if served else x
    for a in axes:
        if a not in served:
            result = _gathered(result, a, x.shape[a.axis], b)
    masks = [(a.axis, a.taps.outside) for a in axes if a.taps is not None and a.taps.outside.any()]
    if masks:
        outside = np.zeros((1,) * x.rank, bool)
        for axis, mask in masks:
            outside = outside | mask.reshape([-1 if i == axis else 1 for i in range(x.rank)])
        result = b.select(b.constant(outside), b.scalar(extrapolation, result), result)
    return b.cast(result, element)


def _keeps_size() -> UnsupportedAttribute:
    return UnsupportedAttribute("a resize that moves elements and keeps the size differs from runtime to runtime",
                                remedy="give sizes instead of scales in the model")


def _axis(axis: int, size: Dim, rule: Rule, target: Target) -> Axis:
    out, scale = target.sizes[axis], target.scales[axis]
    if rule.crops and scale == 1 and target.regions[axis] != (0.0, 1.0):
        raise UnsupportedAttribute("a crop of an axis that keeps its size differs from runtime to runtime",
                                   remedy="slice it in the model")
    if scale == 1:
        return Axis(axis, out, None, frozenset(Kernel))
    if isinstance(size, int) and isinstance(out, int):
        ratio = np.float32(out) / np.float32(size) if scale is None else scale
        try:
            taps = taps_of(rule, size, out, ratio, target.regions[axis])
        except KeyError as unknown:
            raise UnsupportedAttribute(f"the mode {unknown} of Resize is not known",
                                       remedy="export the model with opset 18") from None
        if rule.antialias and size == out and not taps.is_identity:
            raise _keeps_size()
        return Axis(axis, out, taps, kernels_for(rule, taps))
    factor = out // size
    if isinstance(factor, int) and factor * size == out:
        return Axis(axis, out, None, kernels_for_growth(rule, factor))
    return Axis(axis, out, None, kernels_for_any(rule, out if isinstance(out, int) else None)
                if scale is None else frozenset())


def _computed(x: Tensor, rule: Rule, axes: Sequence[Axis], b: Builder) -> Tensor:
    """`x` in the type in which the resize is computed. Integers: only where float32 makes no rounding error."""
    if rule.mode == "nearest" or not axes:
        return x
    if x.element in _FLOATS:
        return b.float32(x)
    bits = sum(99 if a.taps is None else a.taps.dyadic_bits for a in axes)
    if x.element in _SMALL and rule.mode == "linear" and not rule.antialias and bits <= 12:
        return b.cast(x, ElementType.FLOAT32)  # casting back truncates, as ONNX Runtime does
    raise UnsupportedType(f"resizing {x.element.name} by mode {rule.mode} and such ratios rounds differently from "
                          "runtime to runtime", remedy="cast to float32 before the Resize in the model")


def _gathered(x: Tensor, axis: Axis, size: Dim, b: Builder) -> Tensor:
    """The weighted sum of gathered elements along one axis."""
    taps = axis.taps
    if taps is None:
        raise NeedsStaticShape(
            f"resizing a dimension from {size} to {axis.out} has no LiteRT kernel that serves every size",
            remedy="fix the input's dimensions: --shape NAME=1,3,512,512")
    if taps.weights is None:
        return b.gather(x, b.constant(taps.indices[:, 0].astype(np.int32)), axis.axis)
    before, after = x.shape[:axis.axis], x.shape[axis.axis + 1:]
    flat = b.reshape(x, (product(before), taps.size, product(after)))
    picked = b.gather(flat, b.constant(taps.indices.astype(np.int32)), 1)  # [before, out, taps, after]
    weighted = b.mul(picked, b.constant(taps.weights[:, :, None]))
    total = b.reduce("SUM", weighted, [2], keep_dims=False)
    return b.reshape(total, (*before, taps.out, *after))


def _by_kernel(op: str, x: Tensor, axes: Sequence[Axis], b: Builder) -> Tensor:
    """Axes resized by LiteRT's kernel, which takes two of [N,H,W,C] at a time."""
    low, high = min(a.axis for a in axes), max(a.axis for a in axes)
    if low >= 2:
        low, high = 2, x.rank - 1
    if high == x.rank - 1:
        order = [0, *range(2, x.rank), 1] if low == 2 else [*range(low, x.rank), *range(low)]
        last = b.transpose(x, order)
        first = 1 if low == 2 else 0
    else:
        order, last, first = list(range(x.rank)), x, low
    span = high - low + 1
    outs = {a.axis - low: a for a in axes}
    for i, j in _stages(span, outs):
        shape = last.shape
        at = first + i
        tail = product(shape[first + span:])
        middle = shape[at + 1] if j is not None else product(shape[at + 1:first + span])
        flat = b.reshape(last, (product(shape[:at]), shape[at], middle, tail))
        sizes: list[Dim] = [outs[i].out if i in outs else shape[at], middle if j not in outs else outs[j].out]
        fitting = _common(outs, i, j)
        align, half = next(k for k in Kernel if k in fitting).value
        flat = b.resize_2d(op, flat, sizes[0], sizes[1], align_corners=align, half_pixel_centers=half)
        made = sizes if j is not None else sizes[:1]
        last = b.reshape(flat, (*shape[:at], *made, *shape[at + len(made):]))
    return b.transpose(last, [order.index(i) for i in range(x.rank)])


def _common(outs: dict[int, Axis], i: int, j: int | None) -> frozenset[Kernel]:
    sets = [outs[k].kernels for k in (i, j) if k in outs]
    return frozenset.intersection(*sets) if sets else frozenset()


def _stages(span: int, outs: dict[int, Axis]) -> list[tuple[int, int | None]]:
    """Which axes of the span go through the kernel together: the last two where they can, others alone."""
    todo = [i for i in range(span) if i in outs]
    pair = (span - 2, span - 1)
    if span > 1 and any(i in outs for i in pair) and _common(outs, *pair):
        return [(pair[0], pair[1]), *((i, None) for i in todo if i not in pair)]
    return [(i, None) for i in todo]
