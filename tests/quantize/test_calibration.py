"""Calibration: what the worker observes is what numpy sees; ranges, scales, and CONCATENATIONs of unlike ranges."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from fidelite.errors import BadSample, QuantizationError
from fidelite.quantize.calibration import RANGE_METHODS, Range, calibrate, choose_parameters, range_of
from fidelite.quantize.calibration.parameters import grid_for
from fidelite.quantize.calibration.ranges import clipped_share, exact_range
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.statistics import TensorStatistics
from fidelite.tflite.graph import Model
from fidelite.tflite.types import ElementType
from fidelite.write.flatbuffer import write_model
from tests.quantize.small import boxes_and_scores, conv_net, pictures


def all_values(model: Model, samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Every tensor's values in all samples, read out of LiteRT one by one."""
    stream = BytesIO()
    write_model(model, stream)
    found: dict[str, list[np.ndarray]] = {}
    with LiteRtSession(stream.getvalue(), preserve_all=True) as session:
        tensors = [(i, t) for i, t in enumerate(model.main.tensors()) if not t.is_constant]
        for sample in samples:
            session.run(sample)
            for (_, tensor), values in zip(tensors, session.tensors([i for i, _ in tensors]), strict=True):
                found.setdefault(tensor.name, []).append(values)
    return {name: np.stack(values) for name, values in found.items()}


def test_statistics_are_those_of_the_values() -> None:
    model, samples = conv_net(), pictures(5)
    found = calibrate(model, iter(samples), source="made")
    seen = all_values(model, samples)
    assert found.samples == 5
    assert len(found.statistics) >= 5
    for tensor, statistics in found.statistics.items():
        values = seen[tensor.name]
        assert (statistics.minimum, statistics.maximum) == (values.min(), values.max())
        assert statistics.elements == statistics.counts.sum() == values.size
    read = next(t for t in found.statistics if t.producer is not None and t.producer.op == "MEAN")
    np.testing.assert_allclose(found.statistics[read].channel_mean, seen[read.name].mean((0, 1)), rtol=1e-5)


def test_the_model_itself_stays_as_it_was() -> None:
    model = conv_net()
    before = [(o.op, o.inputs, o.outputs) for o in model.main.operators]
    calibrate(model, pictures(1))
    assert [(o.op, o.inputs, o.outputs) for o in model.main.operators] == before
    assert all(t.producer is None or t.producer in model.main for t in model.main.tensors())


def test_samples_are_asked_for_one_at_a_time() -> None:
    drawn: list[float] = []

    def drawing() -> object:
        for sample in pictures(4):
            drawn.append(told[-1] if told else 0.0)
            yield sample

    told: list[float] = []
    calibrate(conv_net(), drawing(), total=4, on_progress=told.append)  # type: ignore[arg-type]
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert drawn == [0.0, 0.25, 0.5, 0.75]


def test_no_samples_and_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(QuantizationError, match="no samples") as error:
        calibrate(conv_net(), [])
    assert error.value.code == "F463"
    bad = pictures(1)
    bad[0]["x"][0, 3, 3, 1] = np.nan
    with pytest.raises(QuantizationError, match="NaN or infinite") as error:
        calibrate(conv_net(), bad)
    assert error.value.code == "F463"
    with pytest.raises(BadSample):
        calibrate(conv_net(), pictures(1, (1, 8, 8, 3)))


