"""LiteRT writes over values that are still needed where views hide who reads them: the fault itself, and its remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fidelite.errors import InternalError
from fidelite.optimize.memory import KeepValues
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Tensor
from fidelite.tflite.memory import IN_PLACE, overwrites
from fidelite.tflite.types import ElementType
from fidelite.tflite.verifier import check_memory
from tests.lower.support import tflite_bytes
from tests.optimize.support import check_pass, graph_of, op_list, run

Build = Callable[[Builder, Tensor], Sequence[Tensor]]
SHAPE = (4, 6)


def view(b: Builder, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A RESHAPE of `x` itself (the Builder goes to the root of a chain)."""
    return b.one("RESHAPE", [x, b.int32(list(shape))], x.element, shape, newShape=list(shape))


def plus(b: Builder, x: Tensor, value: int = 2) -> Tensor:
    return b.add(x, b.scalar(value, x))


def other_view(b: Builder, x: Tensor, op: str) -> Tensor:
    if op == "EXPAND_DIMS":
        return b.one(op, [x, b.int32(0)], x.element, (1, *x.shape))
    if op == "SQUEEZE":
        return b.one(op, [x], x.element, x.shape, squeezeDims=[])
    return b.one(op, [x], ElementType.FLOAT32, x.shape)


def two_views(b: Builder, x: Tensor) -> Sequence[Tensor]:
    first = view(b, b.unary("NEG", x), (24,))
    written = plus(b, view(b, first, (6, 4)))
    return b.unary("NEG", written), b.unary("NEG", first)


def sum_then_view(b: Builder, x: Tensor) -> Sequence[Tensor]:
    total = plus(b, plus(b, x))
    written = plus(b, view(b, total, (24,)))
    return b.unary("NEG", written), b.unary("NEG", total)


def values(model: Model, xnnpack: bool) -> list[np.ndarray]:
    element = model.main.inputs[0].element
    feeds = {"x": np.arange(24).reshape(SHAPE).astype(element.dtype)}
    return list(run(tflite_bytes(model), feeds, xnnpack=xnnpack).values())


@pytest.mark.parametrize("build", [two_views, sum_then_view])
def test_the_fault(build: Build) -> None:
    """Shown without the remedy: where this fails, LiteRT has been mended, and `tflite.memory` may go."""
    model = graph_of(build, SHAPE, ElementType.INT32)
    assert overwrites(model.main)
    wrong = values(model, False)
    run_pass(model)
    right = values(model, False)
    assert not np.array_equal(wrong[1], right[1])


def run_pass(model: Model) -> None:
    from fidelite.optimize.passes import run_passes

    run_passes(model, [KeepValues()])


@pytest.mark.parametrize("xnnpack", [False, True])
@pytest.mark.parametrize("element", [ElementType.INT32, ElementType.FLOAT32])
def test_the_remedy(element: ElementType, xnnpack: bool) -> None:
    numbers = np.arange(24).reshape(SHAPE)
    chain = graph_of(two_views, SHAPE, element)
    run_pass(chain)
    assert op_list(chain).count("SLICE") == 0  # the second view is made from what owns the memory
    np.testing.assert_array_equal(values(chain, xnnpack)[0], -(2 - numbers).reshape(6, 4))
    np.testing.assert_array_equal(values(chain, xnnpack)[1], numbers.reshape(-1))
    total = graph_of(sum_then_view, SHAPE, element)
    run_pass(total)
    assert op_list(total).count("SLICE") == 1
    np.testing.assert_array_equal(values(total, xnnpack)[0], -(numbers + 6).reshape(-1))
    np.testing.assert_array_equal(values(total, xnnpack)[1], -(numbers + 4))
    assert not overwrites(total.main)


@pytest.mark.parametrize("op", ["EXPAND_DIMS", "SQUEEZE", "BITCAST"])
def test_other_views(op: str) -> None:
    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        total = plus(b, plus(b, x))
        seen = other_view(b, total, op)
        return b.unary("NEG", plus(b, seen)), b.unary("NEG", total)

    model = graph_of(build, SHAPE, ElementType.INT32)
    assert overwrites(model.main)
    run_pass(model)
    np.testing.assert_array_equal(values(model, False)[1], -(np.arange(24).reshape(SHAPE) + 4))


def test_the_verifier_refuses() -> None:
    with pytest.raises(InternalError, match="written over"):
        check_memory(graph_of(two_views, SHAPE))


def one_view(b: Builder, x: Tensor) -> Sequence[Tensor]:
    """The view's source is a result of its own memory: LiteRT counts its readers."""
    total = b.unary("NEG", x)
    return b.unary("NEG", plus(b, view(b, total, (24,)))), b.unary("NEG", total)


def read_before(b: Builder, x: Tensor) -> Sequence[Tensor]:
    """The other reader has run before: what overwrites needs it."""
    total = plus(b, plus(b, x))
    other = b.reshape(b.unary("NEG", total), (24,))
    return (b.unary("NEG", b.add(view(b, total, (24,)), other)),)


def no_writer(b: Builder, x: Tensor) -> Sequence[Tensor]:
    total = plus(b, plus(b, x))
    return b.unary("NEG", view(b, total, (24,))), b.unary("NEG", total)


def view_of_input(b: Builder, x: Tensor) -> Sequence[Tensor]:
    first = view(b, x, (24,))
    return b.unary("NEG", plus(b, first)), b.unary("NEG", x)


def smaller_result(b: Builder, x: Tensor) -> Sequence[Tensor]:
    """A broadcast that grows is not computed in place."""
    total = plus(b, plus(b, x))
    wide = b.constant(np.ones((2, 24), total.element.dtype))
    return b.unary("NEG", b.add(view(b, total, (24,)), wide)), b.unary("NEG", total)


@pytest.mark.parametrize("build", [one_view, read_before, no_writer, view_of_input, smaller_result])
def test_it_stays_where_all_is_well(build: Build) -> None:
    model = graph_of(build, SHAPE)
    check_pass([KeepValues()], build, " ".join(op_list(model)), SHAPE)


@pytest.mark.parametrize("op", sorted(IN_PLACE.keys() - {"DYNAMIC_UPDATE_SLICE"}))
def test_operators_that_write_in_place(op: str) -> None:
    """The table holds: each of them does overwrite."""
    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        total = plus(b, plus(b, x))
        seen = view(b, total, (24,))
        written = b.softmax(seen) if op == "SOFTMAX" else b.binary(op, seen, b.scalar(3, seen))
        return b.unary("NEG", written), b.unary("NEG", total)

    model = graph_of(build, SHAPE)
    wrong = values(model, False)
    assert overwrites(model.main)
    run_pass(model)
    right = values(model, False)
    assert not np.array_equal(wrong[1], right[1])
    np.testing.assert_array_equal(right[1], -(np.arange(24).reshape(SHAPE) + 4))
