"""The proof: what is right is proven, planted faults are found, and what proves nothing says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fidelite.check import InputHint, Scores, Tolerance, Verification, make_inputs, verify_sessions
from fidelite.errors import BadSample, Mismatch, NotProven, UsageError
from fidelite.runtime import LiteRtSession, OnnxSession, Port, Worker
from fidelite.runtime.protocol import Array, Arrays
from tests.check.fakes import FakeSession
from tests.runtime import tiny

X = Port("x", "float32", (1, 3, 8, 8))
Y = Port("y", "float32", (1, 3, 8, 8))
SAMPLES = make_inputs([X])
Function = Callable[[Arrays], Mapping[str, Array]]


def network(feeds: Arrays) -> dict[str, Array]:
    return {"y": np.tanh(feeds["x"])}


def verify(
    source: Function,
    result: Function,
    *,
    out: Port = Y,
    source_out: Port | None = None,
    samples: Any = None,
    **options: Any,
) -> Verification:
    FakeSession.open_now = 0
    return verify_sessions(
        lambda: FakeSession([X], [source_out or out], source, "Source"),
        lambda: FakeSession([X], [out], result, "Result"),
        SAMPLES if samples is None else samples,
        **options,
    )


def test_the_same_function_is_proven() -> None:
    found = verify(network, network)
    assert found.verdict == "proven"
    assert found.proven
    found.raise_for_verdict()
    assert found.samples == 3
    (row,) = found.summary()
    assert (row["output"], row["verdict"], row["max_abs"]) == ("y", "proven", 0)
    assert json.loads(json.dumps(found.to_json()))["verdict"] == "proven"


def test_rounding_is_proven() -> None:
    found = verify(network, lambda f: {"y": (np.tanh(f["x"]) * np.float32(1 + 1e-6))})
    assert found.verdict == "proven"
    assert found.outputs[0].figures is not None
    assert found.outputs[0].figures.max_abs > 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_small_error_in_one_element_of_one_sample_is_a_mismatch(place: int) -> None:
    def wrong(feeds: Arrays) -> dict[str, Array]:
        y = np.tanh(feeds["x"])
        if np.array_equal(feeds["x"], SAMPLES[place]["x"]):
            y[0, 1, 2, 3] += np.float32(2e-3)
        return {"y": y}

    found = verify(network, wrong)
    assert found.verdict == "mismatch"
    assert found.outputs[0].worst == place
    with pytest.raises(Mismatch, match=r"output 'y' differs .*sample \d\): the largest error 0\.002 is") as caught:
        found.raise_for_verdict()
    assert caught.value.details["verification"]["outputs"][0]["verdict"] == "mismatch"


@pytest.mark.parametrize(
    "fault",
    [
        lambda y: y[..., ::-1].copy(),
        lambda y: -y,
        lambda y: y + np.float32(0.01),
        lambda y: y * np.float32(1.01),
        lambda y: np.zeros_like(y),
        lambda y: np.swapaxes(y, 2, 3).copy(),
    ],
)
def test_planted_faults(fault: Any) -> None:
    assert verify(network, lambda f: {"y": fault(np.tanh(f["x"]))}).verdict == "mismatch"


def test_nan_for_a_number_is_a_mismatch() -> None:
    def wrong(feeds: Arrays) -> dict[str, Array]:
        y = np.tanh(feeds["x"])
        y.flat[0] = np.nan
        return {"y": y}

    found = verify(network, wrong)
    assert found.verdict == "mismatch"
    assert "1 of 192 values are NaN" in found.outputs[0].reason
    assert verify(wrong, network).verdict == "mismatch"
    assert verify(wrong, wrong).verdict == "proven"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda y: y.reshape(1, 8, 8, 3), "its shape is [1, 8, 8, 3] instead of [1, 3, 8, 8]"),
        (lambda y: y.astype(np.float64), "its type is float64 instead of float32"),
    ],
)
def test_shape_and_type_come_before_values(change: Any, told: str) -> None:
    found = verify(network, lambda f: {"y": change(np.tanh(f["x"]))})
    assert found.verdict == "mismatch"
    assert told in found.outputs[0].reason


def test_state_is_caught_by_the_repeat() -> None:
    seen: list[Array] = []

    def stateful(feeds: Arrays) -> dict[str, Array]:
        seen.append(feeds["x"])
        late = np.float32(0.5 if len(seen) > len(SAMPLES) else 0)
        return {"y": np.tanh(feeds["x"]) + late}

    found = verify(network, stateful)
    assert found.verdict == "mismatch"
    assert "keeps state from one run to the next" in found.outputs[0].reason


def test_a_source_that_changes_its_mind_proves_nothing() -> None:
    rng = np.random.default_rng(0)

    def dropout(feeds: Arrays) -> dict[str, Array]:
        return {"y": np.tanh(feeds["x"]) + rng.normal(size=feeds["x"].shape).astype(np.float32) * 1e-5}

    found = verify(dropout, network)
    assert found.verdict == "not proven"
    assert "not the same twice in the source" in found.outputs[0].reason


CONSTANT = Port("y", "float32", (4,))


def constant(feeds: Arrays) -> dict[str, Array]:
    return {"y": np.arange(4, dtype=np.float32)}


def test_an_output_that_never_varies_proves_nothing() -> None:
    found = verify(constant, constant, out=CONSTANT)
    assert found.verdict == "not proven"
    with pytest.raises(NotProven, match="output 'y' is the same for all samples") as caught:
        found.raise_for_verdict()
    assert "--samples" in caught.value.remedy


def test_a_constant_output_is_proven_where_it_is_declared() -> None:
    assert verify(constant, constant, out=CONSTANT, constant_outputs=["y"]).proven
    found = verify(constant, lambda f: {"y": constant(f)["y"] + 1}, out=CONSTANT, constant_outputs=["y"])
    assert found.verdict == "mismatch"


def test_without_inputs_all_outputs_are_constant() -> None:
    FakeSession.open_now = 0
    found = verify_sessions(
        lambda: FakeSession([], [CONSTANT], constant), lambda: FakeSession([], [CONSTANT], constant), [{}]
    )
    assert found.proven


def test_an_error_as_large_as_the_variation_proves_nothing() -> None:
    """The signal is lost in the rounding of a large constant: within tolerance, and yet no proof."""

    def faint(feeds: Arrays) -> dict[str, Array]:
        return {"y": np.float32(1000) + np.tanh(feeds["x"]) * np.float32(0.01)}

    found = verify(faint, lambda f: {"y": np.full_like(f["x"], 1000)})
    assert found.verdict == "not proven"
    assert "hardly varies between samples: the rms error" in found.outputs[0].reason
    assert verify(faint, faint).proven


def test_three_samples_are_needed_and_they_must_differ() -> None:
    found = verify(network, network, samples=SAMPLES[:2])
    assert found.verdict == "not proven"
    assert "at least 3" in found.outputs[0].reason
    assert verify(network, network, samples=[SAMPLES[0]] * 3).verdict == "not proven"
    with pytest.raises(BadSample):
        verify(network, network, samples=[])


def test_names_and_order() -> None:
    ports = [Port(n, "float32", (1, 3, 8, 8)) for n in "ab"]

    def two(feeds: Arrays) -> dict[str, Array]:
        return {"a": feeds["x"], "b": -feeds["x"]}

    def check(given: list[Port], inputs: list[Port] | None = None) -> Verification:
        FakeSession.open_now = 0
        return verify_sessions(
            lambda: FakeSession([X], ports, two), lambda: FakeSession(inputs or [X], given, two), SAMPLES
        )

    assert check(ports).proven
    (problem,) = check(ports[::-1]).problems
    assert problem == "the result's outputs come in the order 'b', 'a' instead of 'a', 'b'"
    found = check(ports[:1])
    assert found.problems == ("the result's outputs are 'a' instead of 'a', 'b'",)
    assert found.outputs[0].verdict == "proven"
    assert found.verdict == "mismatch"
    found = check(ports, [Port("x", "float32", (1, 8, 8, 3))])
    assert found.verdict == "mismatch"
    with pytest.raises(Mismatch, match=r"does not take the source's inputs: the model wants x: float32\[1, 8"):
        found.raise_for_verdict()


def test_transforms_stand_between_the_two() -> None:
    flat = Port("flat", "float32", (192,))
    FakeSession.open_now = 0
    found = verify_sessions(
        lambda: FakeSession([X], [Y], network),
        lambda: FakeSession([Port("p", "float32", (192,))], [flat], lambda f: {"flat": np.tanh(f["p"] / 2)}),
        SAMPLES,
        transform_source=lambda s: {"x": s["x"] / np.float32(2)},
        transform_in=lambda s: {"p": s["x"].reshape(-1)},
        transform_out=lambda outputs: {"flat": outputs["y"].reshape(-1)},
    )
    assert found.proven


LABELS = Port("y", "int64", (1, 8, 8))


def _labels(feeds: Arrays) -> dict[str, Array]:
    return {"y": np.argmax(feeds["x"], axis=1)}


def test_integers_must_be_equal() -> None:
    assert verify(_labels, _labels, out=LABELS).proven

    def wrong(feeds: Arrays) -> dict[str, Array]:
        labels = np.argmax(feeds["x"], axis=1)
        labels[0, 0, 0] = (labels[0, 0, 0] + 1) % 3
        return {"y": labels}

    found = verify(_labels, wrong, out=LABELS)
    assert found.verdict == "mismatch"
    assert "the number of differing elements 3 is above 0 (exactly equal)" in found.outputs[0].reason


def _scores(name: str, outputs: Arrays) -> Scores:
    assert name == "y"
    return Scores(outputs["scores"], 1)


def _tied(gap: float) -> tuple[Function, Function]:
    """A source with its scores, and a result that takes the second best label where they lie `gap` apart."""

    def scored(feeds: Arrays) -> Array:
        scores = feeds["x"].copy()
        ordered = np.sort(scores[0, :, 0, 0])
        scores[0, np.argsort(scores[0, :, 0, 0])[1], 0, 0] = ordered[2] - np.float32(gap)
        return scores

    def source(feeds: Arrays) -> dict[str, Array]:
        return {"scores": scored(feeds), "y": np.argmax(scored(feeds), axis=1)}

    def result(feeds: Arrays) -> dict[str, Array]:
        labels = np.argmax(scored(feeds), axis=1)
        labels[0, 0, 0] = np.argsort(scored(feeds)[0, :, 0, 0])[1]
        return {"y": labels}

    return source, result


@pytest.mark.parametrize(("gap", "verdict"), [(1e-6, "proven"), (0.1, "mismatch")])
def test_indices_may_differ_at_ties_only(gap: float, verdict: str) -> None:
    source, result = _tied(gap)
    ports = [Port("scores", "float32", (1, 3, 8, 8)), LABELS]
    FakeSession.open_now = 0
    found = verify_sessions(
        lambda: FakeSession([X], ports, source),
        lambda: FakeSession([X], [LABELS], result),
        SAMPLES,
        transform_out=lambda outputs: {"y": outputs["y"]},
        scores=_scores,
        tolerance=Tolerance(ties=0.05),
    )
    assert found.verdict == verdict
    assert sum(t.differing for t in found.outputs[0].ties) == 3


def test_too_many_ties_are_no_excuse() -> None:
    """Where all scores are alike, any index would do; then the index says nothing."""
    FakeSession.open_now = 0
    found = verify_sessions(
        lambda: FakeSession([X], [LABELS], lambda f: {"y": np.argmax(f["x"], axis=1)}),
        lambda: FakeSession([X], [LABELS], lambda f: {"y": np.argmin(f["x"], axis=1)}),
        SAMPLES,
        scores=lambda name, outputs: Scores(np.zeros((1, 3, 8, 8)), 1),
    )
    assert found.verdict == "mismatch"
    assert "the share of elements decided by a tie" in found.outputs[0].reason


def test_tolerances_are_named_and_per_output() -> None:
    def rough(feeds: Arrays) -> dict[str, Array]:
        return {"y": np.tanh(feeds["x"]).astype(np.float16).astype(np.float32)}

    assert verify(network, rough).verdict == "mismatch"
    found = verify(network, rough, tolerance=Tolerance.for_precision("float16"))
    assert found.proven
    assert found.outputs[0].tolerance.name == "float16"
    assert verify(network, rough, tolerance={"y": Tolerance.for_precision("float16")}).proven
    assert verify(network, rough, tolerance={"z": Tolerance.for_precision("float16")}).verdict == "mismatch"
    with pytest.raises(UsageError, match=r"there are float32, float16, .*quantized-source"):
        Tolerance.for_precision("int2")


def test_outputs_of_changing_shape() -> None:
    port = Port("y", "int64", (None,))

    def nonzero(feeds: Arrays) -> dict[str, Array]:
        return {"y": np.flatnonzero(feeds["x"] > 0.5)}

    assert verify(nonzero, nonzero, out=port).proven
    assert verify(nonzero, lambda f: {"y": nonzero(f)["y"][1:]}, out=port).verdict == "mismatch"
    found = verify(lambda f: {"y": np.zeros(0, np.int64)}, lambda f: {"y": np.zeros(0, np.int64)}, out=port)
    assert found.outputs[0].reason == "has no elements"


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    verify(network, network, on_progress=lambda *what: told.append(what))
    assert told == [(name, i, 4) for name in ("Source", "Result") for i in range(4)]


def test_onnx_against_litert() -> None:
    ports = [Port("x", "float32", (1, 4))]
    with Worker(timeout=60) as worker:

        def result(value: float) -> Verification:
            return verify_sessions(
                lambda: OnnxSession(tiny.onnx_add()),
                lambda: LiteRtSession(tiny.add_model(value), worker=worker),
                make_inputs(ports),
            )

        assert result(1.0).proven
        assert result(1.01).verdict == "mismatch"


def test_a_fused_lstm_keeps_state() -> None:
    """The first run agrees with any one-shot test; the repeat does not."""
    model = tiny.lstm_model()
    hints = {"x": InputHint(kind="values")}
    with Worker(timeout=60) as worker:
        with LiteRtSession(model, worker=worker) as session:
            samples = make_inputs(session.inputs, hints=hints)
            out = session.outputs

        def fresh(feeds: Arrays) -> dict[str, Array]:
            with LiteRtSession(model, worker=worker) as one:
                return one.run(feeds)

        FakeSession.open_now = 0
        found = verify_sessions(
            lambda: FakeSession([Port("x", "float32", (1, 4, 2))], out, fresh),
            lambda: LiteRtSession(model, worker=worker),
            samples,
        )
    assert found.verdict == "mismatch"
    assert "keeps state" in found.outputs[0].reason
