"""RNN, GRU and LSTM against ONNX Runtime: directions, activations, masks, states, unrolled and in a WHILE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fidelite.lower.recurrent as lowering
from fidelite.errors import UnsupportedAttribute
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node, run_litert, run_onnx, tflite_bytes

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = ("Affine", "Relu", "LeakyRelu", "ThresholdedRelu", "Tanh", "ScaledTanh", "Sigmoid", "HardSigmoid", "Elu",
             "Softsign", "Softplus")
OPTIONAL = ("bias", "lengths", "state", "memory", "peepholes")
NAMES = ("x", "w", "r", "bias", "lengths", "state", "memory", "peepholes")


def drawn(op: str, steps: int, batch: int, size: int, hidden: int, directions: int, *, given: frozenset[str],
          seed: int, dtype: str = "float32") -> dict[str, Array]:
    """Operands of the node, those in `given` of the optional ones, in ONNX's order."""
    rng, rows = np.random.default_rng(seed), GATES[op] * hidden
    shapes: dict[str, tuple[int, ...]] = {
        "x": (steps, batch, size), "w": (directions, rows, size), "r": (directions, rows, hidden),
        "bias": (directions, 2 * rows), "state": (directions, batch, hidden), "memory": (directions, batch, hidden),
        "peepholes": (directions, 3 * hidden)}
    found: dict[str, Array] = {}
    for name in NAMES:
        if name == "lengths" and name in given:
            found[name] = rng.integers(0, steps + 1, batch).astype(np.int32)
        elif name in shapes and (name in given or name not in OPTIONAL) and (
                op == "LSTM" or name not in ("memory", "peepholes")):
            found[name] = (rng.standard_normal(shapes[name]) * 0.7).astype(dtype)
    return found


def model_of(op: str, operands: Mapping[str, Array], constants: frozenset[str], opset: int,
             **attributes: Any) -> tuple[onnx.ModelProto, dict[str, Array]]:
    names = [n if n in operands else "" for n in NAMES[:8 if op == "LSTM" else 6]]
    while not names[-1]:
        names.pop()
    feeds = {n: a for n, a in operands.items() if n not in constants}
    model = one_node(op, feeds, constants={n: a for n, a in operands.items() if n in constants}, operands=names,
                     opset=opset, outputs=3 if op == "LSTM" else 2, hidden_size=operands["r"].shape[2], **attributes)
    return model, feeds


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("unroll", [True, False])
@given(data=st.data(), steps=st.integers(1, 5), batch=st.integers(1, 3), size=st.integers(1, 4),
       hidden=st.integers(1, 5), seed=st.integers(0, 99), opset=st.sampled_from([7, 14, 22]))
def test_layer(op: str, unroll: bool, data: st.DataObject, steps: int, batch: int, size: int, hidden: int,
               seed: int, opset: int) -> None:
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    given = data.draw(st.frozensets(st.sampled_from(OPTIONAL)))
    constants = data.draw(st.frozensets(st.sampled_from(NAMES[1:])))
    attributes: dict[str, Any] = {"direction": direction}
    if data.draw(st.booleans()):
        attributes["clip"] = 0.6
    if op == "GRU":
        attributes["linear_before_reset"] = data.draw(st.integers(0, 1))
    if op == "LSTM":
        attributes["input_forget"] = data.draw(st.integers(0, 1))
    operands = drawn(op, steps, batch, size, hidden, directions, given=given, seed=seed)
    model, feeds = model_of(op, operands, constants, opset, **attributes)
    symbolic = data.draw(st.sampled_from([(), (0,)])) if not unroll else ()
    if symbolic:
        model = with_symbols(model, {"x": symbolic})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "MAX_UNROLLED", 256 if unroll else 0)
        patch.setattr(lowering, "ALWAYS_UNROLLED", 4 if unroll else 0)
        result = check(model, feeds, rtol=1e-4, atol=1e-5)
    assert any(o.op == "WHILE" for o in result.main.operators) != unroll


