"""int8 and int16x8 end to end on small networks: near the float graph, bias correction as its formula says, ports."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from fidelite.check.stored import RealValues, stored_ports
from fidelite.errors import QuantizationError
from fidelite.options import IMPROVEMENTS
from fidelite.quantize.calibration import calibrate
from fidelite.quantize.static import STATIC, Quantized, quantize_static
from fidelite.quantize.static.correct import mean_shift
from fidelite.quantize.static.grids import channel_grid
from fidelite.quantize.static.ports import retype_ports
from fidelite.runtime.litert import LiteRtSession
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Model
from fidelite.tflite.grid import on_grid
from fidelite.tflite.types import ElementType
from fidelite.write.flatbuffer import write_model
from tests.quantize.small import boxes_and_scores, conv_net, pictures

Array = np.ndarray[Any, Any]


def answers(model: Model, samples: list[dict[str, Array]], *, xnnpack: bool = True) -> Array:
    stream = BytesIO()
    write_model(model, stream)
    with RealValues(LiteRtSession(stream.getvalue(), xnnpack=xnnpack), stored_ports(model.main)) as session:
        return np.stack([session.run(s)["y"] for s in samples])


def quantized(precision: str = "int8", **options: Any) -> tuple[Model, Quantized]:
    model = conv_net()
    calibration = calibrate(model, pictures(16))
    return model, quantize_static(model, calibration, STATIC[precision], **options)


@pytest.mark.parametrize("xnnpack", [True, False])
@pytest.mark.parametrize(("precision", "least"), [("int8", 30.0), ("int16x8", 38.0)])
def test_integers_compute_nearly_the_same(precision: str, least: float, xnnpack: bool) -> None:
    held = pictures(16)[:6]
    wanted = answers(conv_net(), held)
    model, found = quantized(precision, improve=IMPROVEMENTS)
    error = answers(model, held, xnnpack=xnnpack) - wanted
    assert 10 * np.log10(np.sum(wanted**2) / np.sum(error**2)) > least
    assert found.integers.native >= 5
    assert found.kept_float() == []
    inner = {t.element for o in model.main.operators if o.op in ("CONV_2D", "FULLY_CONNECTED") for t in o.outputs}
    assert inner == {STATIC[precision].activations}
    assert found.seen["samples"] == 16


def test_improvements_can_be_left_out_and_tell_what_they_gained() -> None:
    assert quantized(improve=())[1].improvements == []
    (told,) = quantized(improve=("bias-correction",))[1].improvements
    assert told["name"] == "bias-correction"
    assert told["operators"] == 3
    assert 0 < told["largest_share"] < 0.1


@pytest.mark.parametrize(("op", "shape", "channels"), [
    ("FULLY_CONNECTED", (5, 6), 6), ("CONV_2D", (5, 1, 1, 6), 6), ("CONV_2D", (6, 3, 3, 2), 6),
    ("DEPTHWISE_CONV_2D", (1, 3, 3, 6), 6), ("DEPTHWISE_CONV_2D", (1, 3, 3, 6), 3)])
def test_the_shift_of_means_is_what_constant_inputs_show(op: str, shape: tuple[int, ...], channels: int) -> None:
    """On an input that is everywhere its mean, an operator (without padding) gives exactly the mean's shift."""
    rng = np.random.default_rng(0)
    weights, means = rng.standard_normal(shape), rng.standard_normal(channels)
    found = mean_shift(op, weights, means)
    assert found is not None
    if op == "FULLY_CONNECTED":
        expected = weights @ means
    elif op == "DEPTHWISE_CONV_2D":
        each = shape[3] // channels
        expected = np.array([weights[0, :, :, o].sum() * means[o // each] for o in range(shape[3])])
    else:
        groups = channels // shape[3]
        per_group = shape[0] // groups
        expected = np.array([sum(weights[o, :, :, i].sum() * means[(o // per_group) * shape[3] + i]
                                 for i in range(shape[3])) for o in range(shape[0])])
    np.testing.assert_allclose(found, expected)


def test_shapes_that_do_not_tell_are_left_alone() -> None:
    assert mean_shift("CONV_2D", np.zeros((4, 1, 1, 3)), np.zeros(0)) is None
    assert mean_shift("DEPTHWISE_CONV_2D", np.zeros((1, 1, 1, 4)), np.zeros(3)) is None
    assert mean_shift("FULLY_CONNECTED", np.zeros((2, 3)), np.zeros(4)) is None
    assert mean_shift("TRANSPOSE_CONV", np.zeros((2, 1, 1, 3)), np.zeros(3)) is None


@pytest.mark.parametrize("element", [ElementType.INT8, ElementType.INT4])
def test_scales_of_least_squares_are_no_worse_than_those_of_the_largest(element: ElementType) -> None:
    values = np.random.default_rng(0).laplace(size=(6, 3, 3, 8))
    errors: list[Array] = []
    for least_squares in (False, True):
        grid = channel_grid(values, 0, element, least_squares=least_squares)
        rounded = on_grid(Constant.of(values.astype(np.float32)), grid, narrow=True).numpy()
        errors.append(np.square(rounded - values).sum((1, 2, 3)))
    assert (errors[1] <= errors[0] * (1 + 1e-5)).all()
    if element is ElementType.INT4:
        assert errors[1].sum() < 0.95 * errors[0].sum()


@pytest.mark.parametrize("element", [ElementType.INT8, ElementType.UINT8])
def test_ports_of_integers_give_the_same_answers(element: ElementType) -> None:
    held = pictures(4, seed=5)
    model, _ = quantized()
    before = answers(model, held)
    grids, kept = retype_ports(model, element)
    assert set(grids) == {"x", "y"}
    assert kept == {}
    assert model.main.inputs[0].element is model.main.outputs[0].element is element
    assert [t.element for _, t in (*model.signatures[0].inputs, *model.signatures[0].outputs)] == [element] * 2
    np.testing.assert_allclose(answers(model, held), before, atol=grids["y"].scale * 1.001)
    left = Counter(o.op for o in model.main.operators)
    assert left["DEQUANTIZE"] == 0
    assert left["QUANTIZE"] == (0 if element is ElementType.INT8 else 2)


def test_ports_of_float_values_stay_and_say_why() -> None:
    model = boxes_and_scores()
    calibration = calibrate(model, pictures(4, (1, 20, 4)))
    found = quantize_static(model, calibration, STATIC["int8"])
    assert "unlike ranges" in next(iter(found.parameters.floats.values()))
    grids, kept = retype_ports(model, ElementType.INT8)
    assert set(kept) == {"y"}
    assert set(grids) == {"x"}


def test_weights_that_are_no_numbers_are_refused() -> None:
    model = conv_net()
    calibration = calibrate(model, pictures(2))
    conv = next(o for o in model.main.operators if o.op == "CONV_2D")
    assert conv.inputs[1] is not None
    conv.inputs[1].constant = Constant.of(np.full(conv.inputs[1].static_shape, np.nan, np.float32))
    with pytest.raises(QuantizationError) as error:
        quantize_static(model, calibration, STATIC["int8"])
    assert error.value.code == "F462"
