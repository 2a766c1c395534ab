"""Chains of views: where each pass must fire, and where it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fidelite.optimize.commute import HoistViewsAboveSlices, KeepInnermostAxes, MergeReshapesAcross
from fidelite.optimize.dead import DropDeadOperators
from fidelite.optimize.depth import FindDepthToSpace
from fidelite.optimize.fuse import FuseTransposesIntoProducts
from fidelite.optimize.passes import Pass
from fidelite.optimize.views import ShortenViews
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType
from tests.lower.support import Array
from tests.optimize.support import check_pass, refuses

Outputs = Sequence[Tensor]
Build = Callable[[Builder, Tensor], Outputs]
VIEWS: list[Pass] = [ShortenViews(), DropDeadOperators()]


def weights(*shape: int) -> Array:
    return np.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)


def view(b: Builder, x: Tensor, *shape: int) -> Tensor:
    return b.one("RESHAPE", [x, b.int32(list(shape))], x.element, shape, newShape=list(shape))


def turn(b: Builder, x: Tensor, *order: int) -> Tensor:
    return b.transpose(x, order)


@pytest.mark.parametrize(("build", "expected"), [
    (lambda b, x: (b.relu(view(b, view(b, x, 4, 30), 120)),), "RESHAPE RELU"),
    (lambda b, x: (b.relu(view(b, view(b, x, 4, 30), 1, 4, 5, 6)),), "RELU"),
    (lambda b, x: (b.relu(turn(b, turn(b, x, 0, 2, 3, 1), 0, 3, 1, 2)),), "RELU"),
    (lambda b, x: (b.relu(turn(b, turn(b, x, 0, 2, 3, 1), 0, 2, 3, 1)),), "TRANSPOSE RELU"),
    (lambda b, x: (b.relu(turn(b, view(b, x, 4, 30), 1, 0)),), "RESHAPE TRANSPOSE RELU"),
    (lambda b, x: (b.relu(view(b, turn(b, view(b, x, 4, 30), 1, 0), 5, 6, 4)),), "RESHAPE TRANSPOSE RELU"),
    (lambda b, x: (turn(b, turn(b, x, 0, 2, 3, 1), 0, 2, 3, 1),), "TRANSPOSE"),
    (lambda b, x: (view(b, view(b, x, 4, 30), 120),), "RESHAPE"),
])
def test_chains_are_shortened(build: Build, expected: str) -> None:
    check_pass(VIEWS, build, expected)


def test_a_chain_of_nothing_that_ends_in_an_output() -> None:
    """Its root's maker makes the output, unless that is an output, or an input, itself."""
    check_pass(VIEWS, lambda b, x: (view(b, view(b, b.relu(x), 4, 30), 1, 4, 5, 6),), "RELU")
    check_pass(VIEWS, lambda b, x: (view(b, view(b, x, 4, 30), 1, 4, 5, 6),), "RESHAPE")

    def twice(b: Builder, x: Tensor) -> Outputs:
        y = b.relu(x)
        return y, view(b, view(b, y, 4, 30), 1, 4, 5, 6)
    check_pass(VIEWS, twice, "RELU RESHAPE")


def test_an_end_that_is_another_tensor() -> None:
    """The chain leads back to a value that others read: it must not be taken from them."""
    def build(b: Builder, x: Tensor) -> Outputs:
        y = b.unary("NEG", x)
        back = view(b, view(b, view(b, y, 4, 1, 30), 4, 30), 1, 4, 5, 6)
        return back, turn(b, y, 0, 2, 3, 1)
    check_pass(VIEWS, build, "NEG TRANSPOSE")


@pytest.mark.parametrize("build", [
    lambda b, x: (b.relu(view(b, x, 120)),),
    lambda b, x: (b.relu(turn(b, x, 0, 3, 2, 1)),),
    lambda b, x: (view(b, turn(b, view(b, x, 2, 2, 5, 6), 1, 0, 2, 3), 4, 5, 6),),
])
def test_short_chains_stay(build: Build) -> None:
    refuses([ShortenViews()], build)


def test_a_reduction_drops_its_units_itself() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        return (view(b, b.reduce("MEAN", x, [1, 2], keep_dims=True), 1, 6),)
    check_pass(VIEWS, build, "MEAN")


def _mean_is_read(b: Builder, x: Tensor) -> Outputs:
    mean = b.reduce("MEAN", x, [1, 2], keep_dims=True)
    return view(b, mean, 1, 6), b.unary("NEG", mean)


@pytest.mark.parametrize("build", [
    _mean_is_read, lambda b, x: (view(b, b.reduce("MEAN", x, [1, 2], keep_dims=True), 6),)])
def test_units_that_stay(build: Build) -> None:
    refuses([ShortenViews()], build)


# -- depth to space

DEPTH: list[Pass] = [FindDepthToSpace(), DropDeadOperators()]
DEEP = (1, 5, 6, 8)


def shuffle(b: Builder, x: Tensor, *, by_channel: bool, first: bool = False) -> Tensor:
    n, h, w, _ = x.static_shape
    split = (n, h, w, 2, 2, 2)
    order = (0, 1, 4, 2, 5, 3) if by_channel else (0, 1, 3, 2, 4, 5)
    y = view(b, turn(b, view(b, x, *split), *order), n, h * 2, w * 2, 2)
    return turn(b, y, 0, 3, 1, 2) if first else y


