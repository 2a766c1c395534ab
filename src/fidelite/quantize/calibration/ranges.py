"""From what was seen of a tensor to the range that its integers span.

Clipping a few large values makes the steps finer for all others; the methods weigh the two differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fidelite.runtime.statistics import MAGNITUDES, TensorStatistics, bin_edges

Floats = NDArray[np.float64]

PERCENTILE = 99.999
"""Share of the values (in %) that the method "percentile" keeps inside the range."""
_COARSE: tuple[float, ...] = tuple(float(f) for f in np.geomspace(1.0, 0.02, 14))
_FINE: tuple[float, ...] = tuple(float(f) for f in np.geomspace(0.75, 1.34, 25))
_LINEAR_BINS = 4096


@dataclass(frozen=True, slots=True)
class Range:
    """`low` <= 0 <= `high`: what integers span; values beyond are clipped."""

    low: float
    high: float

    @property
    def widest(self) -> float:
        return max(-self.low, self.high)


def exact_range(statistics: TensorStatistics) -> Range:
    """Smallest and largest value seen, and zero: padding and ReLU need it to be exact."""
    if not statistics.elements:
        return Range(0.0, 0.0)
    return Range(min(statistics.minimum, 0.0), max(statistics.maximum, 0.0))


def percentile_range(statistics: TensorStatistics, levels: int, symmetric: bool) -> Range:
    """The range that leaves out (100 - `PERCENTILE`) / 2 % of the values on each side."""
    full = exact_range(statistics)
    shares = np.concatenate([[0.0], np.cumsum(statistics.counts) / max(int(statistics.counts.sum()), 1)])
    outside = (1.0 - PERCENTILE / 100.0) / 2
    low, high = np.interp([outside, 1.0 - outside], shares, bin_edges())
    return Range(max(full.low, min(float(low), 0.0)), min(full.high, max(float(high), 0.0)))


def mse_range(statistics: TensorStatistics, levels: int, symmetric: bool) -> Range:
    """The range with the least mean squared error of rounding and clipping: a coarse look at both ends, then a
    finer one at each around the best."""
    full = exact_range(statistics)
    seen = _Seen.of(statistics, full)
    lows = [full.low * c for c in _COARSE] if full.low < 0.0 else [0.0]
    highs = [full.high * c for c in _COARSE] if full.high > 0.0 else [0.0]
    best = _least(seen, [Range(low, high) for low in lows for high in highs], levels, symmetric)
    for _ in range(2):
        ends = [(max(best.low * f, full.low), min(best.high * f, full.high)) for f in _FINE]
        best = _least(seen, [best, *(Range(low, best.high) for low, _ in ends)], levels, symmetric)
        best = _least(seen, [best, *(Range(best.low, high) for _, high in ends)], levels, symmetric)
    return best


def _least(seen: _Seen, tried: Sequence[Range], levels: int, symmetric: bool) -> Range:
    return min(tried, key=lambda one: seen.squared_error(one, levels, symmetric))


def entropy_range(statistics: TensorStatistics, levels: int, symmetric: bool) -> Range:
    """The range whose quantized distribution tells least about having been quantized (Kullback-Leibler divergence).

    After S. Migacz, "8-bit inference with TensorRT" (GTC 2017): the clipped values are counted at the edge.
    """
    full = exact_range(statistics)
    if full.widest == 0.0:
        return full
    edges = np.linspace(full.low, full.high, _LINEAR_BINS + 1)
    counts = statistics.counts.copy()
    counts[MAGNITUDES] = 0  # exact zeros, half of what a ReLU gives, are exact in any range
    share = np.concatenate([[0.0], np.cumsum(counts)]).astype(np.float64)
    linear = np.diff(np.interp(edges, bin_edges(), share))
    best, least = full, np.inf
    for shrink in np.linspace(1.0, 0.1, 91).tolist():
        low, high = full.low * shrink, full.high * shrink
        first, last = np.searchsorted(edges, low, "right") - 1, np.searchsorted(edges, high, "left")
        if last - first < levels:
            break
        told = _divergence(linear, int(first), int(last), levels)
        if told < least:
            best, least = Range(low, high), told
    return best


def _divergence(linear: Floats, first: int, last: int, levels: int) -> float:
    """KL divergence of the part from bin `first` to `last`, its edges swollen by what is clipped, from its levels."""
    kept = linear[first:last]
    clipped = kept.copy()
    clipped[0] += linear[:first].sum()
    clipped[-1] += linear[last:].sum()
    level = np.arange(len(kept)) * levels // len(kept)
    filled = kept > 0
    sums = np.bincount(level, kept, levels)
    places = np.bincount(level, filled, levels)
    quantized = np.where(filled, sums[level] / np.maximum(places[level], 1), 0.0)
    p, q = clipped / max(clipped.sum(), 1e-300), quantized / max(quantized.sum(), 1e-300)
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / np.maximum(q[held], 1e-9))))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The filled bins: centres (cut to the exact ends), widths and shares."""

    centres: Floats
    widths: Floats
    shares: Floats

    @staticmethod
    def of(statistics: TensorStatistics, full: Range) -> _Seen:
        filled = np.flatnonzero(statistics.counts)
        edges = bin_edges()
        low = np.maximum(edges[filled], min(full.low, statistics.minimum))
        high = np.minimum(edges[filled + 1], max(full.high, statistics.maximum))
        centres = np.where(filled == MAGNITUDES, 0.0, (low + high) / 2)
        counts = statistics.counts[filled].astype(np.float64)
        return _Seen(centres, np.where(filled == MAGNITUDES, 0.0, np.maximum(high - low, 0.0)),
                     counts / max(counts.sum(), 1.0))

    def squared_error(self, tried: Range, levels: int, symmetric: bool) -> float:
        """Mean squared difference between a value and its integer's, were the range `tried`."""
        low, high = (-tried.widest, tried.widest) if symmetric else (tried.low, tried.high)
        step = (high - low) / (levels - 1)
        if step <= 0.0:
            return float(np.sum(self.shares * self.centres**2))
        inside = np.clip(self.centres, low, high)
        rounded = np.where(self.widths < step / 2, inside - np.rint(inside / step) * step, step / np.sqrt(12.0))
        rounded = np.where(self.centres == 0.0, 0.0, rounded)
        beyond = self.centres - inside
        return float(np.sum(self.shares * (rounded**2 + beyond**2)))


def clipped_share(statistics: TensorStatistics, chosen: Range) -> float:
    """The share of the counted values that lies outside the range."""
    counts = np.concatenate([[0], np.cumsum(statistics.counts)]).astype(np.float64)
    below, above = np.interp([chosen.low, chosen.high], bin_edges(), counts)
    full = exact_range(statistics)
    total = max(float(counts[-1]), 1.0)
    left = below if chosen.low > full.low else 0.0
    right = counts[-1] - above if chosen.high < full.high else 0.0
    return float(left + right) / total


RANGE_METHODS: Mapping[str, Callable[[TensorStatistics, int, bool], Range]] = {
    "minmax": lambda statistics, levels, symmetric: exact_range(statistics),
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}




def range_of(statistics: TensorStatistics, method: str, levels: int = 256, *, symmetric: bool = False) -> Range:
    """The range for `levels` integers by one of `RANGE_METHODS`. `symmetric`: zero lies in its middle."""
    return RANGE_METHODS[method](statistics, levels, symmetric)
