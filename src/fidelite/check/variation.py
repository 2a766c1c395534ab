"""How much an output varies between samples: what a wrong result would have to be told apart from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fidelite.check.compare import blocks, is_float, json_number
from fidelite.runtime.protocol import Array


@dataclass(frozen=True, slots=True)
class Variation:
    """`rms`: root of the mean over elements of the variance over samples. `peak`: an element's largest range.

    `varying`: the share of elements that are not the same in all samples. Elements that are not finite in
    every sample do not count. Where the samples' shapes differ, all values are taken as one element's.
    """

    rms: float
    peak: float
    varying: float

    def to_json(self) -> dict[str, Any]:
        return {n: json_number(getattr(self, n)) for n in ("rms", "peak", "varying")}


def measure_variation(samples: Sequence[Array]) -> Variation:
    """The variation of an output that came out like this, one array per sample (of one type)."""
    if len({s.shape for s in samples}) > 1:
        return _of_values(samples)
    variance, peak, varying, count = 0.0, 0.0, 0, 0
    fine = all(not is_float(s.dtype) or bool(np.isfinite(s).all()) for s in samples)
    for pieces in blocks(*samples):
        if not fine:
            finite = np.logical_and.reduce([np.isfinite(p) for p in pieces])
            pieces = tuple(p[finite] for p in pieces)
        if not pieces[0].size:
            continue
        ranges = np.maximum.reduce(pieces) - np.minimum.reduce(pieces)
        mean = sum(pieces[1:], pieces[0]) / len(pieces)
        for piece in pieces:
            deviation = piece - mean
            variance += float(np.einsum("i,i->", deviation, deviation)) / len(pieces)
        peak = max(peak, float(ranges.max()))
        varying += int(np.count_nonzero(ranges))
        count += pieces[0].size
    if not count:
        return Variation(0.0, 0.0, 0.0)
    if not varying and not is_float(samples[0].dtype):  # int64 beyond 2^53
        varying = max(int(np.count_nonzero(s != samples[0])) for s in samples)
        peak, variance = (1.0, 1.0) if varying else (peak, variance)
    return Variation(math.sqrt(variance / count), peak, varying / count)


def _of_values(samples: Sequence[Array]) -> Variation:
    """The spread of all values about their mean, for samples of different shapes."""
    pieces = [piece for s in samples for (piece,) in blocks(s)]
    values = np.concatenate(pieces) if pieces else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return Variation(0.0, 0.0, 0.0)
    peak = float(values.max() - values.min())
    return Variation(float(values.std()), peak, float(np.mean(values != values[0])))
