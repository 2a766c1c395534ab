"""Which elements of an axis, with which weights, make each element of the resized axis. Numbers only.

The arithmetic is ONNX Runtime's (`upsamplebase.h`, `upsample.cc`), in float32 as there: where a coordinate is a tie,
its rounding decides. LiteRT's is that of `resize_bilinear.h` and `resize_nearest_neighbor.h`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import ceil

import numpy as np

_F = np.float32
_HALF = _F(0.5)
_TIE = 1e-6
"""A coordinate so near to the middle between two elements counts as a tie."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The attributes of Resize that say how coordinates become elements."""

    mode: str
    """nearest, linear or cubic."""
    coordinate: str
    nearest: str = "round_prefer_floor"
    """`simple` is that of Upsample and of Resize in opset 10: ceil where it shrinks, else floor."""
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    fixed_point: bool = False
    """For types of one byte, LiteRT's plain nearest kernel counts in 65536ths, rounded up: it may go one too far."""

    @property
    def crops(self) -> bool:
        return self.coordinate == "tf_crop_and_resize"


@dataclass(frozen=True, slots=True)
class Taps:
    """Element i of the result is sum_k weights[i, k] * x[indices[i, k]]; without weights there is one tap.

    `outside` tells where the coordinate lies outside the axis (for `extrapolation_value`).
    """

    size: int
    indices: np.ndarray
    weights: np.ndarray | None
    outside: np.ndarray

    @property
    def out(self) -> int:
        return self.indices.shape[0]

    @property
    def is_identity(self) -> bool:
        return self.weights is None and np.array_equal(self.indices[:, 0], np.arange(self.size))

    @property
    def dyadic_bits(self) -> int:
        """How many bits behind the point the weights have; 99 where they are no short binary fractions."""
        if self.weights is None:
            return 0
        for bits in range(16):
            scaled = self.weights.astype(np.float64) * (1 << bits)
            if np.array_equal(scaled, np.round(scaled)):
                return bits
        return 99


class Kernel(enum.Enum):
    """How LiteRT's resize kernels place the result's elements: (align_corners, half_pixel_centers).

    The first that fits is taken: HALF_PIXEL places them alike for all types, also once a model is quantized.
    """

    HALF_PIXEL = (False, True)
    PLAIN = (False, False)
    ALIGNED = (True, False)


def taps_of(rule: Rule, size: int, out: int, scale: np.float32, roi: tuple[float, float] = (0.0, 1.0)) -> Taps:
    """The taps of an axis of `size` that is resized to `out` elements, nominally by `scale`."""
    at = coordinates(rule.coordinate, size, out, scale, roi)
    outside = (at < 0) | (at > size - 1) if rule.crops else np.zeros(out, bool)
    if rule.mode == "nearest":
        found = np.clip(_rounded(rule.nearest, at, bool(scale < 1)), 0, size - 1).astype(np.int64)
        return Taps(size, found[:, None], None, outside)
    if rule.antialias:
        indices, weights = _filtered(rule, size, at, scale)
    elif rule.mode == "linear":
        indices, weights = _linear(size, at)
    else:
        indices, weights = _cubic(rule, size, at)
    used = (weights != 0).any(axis=0)
    used[0] |= not used.any()
    indices, weights = indices[:, used], weights[:, used]
    if indices.shape[1] == 1 and (weights == 1).all():
        return Taps(size, indices, None, outside)
    return Taps(size, indices, weights.astype(np.float32), outside)


def coordinates(mode: str, size: int, out: int, scale: np.float32, roi: tuple[float, float]) -> np.ndarray:
    """Where each element of the result lies on the axis of the input. Raises KeyError for an unknown mode."""
    i = np.arange(out, dtype=np.float32)
    length, scale = _F(size), _F(scale)
    if scale == 1 and mode != "tf_crop_and_resize":
        return i
    half = (i + _HALF) / scale - _HALF
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        return half
    if mode == "half_pixel_symmetric":
        offset = length / _F(2) * (_F(1) - _F(out) / (scale * length))
        return (float(offset) + (i + 0.5).astype(np.float64) / float(scale) - 0.5).astype(np.float32)
    if mode == "tf_crop_and_resize":
        start, end = _F(roi[0]), _F(roi[1])
        if out == 1:
            return np.full(1, _HALF * (start + end) * (length - 1), np.float32)
        return start * (length - 1) + i * (end - start) * (length - 1) / _F(out - 1)
    return {"pytorch_half_pixel": i * 0, "asymmetric": i / scale, "tf_half_pixel_for_nn": (i + _HALF) / scale,
            "align_corners": i * (length - 1) / _F(max(out - 1, 1))}[mode]


def _rounded(mode: str, at: np.ndarray, shrinks: bool) -> np.ndarray:
    if mode.startswith("round_prefer"):
        tie = np.abs(at - np.floor(at) - _HALF) < _TIE
        return np.where(tie, np.floor(at) if mode == "round_prefer_floor" else np.ceil(at), _round_away(at))
    if mode == "simple":
        return np.ceil(at) if shrinks else np.trunc(at)
    return {"floor": np.floor, "ceil": np.ceil}[mode](at)


def _round_away(at: np.ndarray) -> np.ndarray:
    """std::round: halves go away from zero."""
    return np.where(at < 0, np.ceil(at.astype(np.float64) - 0.5), np.floor(at.astype(np.float64) + 0.5))


