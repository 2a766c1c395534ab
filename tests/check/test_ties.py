"""Ties: an index may fall either way where the scores do not tell, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fidelite.check.ties import Scores, Ties, judge_ties

VALUES = np.array([[0.9, 0.9000001, 0.1, -np.inf, -np.inf]])


def _judge(expected: Any, actual: Any, scores: Scores) -> Ties:
    return judge_ties(np.array(expected), np.array(actual), scores, 1e-4, 1e-7)


@pytest.mark.parametrize(("actual", "beyond"), [([1], 0), ([0], 0), ([2], 1), ([5], 1), ([-6], 1), ([-4], 0)])
def test_argmax_without_its_axis(actual: list[int], beyond: int) -> None:
    assert _judge([1], actual, Scores(VALUES, 1)).beyond == beyond


def test_argmax_with_its_axis_kept() -> None:
    assert _judge([[1]], [[0]], Scores(VALUES, -1)).beyond == 0
    assert _judge([[1]], [[2]], Scores(VALUES, -1)).beyond == 1


@pytest.mark.parametrize(
    ("actual", "beyond"),
    [
        ([[1, 0, 2]], 0),
        ([[0, 1, 2]], 0),
        ([[0, 0, 2]], 1),  # the same index twice is no ranking
        ([[0, 2, 1]], 2),
    ],
)
def test_top_k(actual: list[list[int]], beyond: int) -> None:
    assert _judge([[1, 0, 2]], actual, Scores(VALUES, 1)).beyond == beyond


def test_equal_infinities_are_a_tie() -> None:
    assert _judge([[3, 4]], [[4, 3]], Scores(VALUES, 1)).beyond == 0


def test_booleans_by_their_margin() -> None:
    scores = Scores(np.array([1.0, 1e-6, -0.5]))
    assert _judge([True, True, False], [True, False, False], scores).beyond == 0
    assert _judge([True, True, False], [True, True, True], scores).beyond == 1
    assert _judge([True, True, False], [False, True, True], scores).to_json()["differing"] == 2


def test_nan_scores_excuse_nothing() -> None:
    assert _judge([0], [1], Scores(np.array([[np.nan, 1.0]]), 1)).beyond == 1
