"""What is kept of a tensor's values over many samples: exact ends, a histogram, means of channels.

The histogram's bins are fixed beforehand, so that those of different samples, processes and machines add up: 32 to a
power of two, from 2**-64 to 2**64 on both sides of zero, and one for what is smaller. A bin is 3 % wide. Memory does
not depend on the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MAGNITUDES = 128 * 32
"""Bins on each side of zero."""
BINS = 2 * MAGNITUDES + 1
_MANTISSA_BITS_DROPPED = 23 - 5
_LEAST_KEY = (127 - 64) << 5
COUNTED = 1 << 16
"""Values of a tensor that are counted per sample; more are taken at equal distances. The ends are always exact."""


@cache
def bin_edges() -> Floats:
    """The `BINS + 1` edges, ascending; bin i holds what lies between edge i and edge i + 1."""
    steps = np.arange(MAGNITUDES + 1)
    positive = np.ldexp(1.0 + (steps % 32) / 32.0, steps // 32 - 64)
    return np.concatenate([-positive[::-1], positive])


def bins_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each value, told by the bits of sign, exponent and mantissa. NaN falls into an outermost bin."""
    bits = values.view(np.uint32)
    keys = ((bits & 0x7FFFFFFF) >> _MANTISSA_BITS_DROPPED).astype(np.int64) - (_LEAST_KEY - 1)
    np.clip(keys, 0, MAGNITUDES, out=keys)
    return np.where(bits >> 31, MAGNITUDES - keys, MAGNITUDES + keys)


@dataclass
class TensorStatistics:
    """`elements` were looked at for `minimum` and `maximum`, of which the histogram `counts` holds a part.

    `finite` is False where a value was NaN or infinite. `channel_sum` has the sum per entry of the last axis, over
    `positions` places; it is empty where nobody asked for it.
    """

    minimum: float = np.inf
    maximum: float = -np.inf
    elements: int = 0
    samples: int = 0
    finite: bool = True
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    channel_sum: Floats = field(default_factory=lambda: np.zeros(0))
    positions: int = 0

    def add(self, values: NDArray[Any], number: int, *, channels: bool = False) -> None:
        """Take in the tensor's values (float32, any shape) of sample `number`, which decides what is counted."""
        self.samples += 1
        if not values.size:
            return
        least, most = float(values.min()), float(values.max())
        self.elements += values.size
        if not (np.isfinite(least) and np.isfinite(most)):
            self.finite = False
            return
        self.minimum, self.maximum = min(self.minimum, least), max(self.maximum, most)
        flat = np.ascontiguousarray(values).reshape(-1)
        self.counts += np.bincount(bins_of(np.ascontiguousarray(thinned(flat, number))), minlength=BINS)
        if channels and values.ndim:
            rows = flat.reshape(-1, values.shape[-1])
            sums = rows.sum(0, dtype=np.float64)
            self.channel_sum = sums if not self.channel_sum.size else self.channel_sum + sums
            self.positions += len(rows)

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """What one observer would have kept of the samples of both."""
        sums = [s for s in (self.channel_sum, other.channel_sum) if s.size]
        return TensorStatistics(
            min(self.minimum, other.minimum), max(self.maximum, other.maximum), self.elements + other.elements,
            self.samples + other.samples, self.finite and other.finite, self.counts + other.counts,
            sums[0] + sums[1] if len(sums) == 2 else sums[0] if sums else np.zeros(0),
            self.positions + other.positions)

    @property
    def channel_mean(self) -> Floats:
        """The mean per entry of the last axis; empty where it was not asked for."""
        return self.channel_sum / max(self.positions, 1)

    def facts(self) -> dict[str, Any]:
        """The numbers that are not arrays, as JSON has them."""
        empty = not np.isfinite(self.minimum)
        return {"minimum": None if empty else self.minimum, "maximum": None if empty else self.maximum,
                "elements": self.elements, "samples": self.samples, "finite": self.finite,
                "positions": self.positions}


def statistics_of(facts: dict[str, Any], counts: Counts, channel_sum: Floats) -> TensorStatistics:
    """Back from `facts` and the two arrays, as the worker sends them."""
    empty = facts["minimum"] is None
    return TensorStatistics(np.inf if empty else facts["minimum"], -np.inf if empty else facts["maximum"],
                            facts["elements"], facts["samples"], facts["finite"], counts, channel_sum,
                            facts["positions"])


def thinned(flat: NDArray[Any], number: int, limit: int = COUNTED) -> NDArray[Any]:
    """At most `limit` values at equal distances, begun elsewhere for each sample.

    The distance shares no factor with the size, so that no axis is seen at the same place again and again.
    """
    if flat.size <= limit:
        return flat
    step = -(-flat.size // limit)
    while gcd(step, flat.size) != 1:
        step += 1
    return flat[(number * 7919) % step::step]
