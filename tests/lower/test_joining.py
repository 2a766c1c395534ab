"""Concat, Split and Slice against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel
from tests.lower.drawing import Case, dtypes, ints, refuses, shape, values, ways


@given(shape(1, 5, most=3), st.data(), dtypes, st.sampled_from([4, 7, 11, 13]), st.booleans())
def test_concat(given: list[int], data: Any, dtype: Any, opset: int, dynamic: bool) -> None:
    axis = data.draw(st.integers(0, len(given) - 1))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any))
    parts = {f"x{i}": values([size if a == axis else d for a, d in enumerate(given)]) + i
             for i, size in enumerate(sizes)}
    if opset >= 11 and data.draw(st.booleans()):
        axis -= len(given)
    Case("Concat", parts, opset=opset, attributes={"axis": axis}).check(
        dtype, "dynamic" if dynamic and all(sizes) else "constant")


@given(shape(1, 4), st.data(), dtypes, ways)
def test_split(given: list[int], data: Any, dtype: Any, way: str) -> None:
    axis = data.draw(st.integers(0, len(given) - 1))
    opset = data.draw(st.sampled_from([7, 11, 13, 18]))
    equal = data.draw(st.booleans())
    sizes = [data.draw(st.integers(1, 3))] * data.draw(st.integers(1, 3)) if equal else \
        data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any))
    x = {"x": values([sum(sizes) if a == axis else d for a, d in enumerate(given)])}
    if opset >= 11 and data.draw(st.booleans()):
        axis -= len(given)
    operand = opset >= 13 and not (equal and data.draw(st.booleans()))
    attributes: dict[str, Any] = {"axis": axis}
    if opset < 13 and not (equal and data.draw(st.booleans())):
        attributes["split"] = sizes
    if opset == 18 and not operand:
        attributes["num_outputs"] = len(sizes)
    Case("Split", x, {"s": ints(*sizes)} if operand else {}, opset=opset, outputs=len(sizes),
         attributes=attributes).check(dtype, way)


@given(st.integers(1, 9), st.integers(1, 4), dtypes)
def test_split_into_a_number_of_outputs(size: int, count: int, dtype: Any) -> None:
    part = -(-size // count)
    if part * (count - 1) >= size:  # ONNX Runtime allows no empty parts here
        return
    Case("Split", {"x": values([2, size])}, opset=18, outputs=count,
         attributes={"axis": 1, "num_outputs": count}).check(dtype)


_BOUNDS = st.one_of(st.integers(-6, 6), st.sampled_from([2**31 - 1, 2**63 - 1, -2**31, -2**63, -2**63 + 1]))


@given(shape(1, 4, least=0), st.data(), dtypes, ways)
def test_slice(given: list[int], data: Any, dtype: Any, way: str) -> None:
    rank = len(given)
    axes = data.draw(st.lists(st.integers(0, rank - 1), min_size=1, unique=True, max_size=rank))
    starts, ends = ([data.draw(_BOUNDS) for _ in axes] for _ in range(2))
    steps = [data.draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in axes]
    # Backwards to the largest int: to the first element for ONNX Runtime, nowhere for ONNX's own inference.
    ends = [5 if step < 0 and end in (2**31 - 1, 2**63 - 1) else end for step, end in zip(steps, ends, strict=True)]
    opset = data.draw(st.sampled_from([10, 11, 13]))
    if opset >= 11 and data.draw(st.booleans()):
        axes = [a - rank for a in axes]
    params = {"s": ints(*starts), "e": ints(*ends), "a": ints(*axes), "t": ints(*steps)}
    if data.draw(st.booleans()) and axes == list(range(len(axes))):
        params = {"s": params["s"], "e": params["e"]}
    Case("Slice", {"x": values(given)}, params, opset=opset).check(dtype, "constant" if 0 in given else way)


@given(shape(1, 4), st.data(), dtypes, st.booleans())
def test_slice_by_attributes(given: list[int], data: Any, dtype: Any, dynamic: bool) -> None:
    axes = data.draw(st.lists(st.integers(0, len(given) - 1), min_size=1, unique=True, max_size=len(given)))
    starts, ends = ([data.draw(st.integers(-6, 6)) for _ in axes] for _ in range(2))
    Case("Slice", {"x": values(given)}, opset=9, attributes={"starts": starts, "ends": ends, "axes": axes}).check(
        dtype, "dynamic" if dynamic else "constant")


def test_a_plain_slice_is_one_operator_that_delegates_take() -> None:
    model = Case("Slice", {"x": values([2, 5])}, {"s": ints(1), "e": ints(4), "a": ints(1)}, opset=13).check()
    assert [o.op for o in model.main.operators] == ["SLICE"]


@pytest.mark.parametrize(("op", "inputs", "constants", "attributes", "text"), [
    ("Concat", {"x": values([2, 3]), "z": values([3, 3])}, {}, {"axis": 1}, "sizes along axis 0 differ"),
    ("Concat", {"x": values([2, 3]), "z": values([2])}, {}, {"axis": 0}, "dimensions"),
    ("Split", {"x": values([2, 3])}, {"s": ints(1, 1)}, {"axis": 1}, "parts"),
    ("Slice", {"x": values([2, 3])}, {"s": ints(0), "e": ints(2), "a": ints(0), "t": ints(0)}, {}, "step of 0"),
    ("Slice", {"x": values([2, 3])}, {"s": ints(0, 1), "e": ints(2)}, {}, "2 starts"),
])
def test_what_contradicts_itself_is_refused(op: str, inputs: Any, constants: Any, attributes: Any, text: str) -> None:
    refuses(ContradictoryModel, text, op, inputs, constants, outputs=2 if op == "Split" else 1, **attributes)


def test_an_uneven_split_into_equal_parts_is_refused() -> None:
    refuses(ContradictoryModel, "equal parts", "Split", {"x": values([2, 3])}, opset=13, outputs=2, axis=1)
