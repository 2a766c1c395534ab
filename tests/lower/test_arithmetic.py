"""Arithmetic, bits and limits against ONNX Runtime, and against numpy where that has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import UnsupportedType
from tests.lower.elements import (
    FLOATS,
    INTEGERS,
    SEEDS,
    SIGNED,
    UNSIGNED,
    Shape,
    agrees,
    broadcasting,
    full_range,
    shapes,
    values,
    versions,
)
from tests.lower.support import Array, check, lowered, one_node

BINARY: dict[str, Any] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
VARIADIC: dict[str, Any] = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}


def _quotient(x: Array, y: Array) -> Array:
    """Towards zero, exactly."""
    pairs = np.broadcast(x, y)
    wide = [abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    return np.array([w % (1 << 64) for w in wide], np.uint64).astype(x.dtype).reshape(pairs.shape)


def _divisors(shape: Shape, dtype: str, seed: int) -> Array:
    """All sizes of numbers, none of them zero, nor -1 (the smallest number over which has no quotient)."""
    y = full_range(shape, dtype, seed)
    bits = np.iinfo(dtype).bits
    y = np.asarray(y >> np.random.default_rng(seed).integers(0, bits - 1, shape).astype(dtype))
    return np.where((y == 0) | (y == np.array(-1).astype(dtype)), np.array(3, dtype), y).astype(dtype)


@pytest.mark.parametrize("op", BINARY)
@given(data=st.data(), both=broadcasting(2), dtype=st.sampled_from((*FLOATS, *INTEGERS)), seed=SEEDS,
       symbolic=st.booleans())
def test_binary(op: str, data: st.DataObject, both: tuple[Shape, Shape], dtype: str, seed: int,
                symbolic: bool) -> None:
    make = full_range if dtype in INTEGERS else values
    x, y = make(both[0], dtype, seed), make(both[1], dtype, seed + 1)
    opset = data.draw(st.sampled_from([v for v in versions(op) if v >= 14 or dtype in FLOATS]))
    agrees(op, {"x": x, "y": y}, opset=opset, reference=BINARY[op], symbolic=symbolic)


@pytest.mark.parametrize("op", ["Add", "Mul", "Pow", "Greater", "And"])
@pytest.mark.parametrize(("shape", "axis"), [((3,), 1), ((3, 4), 1), ((4,), None), ((2,), 0), ((4,), -1)])
def test_axis_of_old_schemas(op: str, shape: Shape, axis: int | None) -> None:
    dtype = "bool" if op == "And" else "float32"
    x, y = values((2, 3, 4), dtype, 0, 1, 3), values(shape, dtype, 1, 1, 3)
    start = 3 - len(shape) if axis is None else axis % 3
    aligned = y.reshape(shape + (1,) * (3 - start - len(shape)))
    wanted: Any = {"Add": np.add, "Mul": np.multiply, "Pow": np.power, "Greater": np.greater, "And": np.logical_and}
    attributes: dict[str, Any] = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
    check(one_node(op, {"x": x, "y": y}, opset=6, **attributes), {"x": x, "y": y},
          expected={"y0": wanted[op](x, aligned)})


@given(broadcasting(2), st.sampled_from(FLOATS), SEEDS)
def test_div_of_floats(both: tuple[Shape, Shape], dtype: str, seed: int) -> None:
    agrees("Div", {"x": values(both[0], dtype, seed), "y": values(both[1], dtype, seed + 1, 0.5, 4)}, opset=14)


@given(broadcasting(2), st.sampled_from(INTEGERS), SEEDS)
def test_div_of_integers(both: tuple[Shape, Shape], dtype: str, seed: int) -> None:
    x, y = full_range(both[0], dtype, seed), _divisors(both[1], dtype, seed + 1)
    model = one_node("Div", {"x": x, "y": y}, opset=14)
    check(model, {"x": x, "y": y}, expected={"y0": _quotient(x, y)})


def test_div_at_the_limits() -> None:
    top = 2**63
    x = np.array([top - 1, -top, -top, 7, -7, 10**18, -5, 0, -top, -top], np.int64)
    y = np.array([1, 1, 3, -2, 2, 999999937, 2**62, 5, -top, 2], np.int64)
    check(one_node("Div", {"x": x, "y": y}, opset=14), {"x": x, "y": y}, expected={"y0": _quotient(x, y)})
    u = np.array([2 * top - 1, top, 5, top + 5, 2 * top - 2], np.uint64)
    v = np.array([3, top, top + 1, 7, 2 * top - 1], np.uint64)
    check(one_node("Div", {"x": u, "y": v}, opset=14), {"x": u, "y": v}, expected={"y0": u // v})


@given(broadcasting(2), st.sampled_from(INTEGERS), st.sampled_from([0, 1]), SEEDS)
def test_mod_of_integers(both: tuple[Shape, Shape], dtype: str, fmod: int, seed: int) -> None:
    x, y = full_range(both[0], dtype, seed), _divisors(both[1], dtype, seed + 1)
    wanted = np.asarray(np.fmod(x, y) if fmod else np.mod(x, y))
    check(one_node("Mod", {"x": x, "y": y}, opset=13, fmod=fmod), {"x": x, "y": y}, expected={"y0": wanted})


@given(broadcasting(2), st.sampled_from(["float32", "float16"]), SEEDS)
def test_mod_of_floats(both: tuple[Shape, Shape], dtype: str, seed: int) -> None:
    x, y = values(both[0], dtype, seed, -20, 20), values(both[1], dtype, seed + 1, 0.5, 4)
    agrees("Mod", {"x": x, "y": y * np.where(values(both[1], dtype, seed) < 0, -1, 1).astype(dtype)}, opset=13,
           fmod=1, rtol=0, atol=0)


@pytest.mark.parametrize("op", VARIADIC)
@given(data=st.data(), three=broadcasting(3), dtype=st.sampled_from((*FLOATS, *INTEGERS)), seed=SEEDS)
def test_variadic(op: str, data: st.DataObject, three: tuple[Shape, ...], dtype: str, seed: int) -> None:
    count = data.draw(st.integers(1, 3))
    if op == "Sum" and dtype in INTEGERS:
        dtype = "float32"
    parts = {f"x{i}": values(s, dtype, seed + i, -99, 99) for i, s in enumerate(three[:count])}
    opset = data.draw(st.sampled_from([v for v in versions(op, 8) if v >= 12 or dtype == "float32"]))

    def reference(*arrays: Array) -> Array:
        result = arrays[0]
        for array in arrays[1:]:
            result = VARIADIC[op](result, array)
        return result

    agrees(op, parts, opset=opset, reference=reference, atol=0.2 if dtype == "float16" else 1e-6)


@given(broadcasting(3), st.integers(1, 3), st.sampled_from([8, 13]), SEEDS)
def test_mean(three: tuple[Shape, ...], count: int, opset: int, seed: int) -> None:
    agrees("Mean", {f"x{i}": values(s, "float32", seed + i) for i, s in enumerate(three[:count])}, opset=opset)


@pytest.mark.parametrize("op", ["Max", "Min", "Add"])
@pytest.mark.parametrize("shape", [(2, 3), (3,), (2, 1), (1, 1), ()])
@pytest.mark.parametrize("constant", [True, False])
def test_nan_goes_through(op: str, shape: Shape, constant: bool) -> None:
    x = np.array([[np.nan, 1, 2], [np.inf, np.nan, -np.inf]], np.float32)
    y = values(shape, "float32", 0)
    if not constant and shape:
        y.reshape(-1)[0] = np.nan
    feeds, constants = ({"x": x}, {"y": y}) if constant else ({"x": x, "y": y}, {})
    for order in (["x", "y"], ["y", "x"]):
        check(one_node(op, feeds, constants=constants, operands=order, opset=13), feeds)


@pytest.mark.parametrize("op", ["Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Exp", "Log", "Reciprocal"])
@given(data=st.data(), shape=shapes(), dtype=st.sampled_from((*FLOATS, *INTEGERS)), seed=SEEDS,
       symbolic=st.booleans())
def test_unary(op: str, data: st.DataObject, shape: Shape, dtype: str, seed: int, symbolic: bool) -> None:
    if dtype in INTEGERS and (op not in ("Neg", "Abs", "Sign") or (op == "Neg" and dtype in UNSIGNED)):
        dtype = "float32"
    positive = op in ("Sqrt", "Log", "Reciprocal")
    x = full_range(shape, dtype, seed) if dtype in INTEGERS else values(shape, dtype, seed, 0.1 if positive else -9, 9)
    if op == "Round":
        x = (np.round(x * 2) / 2).astype(dtype)  # many halves
    agrees(op, {"x": x}, opset=data.draw(st.sampled_from(versions(op))), symbolic=symbolic,
           reference=getattr(np, op.lower().replace("neg", "negative"), None))


@given(shapes(), st.sampled_from([None, -9, 0, -1, 2]), st.sampled_from([None, 6, 1, 0]),
       st.sampled_from((*FLOATS, *INTEGERS)), st.sampled_from(["attribute", "constant", "run time"]), SEEDS)
def test_clip(shape: Shape, low: int | None, high: int | None, dtype: str, given_as: str, seed: int) -> None:
    if dtype in UNSIGNED and low is not None:
        low = abs(low)
    x = values(shape, dtype, seed, -9, 99)

    def reference(*_: Array) -> Array:
        result = x if low is None else np.maximum(x, np.array(low, dtype))
        return np.asarray(result if high is None else np.minimum(result, np.array(high, dtype)))

    if given_as == "attribute":
        limits: dict[str, Any] = {k: float(v) for k, v in (("min", low), ("max", high)) if v is not None}
        x = x.astype(np.float32)
        dtype = "float32"
        check(one_node("Clip", {"x": x}, opset=6, **limits), {"x": x}, expected={"y0": reference()})
        return
    bounds = {k: np.array(v, dtype) for k, v in (("lo", low), ("hi", high)) if v is not None}
    order = ["x", "lo" if "lo" in bounds else "", "hi" if "hi" in bounds else ""]
    feeds, constants = ({"x": x}, bounds) if given_as == "constant" else ({"x": x} | bounds, {})
    agrees("Clip", feeds, constants=constants, operands=order, opset=11 if dtype == "float32" else 13,
           reference=reference)


@given(broadcasting(2), st.sampled_from(["float32", "float16", "int32", "int64", "uint64"]), SEEDS, st.booleans())
def test_pow_of_floats(both: tuple[Shape, Shape], exponent: str, seed: int, symbolic: bool) -> None:
    x = values(both[0], "float32", seed, 0.2, 4)
    y = values(both[1], exponent, seed + 1, 0 if exponent in UNSIGNED else -3, 3)
    agrees("Pow", {"x": x, "y": y}, opset=15, reference=lambda x, y: np.power(x, y.astype(np.float32)),
           symbolic=symbolic)


@given(shapes(), st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.5, -1.0, 2.5]), st.sampled_from([7, 12, 13, 15]), SEEDS)
def test_pow_by_constant(shape: Shape, exponent: float, opset: int, seed: int) -> None:
    x = values(shape, "float32", seed, 0.2, 4)
    agrees("Pow", {"x": x}, constants={"y": np.array(exponent, np.float32)}, opset=opset)


@given(broadcasting(2), st.sampled_from(["int32", "int64"]), st.sampled_from(["int32", "int64", "uint32", "uint64"]),
       SEEDS)
def test_pow_of_integers(both: tuple[Shape, Shape], dtype: str, exponent: str, seed: int) -> None:
    x, y = values(both[0], dtype, seed), values(both[1], exponent, seed + 1, -3 if exponent in SIGNED else 0, 15)
    if seed % 2:  # larger powers, of numbers that do not grow
        x, y = values(both[0], dtype, seed, -1, 1), values(both[1], exponent, seed + 1, 0, 2**31 - 1)

    def power(a: int, n: int) -> int:
        if abs(a) == 1:
            return 1 if n % 2 == 0 else a
        return 0 if n < 0 else a**n if n < 100 else 0

    wanted = np.array([power(int(a), int(n)) for a, n in np.broadcast(x, y)], dtype)
    check(one_node("Pow", {"x": x, "y": y}, opset=15), {"x": x, "y": y},
          expected={"y0": wanted.reshape(np.broadcast(x, y).shape)})


def test_integers_to_a_float_known_at_run_time() -> None:
    x, y = np.ones(3, np.int32), np.ones(3, np.float32)
    with pytest.raises(UnsupportedType, match="float64"):
        lowered(one_node("Pow", {"x": x, "y": y}, opset=15))
    check(one_node("Pow", {"x": x}, constants={"y": np.array(3, np.float32)}, opset=15), {"x": x})


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@given(both=broadcasting(2), dtype=st.sampled_from(INTEGERS), seed=SEEDS, symbolic=st.booleans())
def test_bitwise(op: str, both: tuple[Shape, Shape], dtype: str, seed: int, symbolic: bool) -> None:
    reference: Any = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}[op]
    agrees(op, {"x": full_range(both[0], dtype, seed), "y": full_range(both[1], dtype, seed + 1)}, opset=18,
           reference=reference, symbolic=symbolic)


@given(shapes(), st.sampled_from(INTEGERS), SEEDS)
def test_bitwise_not(shape: Shape, dtype: str, seed: int) -> None:
    agrees("BitwiseNot", {"x": full_range(shape, dtype, seed)}, opset=18, reference=np.bitwise_not)


@given(broadcasting(2), st.sampled_from(INTEGERS), st.sampled_from(["LEFT", "RIGHT"]), SEEDS)
def test_bit_shift(both: tuple[Shape, Shape], dtype: str, direction: str, seed: int) -> None:
    """Signs are extended; counts out of range leave 0, or -1 of a negative number shifted right."""
    bits = np.iinfo(dtype).bits
    x, y = full_range(both[0], dtype, seed), values(both[1], dtype, seed + 1, -2, bits + 2)

    def shifted(a: int, n: int) -> int:
        if not 0 <= n < bits:
            return -1 if a < 0 and direction == "RIGHT" else 0
        return a >> n if direction == "RIGHT" else a << n

    wanted = np.array([shifted(int(a), int(n)) % (1 << 64) for a, n in np.broadcast(x, y)], np.uint64)
    opset = 28 if dtype in SIGNED else 11
    check(one_node("BitShift", {"x": x, "y": y}, opset=opset, direction=direction), {"x": x, "y": y},
          expected={"y0": wanted.astype(dtype).reshape(np.broadcast(x, y).shape)})
