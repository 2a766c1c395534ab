"""Tensors made from little, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fidelite.errors import NeedsConstant, UnsupportedAttribute, UnsupportedType
from tests.lower.drawing import TYPES, Case, dtypes, dynamic, ints, refuses, shape, values
from tests.lower.support import check, lowered, one_node


@given(shape(1, 4, least=0), dtypes, st.sampled_from([9, 20, 21]), st.booleans())
def test_constant_of_shape(given: list[int], dtype: Any, opset: int, run_time: bool) -> None:
    value = numpy_helper.from_array(np.asarray([1 if dtype is np.bool_ else 3]).astype(dtype))
    target = {"t": ints(*given)}
    model = one_node("ConstantOfShape", target if run_time else {}, constants={} if run_time else target, opset=opset,
                     operands=["t"], value=value)
    if run_time:  # ONNX takes it that the declared shape is the only one
        model.graph.output[0].type.tensor_type.ClearField("shape")
    check(model, target if run_time else {}, expected={"y0": np.full(given, 1 if dtype is np.bool_ else 3, dtype)})


def test_constant_of_shape_is_zero_by_default() -> None:
    check(one_node("ConstantOfShape", {"t": ints(2, 3)}, opset=9), {"t": ints(2, 3)})


_INTEGERS = st.sampled_from([np.int16, np.int32, np.int64])


@given(_INTEGERS, st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool), st.booleans(),
       st.sampled_from([11, 13]))
def test_range_of_integers(dtype: Any, start: int, limit: int, delta: int, fixed: bool, opset: int) -> None:
    items = {"a": np.asarray(start, dtype), "b": np.asarray(limit, dtype)}
    step = {"c": np.asarray(delta, dtype)}
    model = one_node("Range", items if fixed else items | step, constants=step if fixed else {}, opset=opset)
    check(model, items if fixed else items | step)


@given(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32), st.sampled_from([0.25, 0.1, 3.0, -0.5, -0.3]))
def test_range_of_floats(start: float, limit: float, delta: float) -> None:
    feeds = {k: np.asarray(v, np.float32) for k, v in zip("abc", (start, limit, delta), strict=True)}
    check(one_node("Range", feeds, opset=13), feeds)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_range_of_schema_27(dtype: Any) -> None:
    feeds = {k: np.asarray(v, dtype) for k, v in zip("abc", (1, 3, 0.5), strict=True)}
    check(one_node("Range", feeds, opset=27), feeds, expected={"y0": np.arange(1, 3, 0.5).astype(dtype)})
    refuses(UnsupportedAttribute, "stash_type", "Range", feeds, opset=27, stash_type=10)


def test_a_range_in_float64_is_refused_unless_it_is_known() -> None:
    feeds = {k: np.asarray(v, np.float64) for k, v in zip("abc", (0, 1, 0.1), strict=True)}
    refuses(UnsupportedType, "float64", "Range", feeds, opset=13)
    check(one_node("Range", {}, constants=feeds, opset=13), {})


@given(shape(2, 2, least=0), st.integers(-5, 5), dtypes, st.sampled_from(TYPES), st.booleans(),
       st.sampled_from([9, 22]))
def test_eye_like(given: list[int], k: int, dtype: Any, made: Any, own: bool, opset: int) -> None:
    attributes: dict[str, Any] = {"k": k}
    if not own:
        attributes["dtype"] = helper.np_dtype_to_tensor_dtype(np.dtype(made))
    x = {"x": values(given, dtype)}
    model = one_node("EyeLike", x, opset=opset, **attributes)
    want = {"y0": np.eye(given[0], given[1], k, dtype=dtype if own else made)}
    check(model, x, expected=want)
    if 0 not in given:
        check(dynamic(model, ["x"]), x, expected=want)


def test_a_number_of_dimensions_that_is_not_known_is_refused() -> None:
    for op, inputs in (("ConstantOfShape", ["t"]), ("Expand", ["x", "t"])):
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        t = helper.make_tensor_value_info("t", onnx.TensorProto.INT64, ["k"])
        graph = helper.make_graph([helper.make_node(op, inputs, ["y"])], "g", [x, t][2 - len(inputs):],
                                  [helper.make_empty_tensor_value_info("y")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        with pytest.raises(NeedsConstant, match="number of dimensions"):
            lowered(model)


def test_case_of_a_constant_in_every_form() -> None:
    forms: tuple[dict[str, Any], ...] = (
        {"value_int": 3}, {"value_ints": [1, 2]}, {"value_float": 0.5}, {"value_floats": [1.5, 2.5]},
        {"value": numpy_helper.from_array(values([2, 2]))})
    for attributes in forms:
        check(one_node("Constant", {}, opset=13, **attributes), {})


def test_a_constant_of_strings_is_refused() -> None:
    refuses(UnsupportedType, "type", "Constant", {}, opset=13, value_string="text")


def test_moving_needs_no_kernel_of_the_type() -> None:
    Case("Expand", {"x": values([1, 3])}, {"t": ints(2, 3)}, opset=13).check(np.uint64)
