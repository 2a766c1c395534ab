"""Reductions against ONNX Runtime, and against numpy for the types that it has no kernel for."""

from __future__ import annotations

from math import isqrt, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import NeedsConstant, UnsupportedType
from tests.lower.elements import FLOATS, SEEDS, UNSIGNED, Shape, agrees, shapes, values, versions
from tests.lower.support import Array, check, lowered, one_node

EXACT = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")
REAL = ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
NUMPY: dict[str, Any] = {
    "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod, "ReduceMean": np.mean,
    "ReduceL1": lambda x, **k: np.sum(np.abs(x), **k), "ReduceSumSquare": lambda x, **k: np.sum(x * x, **k),
    "ReduceL2": lambda x, **k: np.sqrt(np.sum(x * x, **k)), "ReduceLogSum": lambda x, **k: np.log(np.sum(x, **k)),
    "ReduceLogSumExp": lambda x, **k: np.log(np.sum(np.exp(x), **k))}


@pytest.mark.parametrize("op", [*EXACT, *REAL])
@given(data=st.data(), shape=shapes(), dtype=st.sampled_from((*FLOATS, "int32", "int64", "uint32", "uint64", "int8",
                                                              "uint8")), seed=SEEDS)
def test_reduction(op: str, data: st.DataObject, shape: Shape, dtype: str, seed: int) -> None:
    rank = len(shape)
    if (op in REAL or 0 in shape or (dtype.endswith("8") and op not in ("ReduceMax", "ReduceMin"))) \
            and dtype not in FLOATS:
        dtype = "float32"
    opset = data.draw(st.sampled_from([v for v in versions(op) if not dtype.endswith("8") or v >= 12]))
    axes: list[int] | None = data.draw(st.one_of(st.none(), st.lists(
        st.integers(-rank if opset >= 11 else 0, rank - 1), unique_by=lambda a: a % rank))) if rank else None
    keep = data.draw(st.integers(0, 1))
    noop = data.draw(st.integers(0, 1)) if _axes_are_operand(op, opset) else 0
    low, high = {"ReduceLogSum": (0.1, 3), "ReduceProd": (0.7, 1.3)}.get(op if dtype in FLOATS else "", (-3, 3))
    x = values(shape, dtype, seed, low, high)
    attributes: dict[str, Any] = {"keepdims": keep} | ({"noop_with_empty_axes": 1} if noop else {})
    feeds: dict[str, Array] = {"x": x}
    constants: dict[str, Array] = {}
    symbolic = 0 not in shape and rank <= 6 and data.draw(st.booleans())
    if axes is not None and _axes_are_operand(op, opset):
        target = feeds if rank <= 6 and not (noop and not axes) and axes and data.draw(st.booleans()) else constants
        target["axes"] = np.array(axes, np.int64)
        symbolic = symbolic and target is constants
    elif axes:
        attributes["axes"] = axes
    over = tuple(axes) if axes else () if noop else None

    def reference(*_: Array) -> Array:
        return np.asarray(NUMPY[op](x, axis=over, keepdims=bool(keep))).astype(dtype)

    agrees(op, feeds, constants=constants, opset=opset, symbolic=symbolic, reference=reference,
           rtol=1e-2 if dtype == "float16" else 1e-4, atol=3e-3 if dtype == "float16" else 1e-5, **attributes)


def _axes_are_operand(op: str, opset: int) -> bool:
    return opset >= (13 if op == "ReduceSum" else 18)


@given(shapes().filter(lambda s: len(s) > 0 and 0 not in s), SEEDS, st.sampled_from(["ReduceMax", "ReduceMin"]))
def test_booleans(shape: Shape, seed: int, op: str) -> None:
    x = values(shape, "bool", seed)
    agrees(op, {"x": x}, constants={"axes": np.array([len(shape) - 1])}, opset=20,
           reference=lambda x: NUMPY[op](x, axis=-1, keepdims=True))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_integers_lose_their_fraction(dtype: str) -> None:
    """The root, the logarithm and the mean are truncated towards zero."""
    rng = np.random.default_rng(0)
    top = 2**62 if dtype.endswith("64") else 2**30
    x = np.concatenate([rng.integers(1, top, 300), np.array([1, 2, 3, 7, 8, 20, 21, 3269017, 3269018, top])])
    x = x.astype(dtype)[:, None]
    axes = {"axes": np.array([1])}
    check(one_node("ReduceLogSum", {"x": x}, constants=axes, opset=18), {"x": x},
          expected={"y0": np.array([[int(log(int(v)))] for v in x[:, 0]], dtype)})
    small = np.array([[3, 4], [1, 1], [2**14, 5], [30000, 29999], [0, 0]], dtype)
    check(one_node("ReduceL2", {"x": small}, constants=axes, opset=18), {"x": small},
          expected={"y0": np.array([[isqrt(int(a) ** 2 + int(b) ** 2)] for a, b in small], dtype)})
    y = values((4, 3), dtype, 1, 0 if dtype in UNSIGNED else -99, 99)
    sums = y.astype(np.int64).sum(1, keepdims=True)
    check(one_node("ReduceMean", {"x": y}, constants=axes, opset=18), {"x": y},
          expected={"y0": (np.sign(sums) * (np.abs(sums) // 3)).astype(dtype)})


@pytest.mark.parametrize("op", [*EXACT, "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint64", "bool"])
def test_nothing(op: str, constant: bool, dtype: str) -> None:
    """Sums are 0, products 1, extremes the type's limits."""
    if dtype != "float32" and op not in ("ReduceMax", "ReduceMin") and (dtype == "bool" or op != "ReduceSum"):
        return
    x, axes = {"x": np.zeros((2, 0, 3), dtype)}, {"axes": np.array([1])}
    low: Any = -np.inf if dtype == "float32" else False if dtype == "bool" else np.iinfo(dtype).min
    high: Any = np.inf if dtype == "float32" else True if dtype == "bool" else np.iinfo(dtype).max
    value = {"ReduceProd": 1, "ReduceMax": low, "ReduceMin": high, "ReduceLogSum": low,
             "ReduceLogSumExp": low}.get(op, 0)
    feeds, constants = (x, axes) if constant else (x | axes, {})
    check(one_node(op, feeds, constants=constants, opset=20), feeds, expected={"y0": np.full((2, 1, 3), value, dtype)})


@pytest.mark.parametrize("row", [[-np.inf, 0, 1], [-np.inf, -np.inf, -np.inf], [np.inf, 0, 1], [1e30, 0, 0],
                                 [1000, 1000, 999], [-1000, -1000, -1001]])
def test_log_sum_exp_of_anything(row: list[float]) -> None:
    x = np.array([row], np.float32)
    agrees("ReduceLogSumExp", {"x": x}, constants={"axes": np.array([1])}, opset=18)


def test_refusals() -> None:
    x = {"x": np.ones((2, 3), np.int32)}
    with pytest.raises(UnsupportedType, match="integers"):
        lowered(one_node("ReduceLogSumExp", x, opset=18))
    with pytest.raises(NeedsConstant, match="mean of integers"):
        lowered(one_node("ReduceMean", x | {"axes": np.array([1])}, opset=18))
