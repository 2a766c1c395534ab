"""Operators, TRANSPOSEs and bytes per model: they only go down, each beside its proof."""

from __future__ import annotations

import pytest

from tests.golden.models import CASES, available, figures_of, read_table, worse

TABLE = read_table()


@pytest.mark.parametrize("case", CASES)
def test_figures(case: str) -> None:
    if not available(case):
        pytest.skip("the model is not there")
    found = figures_of(case)
    assert not worse(TABLE[case], found)
    remedy = "better, or different: look at it, then run python -m tests.golden.update"
    assert found["operators"] == TABLE[case]["operators"], remedy


def test_the_table_has_no_other_rows() -> None:
    assert set(TABLE) <= set(CASES)
