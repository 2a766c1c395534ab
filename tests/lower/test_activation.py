"""Activations, trigonometric and hyperbolic functions against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import UnsupportedAttribute
from tests.lower.elements import FLOATS, SEEDS, Shape, agrees, broadcasting, shapes, values, versions
from tests.lower.support import Array, check, lowered, one_node, run_litert, tflite_bytes

PLAIN = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish", "Erf", "Sin", "Cos", "Tan", "Atan",
         "Sinh", "Cosh", "Asinh")
INSIDE = ("Asin", "Acos", "Atanh")
WITH_ALPHA = ("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "ThresholdedRelu")


def _reference(op: str) -> Callable[[Array], Array]:
    """In float64, for the types that ONNX Runtime has no kernel for."""
    functions: dict[str, Callable[[Any], Any]] = {
        "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "Softplus": lambda x: np.logaddexp(x, 0),
        "Softsign": lambda x: x / (1 + np.abs(x)), "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
        "Relu": lambda x: np.maximum(x, 0), "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Asin": np.arcsin,
        "Acos": np.arccos, "Atan": np.arctan, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh}
    function = functions.get(op) or getattr(np, op.lower(), None)
    if function is None:
        from math import erf
        function = np.vectorize(erf, otypes=[np.float64])
    return lambda x: np.asarray(function(x.astype(np.float64))).astype(x.dtype)


@pytest.mark.parametrize("op", PLAIN)
@given(data=st.data(), shape=shapes(), dtype=st.sampled_from(FLOATS), seed=SEEDS, symbolic=st.booleans())
def test_function(op: str, data: st.DataObject, shape: Shape, dtype: str, seed: int, symbolic: bool) -> None:
    limit = 1.4 if op == "Tan" and dtype == "float64" else 9  # near its poles float32 cannot say where it is
    x = values(shape, dtype, seed, -limit, limit)
    agrees(op, {"x": x}, opset=data.draw(st.sampled_from(versions(op))), reference=_reference(op), symbolic=symbolic)


@pytest.mark.parametrize("op", INSIDE)
@given(data=st.data(), shape=shapes(), dtype=st.sampled_from(FLOATS), seed=SEEDS)
def test_inverse_on_unit_interval(op: str, data: st.DataObject, shape: Shape, dtype: str, seed: int) -> None:
    x = values(shape, dtype, seed, -0.999, 0.999)
    agrees(op, {"x": x}, opset=data.draw(st.sampled_from(versions(op))), reference=_reference(op),
           rtol=5e-3 if dtype == "float16" else None)


@given(shapes(), st.sampled_from(FLOATS), SEEDS, st.sampled_from([9, 22]))
def test_acosh(shape: Shape, dtype: str, seed: int, opset: int) -> None:
    agrees("Acosh", {"x": values(shape, dtype, seed, 1, 20)}, opset=opset, reference=_reference("Acosh"))


@given(shapes(), st.sampled_from(["int8", "int16", "int32", "int64"]), SEEDS)
def test_relu_of_integers(shape: Shape, dtype: str, seed: int) -> None:
    agrees("Relu", {"x": values(shape, dtype, seed, -99, 99)}, opset=14, reference=lambda x: np.maximum(x, 0))


@pytest.mark.parametrize("op", WITH_ALPHA)
@given(data=st.data(), shape=shapes(), seed=SEEDS, alpha=st.sampled_from([None, 0.1, 1.0, 1 / 6, 1.5, -0.5]))
def test_alpha(op: str, data: st.DataObject, shape: Shape, seed: int, alpha: float | None) -> None:
    attributes: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    if op == "Celu" and alpha is not None and alpha < 0:
        with pytest.raises(UnsupportedAttribute):
            lowered(one_node(op, {"x": values(shape, "float32", seed)}, opset=12, **attributes))
        return
    if op == "HardSigmoid" and data.draw(st.booleans()):
        attributes["beta"] = data.draw(st.sampled_from([0.0, 0.25, 0.5]))
    if op == "Selu" and data.draw(st.booleans()):
        attributes["gamma"] = data.draw(st.sampled_from([0.5, 2.0]))
    agrees(op, {"x": values(shape, "float32", seed)}, opset=data.draw(st.sampled_from(versions(op))), **attributes)


@given(broadcasting(1), st.data(), SEEDS, st.sampled_from(["float32", "float16", "int32", "int64"]), st.booleans())
def test_prelu(whole: tuple[Shape], data: st.DataObject, seed: int, dtype: str, constant: bool) -> None:
    shape = whole[0]
    start = data.draw(st.integers(0, len(shape)))
    slope = tuple(d if data.draw(st.booleans()) else 1 for d in shape[start:])
    x, alpha = values(shape, dtype, seed), values(slope, dtype, seed + 1)
    opset = data.draw(st.sampled_from([16, 22] if dtype.startswith(("int", "float16")) else versions("PRelu")))
    feeds, constants = ({"x": x}, {"s": alpha}) if constant else ({"x": x, "s": alpha}, {})
    wanted = np.asarray(np.where(x < 0, x * alpha, x)).astype(dtype)
    check(one_node("PRelu", feeds, constants=constants, opset=opset), feeds, expected={"y0": wanted},
          rtol=2e-3 if dtype == "float16" else 1e-5)


@given(shapes(), st.sampled_from(["none", "tanh"]), st.sampled_from(["float32", "float16"]), SEEDS)
def test_gelu(shape: Shape, approximate: str, dtype: str, seed: int) -> None:
    agrees("Gelu", {"x": values(shape, dtype, seed)}, opset=20, approximate=approximate)


@given(shapes(), st.sampled_from([None, 0.5, 1.0, 2.0]), SEEDS)
def test_swish(shape: Shape, alpha: float | None, seed: int) -> None:
    factor = 1.0 if alpha is None else alpha
    x = values(shape, "float32", seed)
    attributes: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    agrees("Swish", {"x": x}, opset=24, reference=lambda x: x / (1 + np.exp(-factor * x)), **attributes)


@given(shapes(), st.sampled_from(["float32", "float16", "int8", "int32", "uint8", "int64"]),
       st.sampled_from([(0.5, 0.0), (1.0, 1.0), (1.5, 2.0)]), SEEDS)
def test_shrink(shape: Shape, dtype: str, limits: tuple[float, float], seed: int) -> None:
    agrees("Shrink", {"x": values(shape, dtype, seed, -9, 9)}, opset=9, lambd=limits[0], bias=limits[1])


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 88.0, -88.0, 1e20, -1e20], np.float32)
LIMITED = {"Sin": 11, "Cos": 11, "Tan": 11}


@pytest.mark.parametrize("op", [*PLAIN, *INSIDE, "Acosh", "Elu", "Selu", "Celu", "HardSigmoid", "ThresholdedRelu",
                                "Gelu", "LeakyRelu"])
def test_special_values(op: str) -> None:
    x = SPECIAL[:LIMITED.get(op)]
    check(one_node(op, {"x": x}, opset=22), {"x": x})


@pytest.mark.parametrize(("op", "low", "high", "units"), [
    ("Erf", 1e-12, 5, 10), ("Asinh", 1e-12, 1e30, 12), ("Acosh", 1, 1e30, 16), ("Atanh", 1e-12, 0.99999, 16),
    ("Sinh", 1e-12, 10, 40), ("Cosh", 1e-12, 10, 40), ("Softplus", 1e-12, 5, 12), ("Tan", 1e-12, 8000, 10),
    ("Asin", 1e-12, 1, 4), ("Acos", 1e-12, 0.99, 8), ("Atan", 1e-12, 1e30, 4)])
def test_stated_error(op: str, low: float, high: float, units: float) -> None:
    """Relative accuracy everywhere, near zero too, in units of the last place."""
    x = np.geomspace(low, high, 20000).astype(np.float32).clip(low, high).astype(np.float32)
    x = x if op == "Acosh" else np.concatenate([x, -x])
    found = run_litert(tflite_bytes(lowered(one_node(op, {"x": x}, opset=22))), {"x": x})["y0"].astype(np.float64)
    wanted = _reference(op)(x.astype(np.float64))
    assert np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted).astype(np.float32))) <= units


def test_unknown_approximation() -> None:
    with pytest.raises(UnsupportedAttribute, match="not in the standard"):
        lowered(one_node("Gelu", {"x": np.ones(3, np.float32)}, opset=20, approximate="sigmoid"))
