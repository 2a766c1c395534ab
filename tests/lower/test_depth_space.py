"""DepthToSpace and SpaceToDepth against ONNX Runtime, and against their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import FideliteError
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node

TYPES = ["float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
         "bool"]


def expected(op: str, x: Array, block: int, mode: str) -> Array:
    n, c, h, w = x.shape
    if op == "DepthToSpace":
        depth = c // block**2
        if mode == "DCR":
            y = x.reshape(n, block, block, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, depth, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return y.reshape(n, depth, h * block, w * block)
    y = x.reshape(n, c, h // block, block, w // block, block)
    y = y.transpose((0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    return y.reshape(n, c * block**2, h // block, w // block)


@given(st.sampled_from(["DepthToSpace", "SpaceToDepth"]), st.integers(1, 3), st.sampled_from(["DCR", "CRD"]),
       st.integers(0, 2), st.tuples(*[st.integers(1, 3)] * 3), st.sampled_from(TYPES), st.sampled_from([7, 11, 13, 28]),
       st.sets(st.sampled_from([0, 2, 3])))
def test_blocks(op: str, block: int, mode: str, batch: int, sizes: tuple[int, int, int], dtype: str, opset: int,
                symbolic: set[int]) -> None:
    c, h, w = sizes
    if op == "DepthToSpace":
        shape, mode = (batch, c * block**2, h, w), mode if opset >= 11 else "DCR"
    else:
        shape, mode = (batch, c, h * block, w * block), mode if opset >= 28 else "DCR"
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    attributes: dict[str, Any] = {} if mode == "DCR" else {"mode": mode}
    model = one_node(op, {"x": x}, opset=opset, blocksize=block, **attributes)
    if batch:
        model = with_symbols(model, {"x": sorted(symbolic)})
    check(model, {"x": x}, expected={"y0": expected(op, x, block, mode)})


@pytest.mark.parametrize(("op", "opset"), [("DepthToSpace", 13), ("SpaceToDepth", 13)])
def test_against_onnx_runtime(op: str, opset: int) -> None:
    x = np.arange(4 * 4 * 6, dtype=np.float32).reshape(1, 4, 4, 6)
    result = check(one_node(op, {"x": x}, opset=opset, blocksize=2), {"x": x})
    assert len(result.main.operators) == 3


@pytest.mark.parametrize(("op", "attributes"), [
    ("DepthToSpace", {"blocksize": 3}), ("SpaceToDepth", {"blocksize": 3}),
    ("DepthToSpace", {"blocksize": 2, "mode": "XYZ"})])
def test_refused(op: str, attributes: dict[str, Any]) -> None:
    model = one_node(op, {"x": np.zeros((1, 4, 4, 4), np.float32)}, opset=13, **attributes)
    with pytest.raises(FideliteError):
        lowered(model)
