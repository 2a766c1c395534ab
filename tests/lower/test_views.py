"""Views, repetition and shapes against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel, NeedsConstant, NeedsStaticShape, UnsupportedAttribute
from tests.lower.drawing import Case, dtypes, dynamic, ints, refuses, shape, values, ways
from tests.lower.support import check, lowered, one_node


@st.composite
def _targets(draw: st.DrawFn) -> tuple[list[int], list[int], int, int]:
    """A shape, a shape to make of it with a 0 or -1 in it, allowzero, and the opset."""
    opset = draw(st.sampled_from([7, 13, 14, 19, 21]))
    given = draw(shape(0, 4, least=0))
    count = int(np.prod(given))
    target: list[int] = []
    rest = count
    while rest > 1 and len(target) < 4:
        target.append(draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
        rest //= target[-1]
    if count == 0:
        zero = opset >= 14 and draw(st.booleans())
        return given, [2, 0, 3] if zero else list(given), int(zero), opset
    target.append(rest)
    same = [i for i, d in enumerate(target) if i < len(given) and given[i] == d]
    if same and draw(st.booleans()):
        target[draw(st.sampled_from(same))] = 0
    if draw(st.booleans()) and (free := [i for i, d in enumerate(target) if d]):
        target[draw(st.sampled_from(free))] = -1
    return given, target, 0, opset


@given(_targets(), dtypes, ways)
def test_reshape(drawn: Any, dtype: Any, way: str) -> None:
    given, target, allowzero, opset = drawn
    attributes = {"allowzero": allowzero} if opset >= 14 else {}
    if way == "dynamic" and 0 in given:
        way = "constant"
    Case("Reshape", {"x": values(given)}, {"t": ints(*target)}, opset=opset, attributes=attributes).check(dtype, way)


@given(shape(0, 4, least=0), st.data(), dtypes, st.sampled_from(["constant", "dynamic"]))
def test_flatten(given: list[int], data: Any, dtype: Any, way: str) -> None:
    axis = data.draw(st.integers(-len(given), len(given)))
    opset = data.draw(st.sampled_from([11, 13, 21] if axis < 0 else [7, 9, 11, 13, 21]))
    if axis == 1 and not given:
        axis = 0
    way = "constant" if 0 in given else way
    Case("Flatten", {"x": values(given)}, opset=opset, attributes={"axis": axis}).check(dtype, way)


@given(shape(1, 4, least=0), st.data(), dtypes)
def test_squeeze_and_unsqueeze(given: list[int], data: Any, dtype: Any) -> None:
    rank = len(given)
    count = data.draw(st.integers(1, 2))
    axes = data.draw(st.lists(st.integers(0, rank + count - 1), min_size=count, max_size=count, unique=True))
    rest = iter(given)
    wide = [1 if i in axes else next(rest) for i in range(rank + count)]
    opset = data.draw(st.sampled_from([7, 11, 13, 21]))
    if opset < 13:
        axes = sorted(axes)  # ONNX's inference for older schemas expects it
    if opset >= 11 and data.draw(st.booleans()):
        axes = [a - len(wide) for a in axes]
    ways: tuple[dict[str, Any], dict[str, Any]] = ({"axes": ints(*axes)}, {}) if opset >= 13 else ({}, {"axes": axes})
    for op, size in (("Squeeze", wide), ("Unsqueeze", given)):
        Case(op, {"x": values(size)}, ways[0], opset=opset, attributes=ways[1]).check(dtype)
    Case("Squeeze", {"x": values(wide)}, opset=opset).check(dtype)
    if opset >= 13 and 0 not in given:
        Case("Unsqueeze", {"x": values(given)}, ways[0], opset=opset).check(dtype, "dynamic")


@given(shape(0, 6, least=0, most=3), st.data(), dtypes, st.sampled_from(["constant", "dynamic"]))
def test_transpose(given: list[int], data: Any, dtype: Any, way: str) -> None:
    perm = data.draw(st.none() | st.permutations(range(len(given)))) or None
    attributes = {} if perm is None else {"perm": list(perm)}
    opset = data.draw(st.sampled_from([7, 13, 21]))
    Case("Transpose", {"x": values(given)}, opset=opset, attributes=attributes).check(
        dtype, "constant" if 0 in given else way)


@given(shape(0, 4, least=0), dtypes, st.sampled_from([7, 13, 14, 16, 19, 21]))
def test_identity(given: list[int], dtype: Any, opset: int) -> None:
    Case("Identity", {"x": values(given)}, opset=opset).check(dtype)


@given(shape(1, 4, least=0), st.data(), dtypes, ways)
def test_expand(given: list[int], data: Any, dtype: Any, way: str) -> None:
    x = [d if data.draw(st.booleans()) else 1 for d in given][data.draw(st.integers(0, len(given))):]
    target = [1 if data.draw(st.booleans()) and i >= len(given) - len(x) else d for i, d in enumerate(given)]
    opset = data.draw(st.sampled_from([8, 13]))
    Case("Expand", {"x": values(x)}, {"t": ints(*target)}, opset=opset).check(
        dtype, "constant" if way == "dynamic" and 0 in x else way)


@given(shape(1, 4, least=0), st.data(), dtypes, ways)
def test_tile(given: list[int], data: Any, dtype: Any, way: str) -> None:
    repeats = [data.draw(st.integers(0, 3)) for _ in given]
    opset = data.draw(st.sampled_from([7, 13]))
    Case("Tile", {"x": values(given)}, {"r": ints(*repeats)}, opset=opset).check(
        dtype, "constant" if way == "dynamic" and 0 in given else way)


@pytest.mark.parametrize("opset", [12, 13, 22])
@pytest.mark.parametrize("way", ["constant", "dynamic"])
def test_dropout_does_nothing_and_drops_nothing(opset: int, way: str) -> None:
    case = Case("Dropout", {"x": values([2, 3])}, {"ratio": np.asarray(0.7, np.float32), "mode": np.asarray(False)},
                opset=opset, outputs=2)
    case.check(way=way)
    check(one_node("Dropout", {"x": values([2, 3])}, opset=opset), {"x": values([2, 3])})


def test_dropout_that_trains_is_refused() -> None:
    x, mode = {"x": values([2, 3])}, {"ratio": np.asarray(0.5, np.float32), "mode": np.asarray(True)}
    with pytest.raises(UnsupportedAttribute, match="random"):
        lowered(one_node("Dropout", x, constants=mode, opset=13))
    with pytest.raises(NeedsConstant):
        lowered(one_node("Dropout", {**x, **mode}, opset=13))
    with pytest.raises(UnsupportedAttribute, match="inference"):
        lowered(one_node("Dropout", x, opset=10, outputs=2))


def test_dropout_of_nothing_is_no_training() -> None:
    x, mode = {"x": values([2, 3])}, {"ratio": np.asarray(0, np.float32), "mode": np.asarray(True)}
    check(one_node("Dropout", x, constants=mode, opset=13), x)


@given(shape(0, 4, least=0), st.integers(-6, 6), st.none() | st.integers(-6, 6), dtypes,
       st.sampled_from([7, 13, 15, 19, 21]), st.sampled_from(["constant", "dynamic"]))
def test_shape(given: list[int], start: int, end: int | None, dtype: Any, opset: int, way: str) -> None:
    attributes = {"start": start, **({} if end is None else {"end": end})} if opset >= 15 else {}
    Case("Shape", {"x": values(given)}, opset=opset, attributes=attributes).check(dtype, way)


@given(shape(0, 4, least=0), dtypes, st.sampled_from([7, 13, 19, 21]), st.sampled_from(["constant", "dynamic"]))
def test_size(given: list[int], dtype: Any, opset: int, way: str) -> None:
    Case("Size", {"x": values(given)}, opset=opset).check(dtype, way)


@pytest.mark.parametrize(("op", "constants", "attributes", "text"), [
    ("Reshape", {"t": ints(4, 2)}, {}, "elements"),
    ("Reshape", {"t": ints(-1, 4)}, {}, "cannot be divided"),
    ("Reshape", {"t": ints(2, 3, 0)}, {}, "does not have"),
    ("Squeeze", {"a": ints(1)}, {}, "drops axis 1"),
    ("Unsqueeze", {"a": ints(0, -4)}, {}, "twice"),
    ("Transpose", {}, {"perm": [0, 0]}, "no order"),
    ("Flatten", {}, {"axis": 3}, "out of range"),
])
def test_what_contradicts_itself_is_refused(op: str, constants: Any, attributes: Any, text: str) -> None:
    refuses(ContradictoryModel, text, op, {"x": values([2, 3])}, constants, **attributes)


def test_squeeze_of_dynamic_dimensions_needs_axes() -> None:
    model = dynamic(one_node("Squeeze", {"x": values([1, 3])}, opset=13), ["x"])
    with pytest.raises(NeedsStaticShape, match="Squeeze without axes"):
        lowered(model)


def test_run_time_axes_need_a_declared_result() -> None:
    feeds = {"x": values([1, 3]), "a": ints(0)}
    model = one_node("Squeeze", feeds, opset=13)
    model.graph.output[0].ClearField("type")
    with pytest.raises(NeedsConstant, match="axes"):
        lowered(model)
    from onnx import TensorProto, helper

    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", TensorProto.FLOAT, [3]))
    check(model, feeds)


def test_axes_of_rank_0_fold_too() -> None:
    """As the bodies of ONNX's own functions have them."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        g (float[2, 3, 1] x) => (float[2, 3, 1] y0)
        <float[3] w = {1.0, 2.0, 3.0}, int64 last = {-1}> { wide = Unsqueeze (w, last) y0 = Add (x, wide) }""")
    check(model, {"x": values([2, 3, 1])})
