"""Every operator of the table: LiteRT and TensorFlow on one graph."""

from __future__ import annotations

import numpy as np
import pytest

from fidelite.write.saved_model.refusals import refusals
from fidelite.write.saved_model.table import makers
from tests.extras.tensorflow.cases import all_cases
from tests.extras.tensorflow.networks import network_cases
from tests.extras.tensorflow.support import Case, in_litert, in_tensorflow

CASES = [*all_cases(), *network_cases()]
RANDOM = {"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"}
"""These give other numbers each time: test_networks has what can be said of them."""


def test_no_operator_is_left_out() -> None:
    assert {case.op for case in CASES} | RANDOM == set(makers())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case: Case) -> None:
    model = case.model()
    graphs = [model.main, *(g for o in model.main.operators for g in o.graphs)]
    assert case.op in {o.op for graph in graphs for o in graph.operators}
    assert refusals(model) == []
    expected, actual = in_litert(model, case.inputs), in_tensorflow(model, case.inputs)
    for wanted, found in zip(expected, actual, strict=True):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if case.exact or wanted.dtype.kind not in "fc":
            np.testing.assert_array_equal(found, wanted)
        else:
            scale = float(np.max(np.abs(wanted), initial=1e-6))
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * scale)
