"""Fusion, folding and sharing: where each pass must fire, and where it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fidelite.optimize.affine import FoldAffine
from fidelite.optimize.dead import DropDeadOperators
from fidelite.optimize.fuse import DropNeedlessBroadcasts, FuseActivations, FuseTransposesIntoProducts
from fidelite.optimize.padding import PadPoolsWithZeros
from fidelite.optimize.passes import Log, Pass, run_passes
from fidelite.optimize.share import CancelCasts, ShareEqualOperators
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Quantization, Tensor
from fidelite.tflite.types import ElementType
from tests.lower.support import Array
from tests.optimize.support import check_pass, graph_of, refuses

Outputs = Sequence[Tensor]
Build = Callable[[Builder, Tensor], Outputs]
FOLD: list[Pass] = [FoldAffine()]
ACTIVATE: list[Pass] = [FuseActivations()]


def weights(*shape: int, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), np.float32)


def conv(b: Builder, x: Tensor, out: int = 3, kernel: int = 3) -> Tensor:
    filters = b.constant(weights(out, kernel, kernel, x.static_shape[-1]))
    return b.conv_2d(x, filters, b.constant(weights(out, seed=1)), padding=0)


def depthwise(b: Builder, x: Tensor) -> Tensor:
    return b.depthwise_conv_2d(x, b.constant(weights(1, 3, 3, 6)), b.constant(weights(6)), multiplier=1, padding=0)


def dense(b: Builder, x: Tensor) -> Tensor:
    return b.fully_connected(x, b.constant(weights(3, 6)), b.constant(weights(3)))


def dense_without_bias(b: Builder, x: Tensor) -> Tensor:
    return b.fully_connected(x, b.constant(weights(3, 6)), None)


def upsample(b: Builder, x: Tensor) -> Tensor:
    return b.transpose_conv(x, b.constant(weights(3, 2, 2, 6)), b.constant(weights(3)), (1, 8, 10, 3), strides=(2, 2))


MAKERS = {"CONV_2D": conv, "DEPTHWISE_CONV_2D": depthwise, "FULLY_CONNECTED": dense, "TRANSPOSE_CONV": upsample}


@pytest.mark.parametrize("op", sorted(MAKERS))
@pytest.mark.parametrize("per_channel", [False, True])
def test_scale_and_shift_fold_into_weights(op: str, per_channel: bool) -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        y = MAKERS[op](b, x)
        channels = y.static_shape[-1] if per_channel else 1
        y = b.mul(y, b.constant(weights(channels, seed=3)))
        y = b.sub(b.add(b.constant(weights(1, 1, 1, channels, seed=4)), y), b.constant(weights(channels, seed=5)))
        return (b.div(y, b.constant(weights(channels, seed=6))),)
    check_pass(FOLD, build, op)


def test_a_missing_bias_is_made() -> None:
    check_pass(FOLD, lambda b, x: (b.add(dense_without_bias(b, x), b.constant(weights(3))),), "FULLY_CONNECTED")
    check_pass(FOLD, lambda b, x: (b.mul(dense_without_bias(b, x), b.constant(weights(3))),), "FULLY_CONNECTED")


def test_a_scale_folds_into_the_weights_behind_it() -> None:
    check_pass(FOLD, lambda b, x: (conv(b, b.mul(x, b.constant(weights(6)))),), "CONV_2D")
    check_pass(FOLD, lambda b, x: (conv(b, b.pad(b.mul(x, b.constant(weights(6))), (0, 1, 1, 0), (0, 1, 1, 0))),),
               "PAD CONV_2D")


def _shared(b: Builder, x: Tensor) -> Outputs:
    y = conv(b, x)
    return b.mul(y, b.constant(weights(3))), b.unary("NEG", y)


def _output_between(b: Builder, x: Tensor) -> Outputs:
    y = conv(b, x)
    return y, b.mul(y, b.constant(weights(3)))


def _not_per_channel(b: Builder, x: Tensor) -> Outputs:
    return (b.mul(conv(b, x), b.constant(weights(1, 1, 5, 1))),)


def _growing(b: Builder, x: Tensor) -> Outputs:
    return (b.mul(conv(b, x, out=1), b.constant(weights(3))),)


def _from_the_constant(b: Builder, x: Tensor) -> Outputs:
    return b.sub(b.constant(weights(3)), conv(b, x)), b.div(b.constant(weights(3)), conv(b, x, out=3))


def _run_time_factor(b: Builder, x: Tensor) -> Outputs:
    return (b.mul(conv(b, x, out=6), x),)


def _after_activation(b: Builder, x: Tensor) -> Outputs:
    y = conv(b, x)
    assert y.producer is not None
    y.producer.options["fusedActivationFunction"] = 1
    return (b.mul(y, b.constant(weights(3))),)


def _by_zero(b: Builder, x: Tensor) -> Outputs:
    return (b.div(conv(b, x), b.constant(np.asarray([1, 0, 2], np.float32))),)


def _shift_before(b: Builder, x: Tensor) -> Outputs:
    """The padding is zeros of the shifted value: folding would change the border."""
    return (conv(b, b.add(x, b.constant(weights(6)))),)


def _grouped(b: Builder, x: Tensor) -> Outputs:
    y = b.mul(x, b.constant(weights(6)))
    return (b.conv_2d(y, b.constant(weights(4, 3, 3, 3)), None, padding=0),)


def _scaled_and_read(b: Builder, x: Tensor) -> Outputs:
    y = b.mul(x, b.constant(weights(6)))
    return conv(b, y), b.unary("NEG", y)


@pytest.mark.parametrize("build", [
    _shared, _output_between, _not_per_channel, _growing, _from_the_constant, _run_time_factor, _after_activation,
    _by_zero, _shift_before, _grouped, _scaled_and_read])
def test_what_does_not_fold(build: Build) -> None:
    refuses(FOLD, build)


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_activations_fuse(activation: str) -> None:
    check_pass(ACTIVATE, lambda b, x: (b.unary(activation, conv(b, x)),), "CONV_2D")
    check_pass(ACTIVATE, lambda b, x: (b.unary(activation, b.add(x, b.scalar(0.5, x))),), "ADD")
    check_pass(ACTIVATE, lambda b, x: (b.unary(activation, b.pool_2d(
        "MAX_POOL_2D", x, kernel=(2, 2), strides=(2, 2))),), "MAX_POOL_2D")


def test_a_fused_activation_stops_the_next() -> None:
    check_pass(ACTIVATE, lambda b, x: (b.unary("RELU6", b.relu(conv(b, x))),), "CONV_2D RELU6")


def _activated_output(b: Builder, x: Tensor) -> Outputs:
    y = conv(b, x)
    return y, b.relu(y)


def _activated_and_read(b: Builder, x: Tensor) -> Outputs:
    y = conv(b, x)
    return b.relu(y), b.unary("NEG", y)


@pytest.mark.parametrize("build", [
    _activated_output, _activated_and_read,
    lambda b, x: (b.relu(b.concat([x, x], 3)),), lambda b, x: (b.relu(b.maximum(x, b.scalar(0.5, x))),),
    lambda b, x: (b.logistic(conv(b, x)),), lambda b, x: (b.relu(x),)])
def test_activations_that_stay(build: Build) -> None:
    refuses(ACTIVATE, build)


SWAP: list[Pass] = [FuseTransposesIntoProducts(), DropDeadOperators()]


def test_transposes_become_flags_of_products() -> None:
    check_pass(SWAP, lambda b, x: (b.batch_matmul(x, b.transpose(x, (0, 1, 3, 2))),), "BATCH_MATMUL")
    check_pass(SWAP, lambda b, x: (b.batch_matmul(b.transpose(x, (0, 1, 3, 2)), x),), "BATCH_MATMUL")
    check_pass(SWAP, lambda b, x: (b.batch_matmul(x, b.transpose(b.transpose(x, (0, 1, 3, 2)), (0, 1, 3, 2)),
                                                  adj_y=True),), "BATCH_MATMUL")


def test_a_shared_transpose_stays_for_its_others() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        turned = b.transpose(x, (0, 1, 3, 2))
        return b.batch_matmul(x, turned), b.unary("NEG", turned)
    check_pass(SWAP, build, "TRANSPOSE BATCH_MATMUL NEG")


def test_other_transposes_are_no_flags() -> None:
    refuses(SWAP, lambda b, x: (b.batch_matmul(b.transpose(x, (1, 0, 2, 3)), b.constant(weights(1, 4, 6, 2))),),
            (4, 1, 5, 6))


BROADCASTS: list[Pass] = [DropNeedlessBroadcasts(), DropDeadOperators()]


def test_needless_broadcasts() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        row = b.reduce("MEAN", x, [1], keep_dims=True)
        return (b.sub(x, b.broadcast_to(row, x.shape)),)
    check_pass(BROADCASTS, build, "MEAN SUB")


def _only_wide(b: Builder, x: Tensor) -> Outputs:
    wide = b.broadcast_to(x, (2, 4, 5, 6))
    return (b.add(wide, b.constant(weights(1, 1, 1, 6))),)


def _both_wide(b: Builder, x: Tensor) -> Outputs:
    wide = b.broadcast_to(x, (2, 4, 5, 6))
    return (b.add(wide, wide),)


@pytest.mark.parametrize("build", [_only_wide, _both_wide, lambda b, x: (b.broadcast_to(x, (2, 4, 5, 6)),),
                                   lambda b, x: (b.concat([b.broadcast_to(x, (2, 4, 5, 6))] * 2, 0),)])
def test_needed_broadcasts(build: Build) -> None:
    refuses(BROADCASTS, build)


SHARE: list[Pass] = [ShareEqualOperators(), DropDeadOperators()]


def test_equal_operators_are_computed_once() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        a = b.unary("SIN", b.add(x, b.scalar(2.0, x)))
        c = b.unary("SIN", b.add(x, b.scalar(2.0, x)))
        return (b.mul(a, c),)
    check_pass(SHARE, build, "ADD SIN MUL")


def _other_constant(b: Builder, x: Tensor) -> Outputs:
    return (b.mul(b.add(x, b.scalar(2.0, x)), b.add(x, b.scalar(3.0, x))),)


def _other_options(b: Builder, x: Tensor) -> Outputs:
    return (b.mul(b.leaky_relu(x, 0.1), b.leaky_relu(x, 0.2)),)


def _outputs(b: Builder, x: Tensor) -> Outputs:
    return b.unary("SIN", x), b.unary("SIN", x)


@pytest.mark.parametrize("build", [_other_constant, _other_options, _outputs])
def test_unequal_operators_stay(build: Build) -> None:
    refuses(SHARE, build)


def test_equal_bytes_of_another_scale_are_not_equal() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        made: list[Tensor] = []
        for scale in (0.5, 0.25):
            constant = Constant.of(np.ones((6,), np.int8))
            stored = Tensor("q", ElementType.INT8, (6,), constant=constant, quantization=Quantization((scale,), (0,)))
            made.append(b.emit("DEQUANTIZE", [stored], [(ElementType.FLOAT32, (6,))])[0])
        return (b.add(b.add(x, made[0]), made[1]),)
    refuses(SHARE, build)


CASTS: list[Pass] = [CancelCasts(), DropDeadOperators()]


def test_casts_there_and_back() -> None:
    def there_and_back(b: Builder, x: Tensor) -> Outputs:
        return (b.unary("NEG", b.cast(b.cast(x, ElementType.INT64), ElementType.INT32)),)
    check_pass(CASTS, there_and_back, "NEG", element=ElementType.INT32)


@pytest.mark.parametrize("build", [
    lambda b, x: (b.unary("NEG", b.cast(b.cast(x, ElementType.FLOAT32), ElementType.INT32)),),  # 24 bits of 32
    lambda b, x: (b.unary("NEG", b.cast(b.cast(x, ElementType.INT8), ElementType.INT32)),),
    lambda b, x: (b.cast(b.cast(x, ElementType.INT64), ElementType.INT32),)])
def test_casts_that_stay(build: Build) -> None:
    refuses(CASTS, build, element=ElementType.INT32)


POOLS: list[Pass] = [PadPoolsWithZeros()]


def padded_pool(b: Builder, x: Tensor) -> Tensor:
    lowest = np.asarray(-np.inf, np.float32)
    padded = b.pad(x, (0, 1, 1, 0), (0, 1, 1, 0), b.constant(lowest))
    return b.pool_2d("MAX_POOL_2D", padded, kernel=(3, 3), strides=(2, 2))


def test_pools_of_what_is_never_negative_pad_with_zeros() -> None:
    check_pass(POOLS, lambda b, x: (padded_pool(b, b.relu(x)),), "RELU PAD MAX_POOL_2D")
    refuses(POOLS, lambda b, x: (padded_pool(b, x),))
    refuses(POOLS, lambda b, x: (padded_pool(b, b.unary("TANH", x)),))


def test_dead_operators_go_in_chains() -> None:
    def build(b: Builder, x: Tensor) -> Outputs:
        b.unary("SIN", b.unary("COS", x))
        return (b.unary("NEG", x),)
    check_pass([DropDeadOperators()], build, "NEG")


def test_passes_that_never_settle_are_told() -> None:
    class Restless:
        name = "restless"

        def run(self, model: object, log: Log) -> int:
            return 1

    from fidelite.errors import InternalError
    with pytest.raises(InternalError, match="for ever"):
        run_passes(graph_of(lambda b, x: (b.unary("NEG", x),)), [Restless()])  # type: ignore[list-item]
