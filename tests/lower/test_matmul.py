"""MatMul, Gemm and Einsum against ONNX Runtime, and against numpy for the integers that it has no kernel for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import InvalidModel, NeedsStaticShape, UnsupportedAttribute
from tests.lower.dynamic import with_symbols
from tests.lower.elements import SEEDS, Shape, agrees, values
from tests.lower.support import Array, check, lowered, one_node

DTYPES = st.sampled_from(["float32", "float32", "float32", "float16", "float64", "int32", "int64", "uint32", "uint64"])


@st.composite
def factors(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Shapes that numpy's matmul takes: vectors, matrices, and stacks that broadcast."""
    m, k, n = (draw(st.sampled_from([1, 2, 3, 4])) for _ in range(3))
    batch = draw(st.one_of(
        st.lists(st.sampled_from([1, 2, 3]), max_size=3).map(tuple),
        st.sampled_from([(2, 1, 2, 1, 2), (0,), (1, 2, 1, 2, 1, 2)])))
    sides: list[Shape] = []
    for matrix in ((m, k), (k, n)):
        dims = tuple(1 if draw(st.integers(0, 2)) == 0 else d for d in batch)
        sides.append(dims[draw(st.integers(0, len(dims))):] + matrix)
    left, right = sides
    if draw(st.integers(0, 5)) == 0:
        left = (k,)
    if draw(st.integers(0, 5)) == 0:
        right = (k,)
    return left, right


@given(factors(), DTYPES, st.sampled_from(["", "x", "y"]), st.sampled_from([9, 13]), SEEDS, st.booleans())
def test_matmul(both: tuple[Shape, Shape], dtype: str, constant: str, opset: int, seed: int, symbolic: bool) -> None:
    arrays = {"x": values(both[0], dtype, seed), "y": values(both[1], dtype, seed + 1)}
    feeds = {k: v for k, v in arrays.items() if k != constant}
    constants = {k: v for k, v in arrays.items() if k == constant}
    symbolic = symbolic and dtype == "float32" and not constant and max(map(len, both)) <= 5 \
        and 0 not in both[0] + both[1]
    agrees("MatMul", feeds, constants=constants, operands=["x", "y"], opset=opset, symbolic=symbolic,
           reference=lambda *_: np.matmul(arrays["x"], arrays["y"]))


def test_rows_known_at_run_time() -> None:
    x, y = values((5, 3), "float32", 0), values((3, 4), "float32", 1)
    model = one_node("MatMul", {"x": x}, constants={"y": y}, opset=13)
    check(with_symbols(model, {"x": [0]}), {"x": x})
    with pytest.raises(NeedsStaticShape, match="sums over"):
        lowered(with_symbols(model, {"x": [1]}))


def test_product_over_nothing() -> None:
    x, y = np.ones((2, 0), np.float32), np.ones((0, 3), np.float32)
    check(one_node("MatMul", {"x": x, "y": y}, opset=13), {"x": x, "y": y},
          expected={"y0": np.zeros((2, 3), np.float32)})


@given(st.tuples(*[st.sampled_from([1, 2, 3, 5])] * 3), st.booleans(), st.booleans(),
       st.sampled_from([1.0, 0.5, -2.0]), st.sampled_from([1.0, 0.25, 0.0]),
       st.sampled_from([None, "()", "1", "n", "1n", "m1", "mn"]), st.sampled_from(["", "y", "yc", "c"]),
       st.sampled_from(["float32", "float16", "float64"]), st.sampled_from([7, 9, 11, 13]), SEEDS)
def test_gemm(sizes: tuple[int, int, int], adj_x: bool, adj_y: bool, alpha: float, beta: float, added: str | None,
              constant: str, dtype: str, opset: int, seed: int) -> None:
    m, k, n = sizes
    arrays: dict[str, Array] = {"x": values((k, m) if adj_x else (m, k), dtype, seed),
                                "y": values((n, k) if adj_y else (k, n), dtype, seed + 1)}
    if added is None and opset < 11:
        added = "n"
    if added is not None:
        shape: Shape = {"()": (), "1": (1,), "n": (n,), "1n": (1, n), "m1": (m, 1), "mn": (m, n)}[added]
        arrays["c"] = values(shape, dtype, seed + 2)
    feeds = {name: a for name, a in arrays.items() if name not in constant}
    constants = {name: a for name, a in arrays.items() if name in constant}
    agrees("Gemm", feeds, constants=constants, operands=list(arrays), opset=opset, alpha=alpha, beta=beta,
           transA=int(adj_x), transB=int(adj_y), atol=2e-2 if dtype == "float16" else 1e-6)


