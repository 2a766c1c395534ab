"""Medians, and how sure they are."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """The median of ratios that were taken in pairs, and a bound that it stays below with `confidence`."""

    median: float
    upper: float
    pairs: int
    confidence: float

    def to_json(self) -> dict[str, float | int]:
        return {"median": self.median, "upper": self.upper, "pairs": self.pairs, "confidence": self.confidence}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """`ours / theirs`, pair by pair. Raises ValueError where the two differ in number or a time is not positive."""
    if min([*ours, *theirs], default=0.0) <= 0.0:
        raise ValueError("times must be there, and positive")
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def bootstrap_upper(groups: Sequence[Sequence[float]], confidence: float = 0.95, resamples: int = 2000,
                    seed: int = 0) -> float:
    """The one-sided upper bound of the median: the `confidence` quantile of medians of resamples.

    Each group (the pairs of one process) is resampled with replacement within itself, so that every process
    keeps its weight. B. Efron, "Bootstrap methods: another look at the jackknife", Ann. Statist. 7 (1979).

    Raises ValueError where there is nothing to resample.
    """
    if not groups or not all(groups):
        raise ValueError("no pairs were measured")
    draw = random.Random(seed)
    medians = sorted(
        statistics.median([value for group in groups for value in draw.choices(group, k=len(group))])
        for _ in range(resamples)
    )
    return medians[min(resamples - 1, int(confidence * resamples))]


def paired_ratio(groups: Sequence[tuple[Sequence[float], Sequence[float]]], confidence: float = 0.95) -> PairedRatio:
    """Of (our times, their times) per process: the median ratio over all pairs, and its bound."""
    found = [ratios(ours, theirs) for ours, theirs in groups]
    everything = [value for group in found for value in group]
    upper = bootstrap_upper(found, confidence)
    return PairedRatio(statistics.median(everything), upper, len(everything), confidence)


def marginal_growth(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """How the cost of one more node grows: that between the two largest sizes over that between the two smallest.

    1 where time grows linearly (whatever the start costs), about 4 where it is quadratic and sizes quadruple.
    Raises ValueError for fewer than three sizes, for sizes that do not ascend, and where the smaller step costs
    nothing that a clock can see.
    """
    if len(sizes) < 3 or list(sizes) != sorted(set(sizes)):
        raise ValueError("three sizes or more are needed, in ascending order")
    steps = [(seconds[i + 1] - seconds[i]) / (sizes[i + 1] - sizes[i]) for i in range(len(sizes) - 1)]
    if steps[0] <= 0.0:
        raise ValueError("the smaller chains took the same time: more runs are needed")
    return steps[-1] / steps[0]
