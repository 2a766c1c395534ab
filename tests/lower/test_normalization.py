"""Normalizations against ONNX Runtime, and against their definition where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fidelite.errors import FideliteError, UnsupportedAttribute
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node

RNG = np.random.default_rng(0)
SIZES = st.integers(1, 4)
SHAPES = st.tuples(st.integers(0, 2), st.sampled_from([2, 4, 6]), SIZES, SIZES, SIZES)


def values(*shape: int, dtype: str = "float32") -> Array:
    return RNG.normal(size=shape).astype(dtype)


def tolerance(dtype: str) -> float:
    return 1e-2 if dtype == "float16" else 1e-4


def placed(arrays: dict[str, Array], constant: bool) -> tuple[dict[str, Array], dict[str, Array]]:
    """Feeds and constants: the operands but for x as one or the other."""
    feeds = {k: v for k, v in arrays.items() if k == "x" or not constant}
    return feeds, {k: v for k, v in arrays.items() if k not in feeds}


@given(SHAPES, st.integers(2, 5), st.sampled_from([7, 9, 14, 15]), st.booleans(), st.sampled_from([1e-5, 1e-3]))
def test_batch_normalization(shape: tuple[int, ...], rank: int, opset: int, constant: bool, epsilon: float) -> None:
    x, c = values(*shape[:rank]), shape[1]
    arrays = {"x": x, "s": values(c), "b": values(c), "m": values(c), "v": np.abs(values(c)) + np.float32(0.1)}
    feeds, constants = placed(arrays, constant)
    model = one_node("BatchNormalization", feeds, opset=opset, constants=constants, operands=list(arrays),
                     epsilon=epsilon)
    result = check(model, feeds, rtol=1e-4)
    if constant and shape[0]:
        assert [o.op for o in result.main.operators] == ["MUL", "ADD"]


def test_batch_normalization_per_activation() -> None:
    x = values(2, 3, 4)
    constants = {"s": values(3, 4), "b": values(3, 4), "m": values(3, 4), "v": np.abs(values(3, 4))}
    want = (x - constants["m"]) / np.sqrt(constants["v"] + 1e-5) * constants["s"] + constants["b"]
    check(one_node("BatchNormalization", {"x": x}, opset=7, constants=constants, spatial=0), {"x": x},
          expected={"y0": want.astype(np.float32)}, rtol=1e-4)


@given(SHAPES, st.integers(2, 5), st.sampled_from([14, 15]))
def test_batch_normalization_in_training(shape: tuple[int, ...], rank: int, opset: int) -> None:
    assume(shape[0])
    x, c = values(*shape[:rank]), shape[1]
    feeds = {"x": x, "s": values(c), "b": values(c), "m": values(c), "v": np.abs(values(c))}
    axes = tuple(i for i in range(x.ndim) if i != 1)
    wide = x.astype(np.float64)
    mean, var = wide.mean(axes), wide.var(axes)
    by = (1, c, *[1] * (rank - 2))
    y = (wide - mean.reshape(by)) / np.sqrt(var.reshape(by) + 1e-5) * feeds["s"].reshape(by) + feeds["b"].reshape(by)
    want = {"y0": y, "y1": feeds["m"] * 0.75 + mean * 0.25, "y2": feeds["v"] * 0.75 + var * 0.25}
    check(one_node("BatchNormalization", feeds, opset=opset, outputs=3, training_mode=1, momentum=0.75), feeds,
          expected={k: v.astype(np.float32) for k, v in want.items()}, rtol=1e-3)


@given(SHAPES, st.data(), st.sampled_from(["float32", "float16"]), st.booleans(), st.booleans(), st.integers(1, 3))
def test_layer_normalization(shape: tuple[int, ...], data: st.DataObject, dtype: str, bias: bool, constant: bool,
                             outputs: int) -> None:
    assume(shape[0])
    x = values(*shape, dtype=dtype)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    arrays = {"x": x, "s": values(*shape[axis % 5:], dtype=dtype), "b": values(*shape[axis % 5:], dtype=dtype)}
    if not bias:
        del arrays["b"]
    feeds, constants = placed(arrays, constant)
    check(one_node("LayerNormalization", feeds, opset=17, constants=constants, operands=list(arrays), axis=axis,
                   outputs=outputs), feeds, rtol=tolerance(dtype))


@given(SHAPES, st.data(), st.booleans())
def test_rms_normalization(shape: tuple[int, ...], data: st.DataObject, constant: bool) -> None:
    assume(shape[0])
    x = values(*shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    arrays = {"x": x, "s": values(*shape[axis % 5:])}
    feeds, constants = placed(arrays, constant)
    wide = x.astype(np.float64)
    mean = (wide * wide).mean(axis=tuple(range(axis % 5, 5)), keepdims=True)
    check(one_node("RMSNormalization", feeds, opset=23, constants=constants, axis=axis, epsilon=1e-4), feeds,
          expected={"y0": (wide / np.sqrt(mean + 1e-4) * arrays["s"]).astype(np.float32)}, rtol=1e-4)


@given(SHAPES, st.integers(3, 5), st.booleans(), st.sampled_from([7, 22]))
def test_instance_normalization(shape: tuple[int, ...], rank: int, constant: bool, opset: int) -> None:
    assume(shape[0])
    x, c = values(*shape[:rank]), shape[1]
    feeds, constants = placed({"x": x, "s": values(c), "b": values(c)}, constant)
    check(one_node("InstanceNormalization", feeds, opset=opset, constants=constants), feeds, rtol=1e-3)


@given(SHAPES, st.integers(3, 5), st.booleans(), st.sampled_from([18, 21]), st.sampled_from([1, 2]))
def test_group_normalization(shape: tuple[int, ...], rank: int, constant: bool, opset: int, groups: int) -> None:
    assume(shape[0])
    x = values(*shape[:rank])
    size = groups if opset < 21 else shape[1]
    arrays = {"x": x, "s": values(size), "b": values(size)}
    feeds, constants = placed(arrays, constant)
    wide = x.astype(np.float64).reshape(shape[0], groups, -1)
    wide = (wide - wide.mean(2, keepdims=True)) / np.sqrt(wide.var(2, keepdims=True) + 1e-5)
    by = (1, shape[1], *[1] * (rank - 2))
    scale, bias = (np.repeat(arrays[k], shape[1] // size).reshape(by) for k in ("s", "b"))
    check(one_node("GroupNormalization", feeds, opset=opset, constants=constants, num_groups=groups), feeds,
          expected={"y0": (wide.reshape(x.shape) * scale + bias).astype(np.float32)}, rtol=1e-3)


@given(SHAPES, st.sampled_from([9, 13]), st.sampled_from([None, [0, 2, 3], [1], [2, 3]]))
def test_mean_variance_normalization(shape: tuple[int, ...], opset: int, axes: list[int] | None) -> None:
    assume(shape[0])
    x = values(*shape[:4])
    over = tuple(axes or (0, 2, 3))
    wide = x.astype(np.float64)
    want = (wide - wide.mean(over, keepdims=True)) / (wide.std(over, keepdims=True) + 1e-9)
    extra: dict[str, Any] = {} if axes is None else {"axes": axes}
    check(one_node("MeanVarianceNormalization", {"x": x}, opset=opset, **extra), {"x": x}, rtol=1e-3,
          expected={"y0": want.astype(np.float32)})


@given(SHAPES, st.integers(-5, 4), st.sampled_from([1, 2]), st.sampled_from([7, 22]))
def test_lp_normalization(shape: tuple[int, ...], axis: int, p: int, opset: int) -> None:
    x = values(*shape)
    x[x > 1] = 0
    check(one_node("LpNormalization", {"x": x}, opset=opset, axis=axis, p=p), {"x": x}, rtol=1e-4)


def test_lp_normalization_of_zeros_is_zero() -> None:
    x = np.zeros((2, 3), np.float32)
    check(one_node("LpNormalization", {"x": x}, opset=22), {"x": x})


@given(SHAPES, st.integers(3, 5), st.integers(1, 6), st.sampled_from([0.5, 0.75, 1.3]), st.sampled_from([7, 13]))
def test_lrn(shape: tuple[int, ...], rank: int, size: int, beta: float, opset: int) -> None:
    x = values(*shape[:rank])
    square = np.pad(x.astype(np.float64)**2, [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (rank - 2)])
    total = sum(square[:, i:i + shape[1]] for i in range(size))
    want = (x / (0.5 + 0.3 / size * total)**beta).astype(np.float32)
    check(one_node("LRN", {"x": x}, opset=opset, size=size, alpha=0.3, beta=beta, bias=0.5), {"x": x},
          expected={"y0": want}, rtol=1e-4)


def test_lrn_against_onnx_runtime() -> None:
    x = values(1, 6, 3, 4)
    for size in (1, 3, 5):  # ONNX Runtime takes odd sizes only
        check(one_node("LRN", {"x": x}, opset=13, size=size, alpha=0.3), {"x": x}, rtol=1e-4)


@given(st.sampled_from(["LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN",
                        "BatchNormalization"]), st.sets(st.sampled_from([0, 2, 3]), min_size=1))
def test_sizes_that_only_the_run_time_knows(op: str, axes: set[int]) -> None:
    x = values(2, 4, 3, 5)
    count = {"LRN": 0, "BatchNormalization": 4}.get(op, 2)
    constants = {f"c{i}": np.abs(values(*([5] if op == "LayerNormalization" else [4]))) for i in range(count)}
    extra: dict[str, Any] = {"GroupNormalization": {"num_groups": 2}, "LRN": {"size": 3}}.get(op, {})
    if op == "LayerNormalization":
        axes = axes - {3}
    check(with_symbols(one_node(op, {"x": x}, opset=21, constants=constants, **extra), {"x": sorted(axes)}), {"x": x},
          rtol=1e-4)


def test_training_of_old_is_refused() -> None:
    x = values(2, 3, 4)
    constants = {k: np.abs(values(3)) for k in "sbmv"}
    model = one_node("BatchNormalization", {"x": x}, opset=9, constants=constants, outputs=5)
    with pytest.raises(UnsupportedAttribute):
        lowered(model)


@pytest.mark.parametrize(("op", "attributes"), [("LpNormalization", {"p": 3})])
def test_refused(op: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(FideliteError):
        lowered(one_node(op, {"x": values(2, 3)}, opset=22, **attributes))
