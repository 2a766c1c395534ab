"""Trilu and ReverseSequence against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel
from tests.lower.drawing import Case, dtypes, ints, refuses, shape, values, ways


@given(shape(2, 5, least=0, most=3), st.none() | st.integers(-5, 5), st.integers(0, 1), dtypes, ways)
def test_trilu(given: list[int], k: int | None, upper: int, dtype: Any, way: str) -> None:
    params = {} if k is None else {"k": np.asarray(k)}
    Case("Trilu", {"x": values(given)}, params, opset=14, attributes={"upper": upper}).check(
        dtype, "constant" if 0 in given else way)


def test_trilu_of_diagonals_far_off() -> None:
    for k in (2**62, -2**62):
        Case("Trilu", {"x": values([3, 4])}, {"k": np.asarray(k)}, opset=14).check(way="run time")


def test_trilu_keeps_what_is_no_number_out() -> None:
    x = np.full((2, 2), np.nan, np.float32)
    Case("Trilu", {"x": x}, opset=14).check()


def test_trilu_of_many_dimensions() -> None:
    Case("Trilu", {"x": values([2, 1, 2, 1, 2, 2, 3])}, opset=14).check(np.uint64)


@given(shape(2, 4, least=0), st.data(), dtypes, st.sampled_from(["constant", "run time"]))
def test_reverse_sequence(given: list[int], data: Any, dtype: Any, way: str) -> None:
    time = data.draw(st.integers(0, 1))
    lengths = [data.draw(st.integers(0, given[time])) for _ in range(given[1 - time])]
    Case("ReverseSequence", {"x": values(given)}, {"l": ints(*lengths)}, opset=10,
         attributes={"time_axis": time, "batch_axis": 1 - time}).check(dtype, way)


def test_axes_that_are_not_the_first_two_are_refused() -> None:
    refuses(ContradictoryModel, "must be 0 and 1", "ReverseSequence", {"x": values([2, 3])}, {"l": ints(1, 1)},
            time_axis=1, batch_axis=1)