def pointwise(b: Builder, x: Tensor) -> Tensor:
    return b.conv_2d(x, b.constant(weights(8, 1, 1, 8)), b.constant(weights(8)))


@pytest.mark.parametrize("first", [False, True])
def test_blocks_first(first: bool) -> None:
    tail = " TRANSPOSE" if first else ""
    check_pass(DEPTH, lambda b, x: (shuffle(b, x, by_channel=False, first=first),), f"DEPTH_TO_SPACE{tail}", DEEP)


@pytest.mark.parametrize("first", [False, True])
def test_channels_first_after_a_convolution(first: bool) -> None:
    tail = " TRANSPOSE" if first else ""
    check_pass(DEPTH, lambda b, x: (shuffle(b, pointwise(b, x), by_channel=True, first=first),),
               f"CONV_2D DEPTH_TO_SPACE{tail}", DEEP)


def _read_twice(b: Builder, x: Tensor) -> Outputs:
    y = pointwise(b, x)
    return shuffle(b, y, by_channel=True), b.unary("NEG", y)


def _grouped(b: Builder, x: Tensor) -> Outputs:
    y = b.conv_2d(x, b.constant(weights(8, 1, 1, 4)), b.constant(weights(8)))
    return (shuffle(b, y, by_channel=True),)


def _inner_output(b: Builder, x: Tensor) -> Outputs:
    six = turn(b, view(b, x, 1, 5, 6, 2, 2, 2), 0, 1, 3, 2, 4, 5)
    return view(b, six, 1, 10, 12, 2), six


def _other_order(b: Builder, x: Tensor) -> Outputs:
    six = turn(b, view(b, x, 1, 5, 6, 2, 2, 2), 0, 1, 4, 2, 3, 5)
    return (view(b, six, 1, 10, 12, 2),)


@pytest.mark.parametrize("build", [
    _read_twice, _grouped, _inner_output, _other_order, lambda b, x: (shuffle(b, x, by_channel=True),),
    lambda b, x: (shuffle(b, b.relu(x), by_channel=True),)])
def test_what_is_no_depth_to_space(build: Build) -> None:
    refuses(DEPTH, build, DEEP)


def test_depth_to_space_of_other_types() -> None:
    check_pass(DEPTH, lambda b, x: (shuffle(b, x, by_channel=False),), "DEPTH_TO_SPACE", DEEP, ElementType.INT32)
    refuses(DEPTH, lambda b, x: (shuffle(b, x, by_channel=False),), DEEP, ElementType.INT16)


# -- views that move past what does not mind them

ACROSS: list[Pass] = [MergeReshapesAcross(), ShortenViews(), DropDeadOperators()]


@pytest.mark.parametrize(("build", "expected"), [
    (lambda b, x: (view(b, b.relu(view(b, x, 4, 30)), 120),), "RELU RESHAPE"),
    (lambda b, x: (view(b, b.mul(view(b, x, 4, 30), b.scalar(2.0, x)), 1, 4, 5, 6),), "MUL"),
    (lambda b, x: (view(b, b.fully_connected(view(b, x, 20, 6), b.constant(weights(3, 6)), None), 1, 4, 5, 3),),
     "FULLY_CONNECTED"),
])
def test_reshapes_merge_across(build: Build, expected: str) -> None:
    check_pass(ACROSS, build, expected)


def _middle_is_output(b: Builder, x: Tensor) -> Outputs:
    y = b.relu(view(b, x, 4, 30))
    return y, view(b, y, 120)


@pytest.mark.parametrize("build", [
    _middle_is_output,
    lambda b, x: (view(b, b.mul(view(b, x, 4, 30), b.constant(weights(30))), 120),),
    lambda b, x: (view(b, b.softmax(view(b, x, 4, 30)), 120),)])
def test_reshapes_that_do_not_merge(build: Build) -> None:
    refuses(ACROSS, build)


def test_views_of_sibling_slices_are_one() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        parts = [turn(b, view(b, b.slice(x, (0, 0, i, 0, 0), (1, 4, 1, 2, 3)), 1, 4, 2, 3), 0, 2, 1, 3)
                 for i in range(3)]
        return (b.add(b.mul(parts[0], parts[1]), parts[2]),)
    model = check_pass([HoistViewsAboveSlices(), ShortenViews(), DropDeadOperators()], build,
                       "RESHAPE TRANSPOSE SLICE SLICE MUL SLICE ADD", (1, 4, 3, 2, 3))
    assert model


def test_the_innermost_axis_stays_innermost() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        keys = turn(b, x, 0, 2, 3, 1)  # 1 5 6 4, from 1 4 5 6
        return (b.batch_matmul(b.constant(weights(1, 5, 2, 6)), keys),)
    check_pass([ShortenViews(), KeepInnermostAxes(), ShortenViews(), FuseTransposesIntoProducts(),
                DropDeadOperators()], build, "TRANSPOSE BATCH_MATMUL")
