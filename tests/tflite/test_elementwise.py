"""What the Builder does for elements: axes merged, 64 bits in order, views that LiteRT overwrites."""

from __future__ import annotations

import numpy as np
import pytest

from fidelite.tflite.builder import Builder
from fidelite.tflite.builder.elementwise import merge_axes
from fidelite.tflite.dims import SymbolicDim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType
from tests.tflite.graphs import build, run


@pytest.mark.parametrize("kind", ["reshape", "bitcast", "both"])
def test_no_view_of_a_shared_view(kind: str) -> None:
    """LiteRT writes the product over the sum's operand where both are views of one view."""
    def graph(b: Builder, x: Tensor) -> Tensor:
        there = b.mul(x, x)
        if kind != "bitcast":
            there = b.reshape(there, (3, 1))
        if kind != "reshape":
            there = b.bitcast(there, ElementType.UINT64)

        def back() -> Tensor:
            return b.reshape(b.bitcast(there, ElementType.INT64), (3,))

        product = b.mul(back(), x)
        return b.add(back(), product)

    x = np.array([2, 3, 4], np.int64)
    np.testing.assert_array_equal(run(build(graph, (np.int64, [3])), [x])[0][0], x * x + x * x * x)


def test_axes_that_broadcast_alike_are_merged() -> None:
    assert merge_axes((2, 3, 1, 4, 5), [(2, 3, 1, 4, 5), (4, 5)]) == ((6, 20), [(6, 20), (1, 20)])
    n = SymbolicDim.symbol("n")
    assert merge_axes((n, n, 4), [(n, n, 4), (1, 1, 4)]) == ((n * n, 4), [(n * n, 4), (1, 4)])
    assert merge_axes((4, 4), [(4, 4), (n, 4)])[0] == (4, 4)  # n may be 1


@pytest.mark.parametrize("dtype", [np.uint64, np.float64])
def test_order_as_signed_integers(dtype: type) -> None:
    values = [0, 1, 2**63 - 1, 2**63, 2**64 - 1] if dtype is np.uint64 else [-np.inf, -1e300, -1, 0, 1e-300, 1, np.inf]
    x = np.array(values, dtype)
    element = ElementType.of(dtype)

    def graph(b: Builder, x: Tensor) -> list[Tensor]:
        keys = b.ordered(x)
        return [keys, b.from_ordered(keys, element)]

    keys, again = run(build(graph, (dtype, [len(x)])), [x])[0]
    assert (np.diff(keys.astype(object)) > 0).all()
    np.testing.assert_array_equal(again, x)