def _linear(size: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.clip(at, 0, _F(size - 1))
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    share = np.where(low == high, _F(0), at - low.astype(np.float32))
    return np.stack([low, high], 1), np.stack([_F(1) - share, share], 1)


def _cubic(rule: Rule, size: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys' cubic convolution with parameter `cubic_a`, over the four neighbours."""
    low = np.floor(at)
    indices = low.astype(np.int64)[:, None] + np.arange(-1, 3)
    weights = _keys(at.astype(np.float64)[:, None] - indices, rule.cubic_a)
    if rule.exclude_outside:
        weights = np.where((indices >= 0) & (indices < size), weights, 0.0)
        total = weights.sum(axis=1, keepdims=True)  # 0 where all four lie outside, which is extrapolated
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    return np.clip(indices, 0, size - 1), weights


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _filtered(rule: Rule, size: int, at: np.ndarray, scale: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Antialias: the filter is as wide as the step between results, so that it averages where the axis shrinks."""
    step = max(1 / float(scale), 1.0)
    support = (1.0 if rule.mode == "linear" else 2.0) * step
    center = at.astype(np.float64) + 0.5
    first = np.floor(center - support + 0.5).astype(np.int64)
    last = np.floor(center + support + 0.5).astype(np.int64)
    width = max(int((last - first).max(initial=1)), ceil(2 * support))
    indices = first[:, None] + np.arange(width)
    inside = (indices >= 0) & (indices < size)
    distance = (indices - center[:, None] + 0.5) / step
    weights = np.maximum(1 - np.abs(distance), 0) if rule.mode == "linear" else _keys(distance, rule.cubic_a)
    weights = np.where((indices < last[:, None]) & (inside | (not rule.exclude_outside)), weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, size - 1), weights / np.where(total == 0, 1.0, total)


# -- LiteRT's kernels


def kernels_for(rule: Rule, taps: Taps) -> frozenset[Kernel]:
    """The kernel settings with which LiteRT's RESIZE_NEAREST_NEIGHBOR (or RESIZE_BILINEAR) computes just these taps."""
    if taps.outside.any() or taps.indices.shape[1] > 2:
        return frozenset()
    found: set[Kernel] = set()
    for kernel in Kernel:
        if rule.mode == "nearest":
            same = np.array_equal(taps.indices[:, 0], _litert_nearest(kernel, taps.size, taps.out, rule.fixed_point))
        else:
            at = _litert_coordinates(kernel, taps.size, taps.out)
            near = taps.indices.max(axis=1) - taps.indices.min(axis=1) <= 1
            weights = np.ones(1) if taps.weights is None else taps.weights.astype(np.float64)
            mine = (taps.indices * weights).sum(axis=1)
            tolerance = 4 * np.finfo(np.float32).eps * max(taps.size, 1)
            same = bool(near.all()) and bool((np.abs(mine - np.clip(at, 0, taps.size - 1)) <= tolerance).all())
        if same:
            found.add(kernel)
    return frozenset(found)


def _litert_scale(kernel: Kernel, size: int, out: int) -> np.float32:
    return _F(size - 1) / _F(out - 1) if kernel is Kernel.ALIGNED and out > 1 else _F(size) / _F(out)


def _litert_coordinates(kernel: Kernel, size: int, out: int) -> np.ndarray:
    i = np.arange(out, dtype=np.float32)
    scale = _litert_scale(kernel, size, out)
    return (i + _HALF) * scale - _HALF if kernel is Kernel.HALF_PIXEL else i * scale


def _litert_nearest(kernel: Kernel, size: int, out: int, fixed_point: bool = False) -> np.ndarray:
    if fixed_point and kernel is Kernel.PLAIN:
        return np.minimum(np.arange(out) * ((size << 16) // out + 1) >> 16, size - 1)
    i = np.arange(out, dtype=np.float32)
    at = (i + (_HALF if kernel is Kernel.HALF_PIXEL else _F(0))) * _litert_scale(kernel, size, out)
    at = _round_away(at) if kernel is Kernel.ALIGNED else np.floor(at)
    return np.clip(at, 0, size - 1).astype(np.int64)


def kernels_for_growth(rule: Rule, factor: int) -> frozenset[Kernel]:
    """The kernel settings that serve every size of an axis that grows by a whole number."""
    if rule.crops or rule.mode == "cubic" or rule.antialias:
        return frozenset()
    sizes = (1, 2, 3, 4, 7, 64, 1023, 1 + 65536 // factor)
    return frozenset.intersection(
        *(kernels_for(rule, taps_of(rule, size, size * factor, _F(factor))) for size in sizes))


def kernels_for_any(rule: Rule, out: int | None) -> frozenset[Kernel]:
    """The kernel settings that serve an axis of any size, resized to `out` (None: to any size) elements."""
    if rule.mode != "linear" or rule.antialias or (rule.coordinate == "pytorch_half_pixel" and (out or 1) == 1):
        return frozenset()
    half = Kernel.HALF_PIXEL
    table = {"half_pixel": half, "pytorch_half_pixel": half, "half_pixel_symmetric": half,
             "asymmetric": Kernel.PLAIN, "align_corners": Kernel.ALIGNED}
    return frozenset({table[rule.coordinate]} if rule.coordinate in table else ())
