"""Medians of paired ratios, their bounds, and the growth of chains."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stats import bootstrap_upper, marginal_growth, paired_ratio, ratios

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


def test_ratios_are_taken_pair_by_pair() -> None:
    assert ratios([1.0, 3.0], [2.0, 1.0]) == [0.5, 3.0]


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([], [])])
def test_ratios_refuse_what_is_no_measurement(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError):
        ratios(ours, theirs)


@given(TIMES)
def test_bound_lies_within_the_values(values: list[float]) -> None:
    assert min(values) <= bootstrap_upper([values], resamples=50) <= max(values)


@given(TIMES, TIMES)
def test_bound_grows_with_confidence(one: list[float], other: list[float]) -> None:
    low, high = (bootstrap_upper([one, other], confidence, resamples=50) for confidence in (0.5, 0.95))
    assert low <= high


def test_bound_is_the_same_each_time() -> None:
    values = [random.Random(1).gauss(1.0, 0.1) for _ in range(50)]
    assert bootstrap_upper([values]) == bootstrap_upper([values])


def test_bound_covers_the_true_median() -> None:
    """Of 100 series whose true median is 1, about 95 have a bound above it."""
    draw = random.Random(0)
    covered = [bootstrap_upper([[draw.gauss(1.0, 0.2) for _ in range(40)]], resamples=200) >= 1.0 for _ in range(100)]
    assert sum(covered) >= 88


@pytest.mark.parametrize("groups", [[], [[]], [[1.0], []]])
def test_bound_refuses_empty_groups(groups: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        bootstrap_upper(groups)


def test_paired_ratio_joins_processes() -> None:
    found = paired_ratio([([2.0, 2.0], [1.0, 1.0]), ([3.0], [1.0])])
    assert (found.median, found.pairs, found.confidence) == (2.0, 3, 0.95)
    assert found.median <= found.upper <= 3.0
    assert found.to_json() == {"median": 2.0, "upper": found.upper, "pairs": 3, "confidence": 0.95}


@given(st.floats(0.1, 10.0), st.floats(1e-4, 1e-2))
def test_linear_time_grows_by_one(start: float, per_node: float) -> None:
    sizes = (1_000, 4_000, 16_000)
    assert marginal_growth(sizes, [start + per_node * size for size in sizes]) == pytest.approx(1.0, rel=1e-6)


def test_quadratic_time_shows() -> None:
    sizes = (1_000, 4_000, 16_000)
    assert marginal_growth(sizes, [1e-6 * size**2 for size in sizes]) == pytest.approx(4.0)


@pytest.mark.parametrize(("sizes", "seconds"), [((1, 2), (1.0, 2.0)), ((1, 3, 2), (1.0, 2.0, 3.0)),
                                                ((1, 2, 3), (2.0, 2.0, 3.0))])
def test_growth_refuses_what_tells_nothing(sizes: tuple[int, ...], seconds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        marginal_growth(sizes, seconds)


def test_median_is_that_of_all_pairs() -> None:
    ours, theirs = [1.0, 2.0, 9.0], [1.0, 1.0, 1.0]
    assert paired_ratio([(ours, theirs)]).median == statistics.median(ours)
