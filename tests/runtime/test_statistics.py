"""Statistics of tensors: exact ends, bins told by bits, and partial results that add up to the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fidelite.runtime.statistics import BINS, COUNTED, TensorStatistics, bin_edges, bins_of, statistics_of, thinned

FLOATS = arrays.arrays(np.float32, st.integers(1, 50),
                       elements=st.floats(-(2.0**63), 2.0**63, width=32))


@given(FLOATS)
def test_each_value_lies_between_the_edges_of_its_bin(values: np.ndarray) -> None:
    edges, bins = bin_edges(), bins_of(values)
    exact = values.astype(np.float64)
    magnitude, place = np.abs(exact), np.where(exact < 0, BINS - 1 - bins, bins)
    assert (edges[place] <= magnitude).all()
    assert (magnitude <= edges[place + 1]).all()


def test_edges_ascend_and_bins_are_at_most_a_thirtysecond_wide() -> None:
    edges = bin_edges()
    assert len(edges) == BINS + 1
    assert (np.diff(edges) > 0).all()
    positive = edges[edges > 0]
    assert np.max(np.diff(positive) / positive[:-1]) == pytest.approx(1 / 32)


@given(st.lists(arrays.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)), min_size=2, max_size=6),
       st.integers(1, 5))
def test_merged_parts_are_the_whole(samples: list[np.ndarray], cut: int) -> None:
    whole, first, second = TensorStatistics(), TensorStatistics(), TensorStatistics()
    for number, values in enumerate(samples):
        whole.add(values, number, channels=True)
        (first if number < cut else second).add(values, number, channels=True)
    merged = first.merge(second)
    assert merged.facts() == whole.facts()
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.channel_sum, whole.channel_sum, rtol=1e-12)
    stack = np.stack(samples).astype(np.float64)
    assert (whole.minimum, whole.maximum) == (stack.min(), stack.max())
    np.testing.assert_allclose(whole.channel_mean, stack.mean((0, 1)), rtol=1e-6, atol=1e-6)


def test_large_tensors_keep_exact_ends_and_count_a_part() -> None:
    values = np.random.default_rng(0).standard_normal((1, 300, 300, 3)).astype(np.float32)
    values[0, 7, 11, 2] = 1e6
    found = TensorStatistics()
    found.add(values, 0)
    assert found.maximum == 1e6
    assert found.elements == values.size
    assert COUNTED / 2 < found.counts.sum() <= COUNTED


@pytest.mark.parametrize("shape", [(1000, 64), (999, 63), (64, 2048), (65, 4097)])
def test_thinning_sees_every_entry_of_the_last_axis(shape: tuple[int, int]) -> None:
    columns = np.broadcast_to(np.arange(shape[1]), shape).reshape(-1)
    seen = thinned(columns, 0, limit=shape[1] * 8)
    assert len(np.unique(seen)) > shape[1] * 0.9


def test_what_is_not_finite_is_said_and_spoils_nothing() -> None:
    found = TensorStatistics()
    found.add(np.array([1.0, 2.0], np.float32), 0)
    found.add(np.array([np.nan, 5.0], np.float32), 1)
    found.add(np.array([np.inf, 5.0], np.float32), 2)
    assert not found.finite
    assert (found.minimum, found.maximum) == (1.0, 2.0)
    assert found.counts.sum() == 2


def test_facts_and_arrays_lead_back_to_the_same() -> None:
    found = TensorStatistics()
    assert statistics_of(found.facts(), found.counts, found.channel_sum).facts() == found.facts()
    found.add(np.ones((2, 3), np.float32), 0, channels=True)
    back = statistics_of(found.facts(), found.counts, found.channel_sum)
    assert back.facts() == found.facts()
    np.testing.assert_array_equal(back.channel_mean, np.ones(3))