def statistics_of(values: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    found.add(values.astype(np.float32), 0)
    return found


def error_of(values: np.ndarray, chosen: Range, levels: int) -> float:
    """Mean squared error of asymmetric rounding to that range, done with the values themselves."""
    scale = (chosen.high - chosen.low) / (levels - 1)
    zero_point = np.rint(-chosen.low / scale)
    rounded = (np.clip(np.rint(values / scale) + zero_point, 0, levels - 1) - zero_point) * scale
    return float(np.mean((rounded - values) ** 2))


@pytest.mark.parametrize("method", list(RANGE_METHODS))
@pytest.mark.parametrize("kind", ["normal", "relu", "outlier", "negative", "constant", "zeros"])
def test_ranges_lie_within_what_was_seen_and_hold_zero(method: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(20000)
    values = {"normal": normal, "relu": np.maximum(normal, 0), "outlier": np.append(normal, 500.0),
              "negative": -np.abs(normal) - 3, "constant": np.full(100, 2.5), "zeros": np.zeros(50)}[kind]
    statistics = statistics_of(values)
    chosen, full = range_of(statistics, method), exact_range(statistics)
    assert full.low <= chosen.low <= 0.0 <= chosen.high <= full.high
    assert chosen.high > chosen.low or kind == "zeros"
    assert 0.0 <= clipped_share(statistics, chosen) <= 0.2
    if method == "minmax":
        assert clipped_share(statistics, chosen) == 0.0


@pytest.mark.parametrize("levels", [16, 256])
@pytest.mark.parametrize("tail", [0.0, 40.0])
def test_mse_finds_what_a_search_over_the_values_finds(levels: int, tail: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.laplace(size=30000)
    values = np.append(values, tail) if tail else values
    chosen = range_of(statistics_of(values), "mse", levels)
    grid = [error_of(values, Range(low, high), levels) for low in np.linspace(values.min(), -1, 30)
            for high in np.linspace(1, values.max(), 30)]
    assert error_of(values, chosen, levels) <= 1.1 * min(grid)
    assert error_of(values, chosen, levels) < error_of(values, Range(values.min(), values.max()), levels)


def test_percentile_leaves_out_an_outlier() -> None:
    values = np.append(np.random.default_rng(3).standard_normal(400_000), 1000.0)
    assert range_of(statistics_of(values[-60_000:]), "minmax").high == 1000.0
    chosen = range_of(statistics_of(values[-60_000:]), "percentile")
    assert 3 < chosen.high <= 1000.0


@pytest.mark.parametrize("chosen", [Range(-1.5, 3.0), Range(0.0, 7.0), Range(-2.0, 0.0), Range(0.0, 0.0)])
def test_scales_hold_the_range_and_zero_exactly(chosen: Range) -> None:
    eight = grid_for(chosen, ElementType.INT8)
    scale, zero_point = eight.scale, eight.zero_point
    assert -128 <= zero_point <= 127
    assert (-128 - zero_point) * scale <= chosen.low + scale
    assert (127 - zero_point) * scale >= chosen.high - scale
    sixteen = grid_for(chosen, ElementType.INT16)
    assert sixteen.zero_point == 0
    assert 32767 * sixteen.scale >= chosen.widest * (1 - 1e-6)


def test_int8_and_int16_have_parameters_for_every_float_value() -> None:
    model = conv_net()
    calibration = calibrate(model, pictures(4))
    for element in (ElementType.INT8, ElementType.INT16):
        found = choose_parameters(model.main, calibration, element, "mse")
        values = [t for t in model.main.tensors() if not t.is_constant and t.element is ElementType.FLOAT32]
        assert set(found.grids) == set(values)
        told = found.to_json(calibration)
        assert told["samples"] == 4
        assert {row["tensor"] for row in told["tensors"]} == {t.name for t in calibration.statistics}


def test_boxes_and_scores_share_no_scale() -> None:
    model = boxes_and_scores()
    calibration = calibrate(model, pictures(3, (1, 20, 4)))
    found = choose_parameters(model.main, calibration, ElementType.INT8, "minmax")
    assert model.main.outputs[0] not in found.grids
    assert "unlike ranges" in found.floats[model.main.outputs[0]]
    used = boxes_and_scores(used=True)
    calibration = calibrate(used, pictures(3, (1, 20, 4)))
    found = choose_parameters(used.main, calibration, ElementType.INT8, "minmax")
    assert len(found.unlike) == 1
    assert not found.floats
