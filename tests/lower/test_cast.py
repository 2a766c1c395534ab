"""Cast between all pairs of element types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fidelite.errors import UnsupportedType
from tests.lower.elements import FLOATS, INTEGERS, SEEDS, Shape, agrees, full_range, shapes, values, versions
from tests.lower.support import check, lowered, one_node

TYPES = (*FLOATS, *INTEGERS, "bool")


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
@settings(max_examples=max(settings().max_examples // 4, 3))
@given(shape=shapes(), seed=SEEDS)
def test_cast(source: str, target: str, shape: Shape, seed: int) -> None:
    """Every number that the target has; integers with all bits random."""
    if source in INTEGERS and target in INTEGERS:
        x = full_range(shape, source, seed)
    else:
        x = values(shape, source, seed, 0 if "u" in target else -9, 99)
    agrees("Cast", {"x": x}, opset=versions("Cast", 9)[seed % len(versions("Cast", 9))],
           to=helper.np_dtype_to_tensor_dtype(np.dtype(target)), rtol=0, atol=0,
           reference=lambda x: x.astype(target))


@pytest.mark.parametrize("target", [np.float32, np.float64, np.float16])
def test_large_uint64_to_floats(target: type) -> None:
    """Rounded once, from 64 bits."""
    x = np.array([2**64 - 1, 2**63, 2**63 + 1, 2**63 + 2**39, 2**63 + 2**39 + 1, 2**63 + 2**40 + 2**39, 2**53 + 1, 7],
                 np.uint64)
    with np.errstate(over="ignore"):
        wanted = x.astype(target)
    check(one_node("Cast", {"x": x}, opset=13, to=helper.np_dtype_to_tensor_dtype(np.dtype(target))), {"x": x}, rtol=0,
          atol=0, expected={"y0": wanted})


def test_large_floats_to_uint64() -> None:
    x = np.array([2.0**63, 1.5 * 2.0**63, 2.0**62, 0.9, 3.7], np.float32)
    check(one_node("Cast", {"x": x}, opset=13, to=TensorProto.UINT64), {"x": x}, expected={"y0": x.astype(np.uint64)})


def test_bfloat16() -> None:
    """There and back: LiteRT's Python binding cannot show it."""
    x = values((3, 4), "float32", 0, -99, 99)
    model = one_node("Cast", {"x": x}, opset=13, to=TensorProto.BFLOAT16)
    model.graph.node[0].output[0] = "half"
    model.graph.node.append(helper.make_node("Cast", ["half"], ["y0"], to=TensorProto.FLOAT))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y0", TensorProto.FLOAT, [3, 4]))
    check(model, {"x": x}, rtol=0, atol=0, expected={"y0": x.astype(ml_dtypes.bfloat16).astype(np.float32)})


@given(shapes(), st.sampled_from(TYPES), st.sampled_from(TYPES), SEEDS, st.sampled_from([15, 19, 21]))
def test_cast_like(shape: Shape, source: str, target: str, seed: int, opset: int) -> None:
    feeds = {"x": values(shape, source, seed, 0, 9), "like": values((2,), target, seed)}
    check(one_node("CastLike", feeds, opset=opset), feeds, expected={"y0": feeds["x"].astype(target)})


@pytest.mark.parametrize("target", [TensorProto.STRING, TensorProto.INT4, TensorProto.FLOAT8E4M3FNUZ])
def test_refusals(target: int) -> None:
    with pytest.raises(UnsupportedType):
        lowered(one_node("Cast", {"x": np.ones(3, np.float32)}, opset=21, to=target))
