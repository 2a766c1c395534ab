"""Ties: an index may fall either way where the scores do not tell, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.check.indices import choices_of
from fidelite.check.ties import Scores, Ties, judge_ties
from tests.optimize.classics import Net

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


def test_indices_that_the_source_itself_makes_are_judged_on_their_scores() -> None:
    """Rounded weights move a score or two past another: that is no fault of an ArgMax in the model."""
    net = Net((1, 8, 24, 24))
    scores = net.conv(net.add("Relu", net.conv("x", 8, 32)), 32, 12)
    chosen = net.add("ArgMax", scores, axis=1, keepdims=0)
    model = net.model(net.add("Cast", chosen, to=TensorProto.INT32))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(net.nodes[-1].output[0], TensorProto.INT32, [1, 24, 24]))
    choice, = choices_of(onnx_ir.from_proto(model), [model.graph.output[0].name]).values()
    assert (choice.scores, choice.axis) == (scores, 1)
    found = fidelite.convert(model, precision="dynamic-int8").verification
    assert found is not None
    assert found.outputs[0].ties
    assert sum(t.differing for t in found.outputs[0].ties) > 0