@pytest.mark.parametrize("op", GATES)
def test_symbolic_batch_and_length(op: str) -> None:
    operands = drawn(op, 4, 3, 2, 5, 2, given=frozenset({"bias"}), seed=1)
    model, feeds = model_of(op, operands, frozenset({"w", "r", "bias"}), 14, direction="bidirectional")
    content = tflite_bytes(lowered(with_symbols(model, {"x": (0, 1)})))
    for steps, batch in ((4, 3), (1, 1), (7, 2)):
        x = np.random.default_rng(steps).standard_normal((steps, batch, 2)).astype(np.float32)
        want = run_onnx(with_symbols(model, {"x": (0, 1)}), {**feeds, "x": x})
        found = run_litert(content, {**feeds, "x": x})
        for name, value in want.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


@given(st.sampled_from(FUNCTIONS), st.sampled_from(FUNCTIONS), st.integers(0, 99),
       st.sampled_from(["forward", "reverse"]))
def test_activations(first: str, second: str, seed: int, direction: str) -> None:
    operands = drawn("GRU", 3, 2, 2, 3, 1, given=frozenset({"bias", "state"}), seed=seed)
    model, feeds = model_of("GRU", operands, frozenset({"w", "r", "bias"}), 14, activations=[first, second],
                            activation_alpha=[0.3, 0.4], activation_beta=[0.2, 0.6], direction=direction)
    assume(all(np.isfinite(a).all() for a in run_onnx(model, feeds).values()))  # unbounded ones may overflow anywhere
    check(model, feeds, rtol=1e-4, atol=1e-5)


def test_an_activation_without_agreed_defaults_is_refused() -> None:
    operands = drawn("RNN", 2, 1, 2, 3, 1, given=frozenset(), seed=0)
    model, _ = model_of("RNN", operands, frozenset({"w", "r"}), 14, activations=["Affine"])
    with pytest.raises(UnsupportedAttribute, match="agreed default"):
        lowered(model)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("unroll", [True, False])
def test_batch_first(op: str, unroll: bool) -> None:
    """ONNX Runtime has no kernel for layout 1: the same operands with time first are what is expected."""
    operands = drawn(op, 4, 3, 2, 5, 2, given=frozenset(OPTIONAL), seed=3)
    constants = frozenset({"w", "r", "bias", "peepholes"})
    model, feeds = model_of(op, operands, constants, 14, direction="bidirectional")
    expected = run_onnx(model, feeds)
    turned = {n: a.swapaxes(0, 1).copy() if n in ("x", "state", "memory") else a for n, a in operands.items()}
    batched, turned_feeds = model_of(op, turned, constants, 14, direction="bidirectional", layout=1)
    want = {n: np.moveaxis(a, 2, 0) if n == "y0" else a.swapaxes(0, 1) for n, a in expected.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "MAX_UNROLLED", 256 if unroll else 0)
        patch.setattr(lowering, "ALWAYS_UNROLLED", 4 if unroll else 0)
        check(batched, turned_feeds, rtol=1e-4, atol=1e-5, expected=want)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types(dtype: str) -> None:
    operands = drawn("LSTM", 3, 2, 2, 3, 1, given=frozenset({"bias", "state"}), seed=5)
    constants = frozenset({"w", "r", "bias"})
    model, feeds = model_of("LSTM", operands, constants, 14)
    expected = {n: a.astype(dtype) for n, a in run_onnx(model, feeds).items()}
    narrow, feeds = model_of("LSTM", {n: a.astype(dtype) for n, a in operands.items()}, constants, 14)
    check(narrow, feeds, expected=expected, rtol=5e-3 if dtype == "float16" else 1e-4, atol=1e-5)


def test_nothing_is_kept_between_invocations() -> None:
    operands = drawn("LSTM", 4, 1, 2, 3, 1, given=frozenset({"bias"}), seed=7)
    model, feeds = model_of("LSTM", operands, frozenset({"w", "r", "bias"}), 14)
    content = tflite_bytes(lowered(model))
    first, again = (run_litert(content, feeds) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