@given(st.sampled_from(["int32", "int64", "uint32", "uint64"]), st.sampled_from([1.0, 2.0]), SEEDS)
def test_gemm_of_integers(dtype: str, alpha: float, seed: int) -> None:
    x, y, c = (values(s, dtype, seed + i, -99, 99) for i, s in enumerate([(2, 3), (3, 4), (4,)]))
    wanted = (x @ y) * np.array(alpha, dtype) + c
    check(one_node("Gemm", {"x": x, "y": y, "c": c}, opset=13, alpha=alpha), {"x": x, "y": y, "c": c},
          expected={"y0": wanted})


def test_gemm_of_integers_by_a_fraction() -> None:
    x = np.ones((2, 2), np.int32)
    with pytest.raises(UnsupportedAttribute, match="no integer"):
        lowered(one_node("Gemm", {"x": x, "y": x}, opset=13, alpha=0.5))


SIZES = {"a": 2, "b": 3, "c": 1, "d": 4}


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[Shape]]:
    """An equation of one to three operands, with repeated labels and an ellipsis now and then."""
    count = draw(st.integers(1, 3))
    width = draw(st.integers(0, 2)) if draw(st.integers(0, 3)) == 0 else None
    words = ["".join(draw(st.lists(st.sampled_from("abcd"), min_size=0 if width else 1, max_size=4)))
             for _ in range(count)]
    dims: list[Shape] = [tuple(SIZES[label] for label in word) for word in words]
    if width is not None:
        dims = [(2, 3)[:width] + s for s in dims]
        words = ["..." + word for word in words]
    labels = sorted(set("".join(words)) - {"."})
    out = "".join(draw(st.permutations([label for label in labels if draw(st.booleans())])))
    if width is not None and (width or draw(st.booleans())):
        out = "..." + out
    return ",".join(words) + (f"->{out}" if width is not None or draw(st.booleans()) else ""), dims


@given(equations(), st.sampled_from(["float32", "float32", "float64", "int32", "int64"]), SEEDS, st.booleans())
def test_einsum(equation: tuple[str, list[Shape]], dtype: str, seed: int, constant: bool) -> None:
    arrays = {f"x{i}": values(s, dtype, seed + i) for i, s in enumerate(equation[1])}
    feeds = {"x0": arrays["x0"]} if constant else arrays
    constants = {k: v for k, v in arrays.items() if k != "x0"} if constant else {}
    wanted: Any = np.einsum(equation[0], *arrays.values())
    check(one_node("Einsum", feeds, constants=constants, opset=12, equation=equation[0]), feeds, rtol=1e-5, atol=1e-4,
          expected={"y0": np.asarray(wanted, dtype)})


@pytest.mark.parametrize(("equation", "shapes"), [
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]), ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ("bnqd,bnkd->bnqk", [(2, 3, 4, 5), (2, 3, 6, 5)]), (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("abc,cd,de->abe", [(2, 3, 4), (4, 5), (5, 6)]), ("ii->i", [(3, 3)]), ("ij->", [(2, 3)]), ("ba", [(2, 3)])])
@pytest.mark.parametrize("symbolic", [False, True])
def test_known_equations(equation: str, shapes: list[Shape], symbolic: bool) -> None:
    feeds = {f"x{i}": values(s, "float32", i) for i, s in enumerate(shapes)}
    agrees("Einsum", feeds, opset=12, equation=equation, symbolic=symbolic and "ii" not in equation)


def test_equation_for_other_operands() -> None:
    with pytest.raises(InvalidModel, match="terms for"):
        lowered(one_node("Einsum", {"x": np.ones((2, 2), np.float32)}, opset=12, equation="ij,jk->ik"))
