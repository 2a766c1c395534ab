"""ONNX Runtime's own operators (com.microsoft), but for attention, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import UnsupportedAttribute
from fidelite.tflite.graph import Model
from tests.lower.elements import SEEDS, Shape, shapes, values
from tests.lower.support import Array, check, lowered, one_node

DOMAIN = "com.microsoft"


def agrees(op: str, feeds: Mapping[str, Array], *, constants: Mapping[str, Array] | None = None,
           operands: Sequence[str] | None = None, outputs: int = 1, domain: str = DOMAIN, rtol: float = 2e-5,
           atol: float = 2e-6, **attributes: Any) -> Model:
    model = one_node(op, feeds, opset=17, constants=constants, operands=operands, outputs=outputs, domain=domain,
                     **attributes)
    return check(model, feeds, rtol=rtol, atol=atol)


def floats(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Gelu", "QuickGelu", "FastGelu"])
@given(shape=shapes().filter(lambda s: 0 not in s), seed=SEEDS)
def test_activations(op: str, shape: Shape, seed: int) -> None:
    shape = shape if shape or op != "FastGelu" else (1,)  # ONNX Runtime's takes no scalars
    attributes: dict[str, Any] = {"alpha": 0.5 + seed / 50} if op == "QuickGelu" and seed % 2 else {}
    agrees(op, {"x": values(shape, "float32", seed)}, **attributes)


@pytest.mark.parametrize("op", ["BiasGelu", "FastGelu"])
@given(shape=shapes(4).filter(lambda s: bool(s) and 0 not in s), seed=SEEDS, constant=st.booleans())
def test_activations_with_bias(op: str, shape: Shape, seed: int, constant: bool) -> None:
    x, bias = {"x": values(shape, "float32", seed)}, {"b": floats(seed, shape[-1])}
    agrees(op, x if constant else x | bias, constants=bias if constant else None)


# -- normalizations


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 9), SEEDS, st.booleans(), st.booleans(), st.booleans())
def test_skip_layer_normalization(batch: int, length: int, width: int, seed: int, beta: bool, bias: bool,
                                  simple: bool) -> None:
    """The sum is stretched along the batch, and is a result too."""
    x = {"x": floats(seed, batch, length, width)}
    skip = floats(seed + 1, *((batch, length, width), (1, length, width), (length, width))[seed % 3])
    constants = {"g": floats(seed + 2, width), "b": floats(seed + 3, width), "i": floats(seed + 4, width)}
    op = "SkipSimplifiedLayerNormalization" if simple else "SkipLayerNormalization"
    if simple:
        skip = np.broadcast_to(skip, x["x"].shape).copy()
    names = ["x", "s", "g", *([] if simple else ["b" if beta else ""]), *(["i"] if bias else [])]
    agrees(op, x | {"s": skip}, constants={n: a for n, a in constants.items() if n in names}, operands=names,
           outputs=1, epsilon=1e-5)
    model = one_node(op, x | {"s": skip}, opset=17, operands=names, outputs=4, domain=DOMAIN, epsilon=1e-5,
                     constants={n: a for n, a in constants.items() if n in names})
    model.graph.node[0].output[1] = model.graph.node[0].output[2] = ""
    del model.graph.output[1:3]
    check(model, x | {"s": skip}, rtol=2e-5)


@given(shapes(4).filter(lambda s: 1 <= len(s) <= 6 and 0 not in s), SEEDS, st.data())
def test_simplified_layer_normalization(shape: Shape, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), -1))
    agrees("SimplifiedLayerNormalization", {"x": floats(seed, *shape)}, constants={"g": floats(seed, *shape[axis:])},
           domain="", axis=axis, epsilon=1e-5)


@given(st.integers(1, 3), st.integers(1, 5), SEEDS, st.booleans(), st.booleans(), st.booleans())
def test_embed_layer_normalization(batch: int, length: int, seed: int, segments: bool, mask: bool,
                                   places: bool) -> None:
    rng = np.random.default_rng(seed)
    feeds = {"ids": rng.integers(0, 7, (batch, length)).astype(np.int32)}
    constants = {"w": floats(seed, 7, 6), "p": floats(seed + 1, 5, 6), "g": floats(seed + 3, 6), "b": floats(seed, 6)}
    if segments:
        feeds["si"] = rng.integers(0, 2, (batch, length)).astype(np.int32)
        constants["s"] = floats(seed + 2, 2, 6)
    if mask:
        feeds["m"] = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int32)
    if places:
        feeds["at"] = rng.integers(0, 5, (batch, length)).astype(np.int32)
    names = ["ids", "si" if segments else "", "w", "p", "s" if segments else "", "g", "b", "m" if mask else "",
             "at" if places else ""]
    while not names[-1]:
        names.pop()
    agrees("EmbedLayerNormalization", feeds, constants=constants, operands=names, outputs=3)


# -- products

_ACTIVATIONS: list[tuple[str, dict[str, float]]] = [
    ("Relu", {}), ("Tanh", {}), ("Sigmoid", {}), ("LeakyRelu", {"alpha": 0.2}), ("Clip", {"alpha": -0.4, "beta": 0.9}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4})]


@pytest.mark.parametrize(("activation", "parameters"), _ACTIVATIONS)
@given(seed=SEEDS, bias=st.booleans(), added=st.booleans(), groups=st.sampled_from([1, 2, 4]))
def test_fused_conv(activation: str, parameters: dict[str, float], seed: int, bias: bool, added: bool,
                    groups: int) -> None:
    constants = {"w": floats(seed, 8, 4 // groups, 3, 2)} | ({"b": floats(seed, 8)} if bias else {})
    feeds = {"x": floats(seed, 2, 4, 6, 5)} | ({"z": floats(seed + 1, 2, 8, 6, 6)} if added else {})
    names = ["x", "w", "b" if bias else "", *(["z"] if added else [])]
    given_parameters: dict[str, Any] = {"activation_params": list(parameters.values())} if parameters else {}
    agrees("FusedConv", feeds, constants=constants, operands=names if added or bias else names[:2], group=groups,
           pads=[1, 1, 1, 1], activation=activation,
           **given_parameters)


@pytest.mark.parametrize(("activation", "parameters"), [a for a in _ACTIVATIONS if a[0] != "Clip"])
@given(seed=SEEDS, swaps=st.tuples(st.integers(0, 1), st.integers(0, 1)), constant=st.booleans())
def test_fused_gemm(activation: str, parameters: dict[str, float], seed: int, swaps: tuple[int, int],
                    constant: bool) -> None:
    named: dict[str, Any] = {f"activation_{k}": v for k, v in parameters.items()}
    x, y, c = floats(seed, *((4, 3) if swaps[0] else (3, 4))), floats(seed, *((5, 4) if swaps[1] else (4, 5))), \
        floats(seed, 5)
    agrees("FusedGemm", {"x": x} if constant else {"x": x, "y": y, "c": c},
           constants={"y": y, "c": c} if constant else {}, transA=swaps[0], transB=swaps[1], alpha=0.5, beta=1.5,
           activation=activation, **named)


@pytest.mark.parametrize("op", ["FusedMatMul", "TransposeMatMul"])
@given(seed=SEEDS, rank=st.integers(2, 4), swaps=st.tuples(*[st.booleans()] * 4))
def test_fused_matmul(op: str, seed: int, rank: int, swaps: tuple[bool, bool, bool, bool]) -> None:
    """Operands are made so that they fit once they are swapped."""
    batch = (2, 3)[:rank - 2]
    attributes: dict[str, Any] = {"alpha": 0.5 + seed / 50}
    feeds: dict[str, Array] = {}
    for side, name, shape in ((0, "A", (*batch, 3, 4)), (1, "B", (*batch, 4, 5))):
        array = floats(seed + side, *shape)
        swap, first = swaps[2 * side], swaps[2 * side + 1] and rank > 2 and op == "FusedMatMul"
        if swap:
            array = np.swapaxes(array, -1, -2)
            attributes[f"trans{name}"] = 1
        if first:  # the inverse of what the operator does
            array = np.moveaxis(array, -2, 0)
            attributes[f"transBatch{name}"] = 1
        feeds[name] = np.ascontiguousarray(array)
    agrees(op, feeds, **attributes)


@given(SEEDS, st.lists(st.integers(1, 3), max_size=2), st.integers(1, 3))
def test_inverse(seed: int, batch: list[int], size: int) -> None:
    x = floats(seed, *batch, size, size) + 3 * np.eye(size, dtype=np.float32)
    agrees("Inverse", {"x": x}, rtol=1e-4)


def test_inverse_of_a_large_matrix_is_refused() -> None:
    with pytest.raises(UnsupportedAttribute, match="4 rows"):
        lowered(one_node("Inverse", {"x": floats(0, 4, 4)}, opset=17, domain=DOMAIN))


@given(SEEDS, st.sampled_from(["euclidean", "sqeuclidean"]))
def test_cdist(seed: int, metric: str) -> None:
    agrees("CDist", {"x": floats(seed, 4, 3), "y": floats(seed + 1, 5, 3)}, metric=metric, rtol=1e-4)


@given(SEEDS, st.lists(st.integers(0, 1), min_size=4, max_size=4), st.integers(1, 2))
def test_conv_transpose_with_pads(seed: int, pads: list[int], stride: int) -> None:
    agrees("ConvTransposeWithDynamicPads", {"x": floats(seed, 1, 3, 4, 5)}, strides=[stride, stride],
           constants={"w": floats(seed, 3, 2, 3, 2), "p": np.array(pads)})


@given(SEEDS, st.integers(1, 3), st.integers(1, 2), st.sampled_from([np.int8, np.uint8]))
def test_nhwc_max_pool(seed: int, kernel: int, stride: int, dtype: Any) -> None:
    x = np.random.default_rng(seed).integers(0, 100, (2, 5, 6, 3)).astype(dtype)
    agrees("NhwcMaxPool", {"x": x}, kernel_shape=[kernel, 2], strides=[stride, 1])


# -- views


@given(SEEDS, st.integers(1, 3), st.sampled_from(["bilinear", "nearest"]), st.tuples(*[st.integers(1, 4)] * 2))
def test_crop_and_resize(seed: int, count: int, mode: str, size: tuple[int, int]) -> None:
    """Boxes that stick out, and that are turned around."""
    rng = np.random.default_rng(seed)
    feeds = {"x": floats(seed, 2, 3, 5, 6), "r": rng.uniform(-0.2, 1.2, (count, 4)).astype(np.float32),
             "b": (np.arange(count) % 2).astype(np.int32)}
    agrees("CropAndResize", feeds, constants={"c": np.array(size, np.int32)}, mode=mode, extrapolation_value=7.0,
           atol=1e-4)


@given(SEEDS, st.data(), shapes(3).filter(lambda s: 1 <= len(s) <= 6 and 0 not in s))
def test_unfold(seed: int, data: st.DataObject, shape: Shape) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = data.draw(st.integers(1, shape[axis]))
    agrees("UnfoldTensor", {"x": floats(seed, *shape)}, dim=axis, size=size, step=data.draw(st.integers(1, 3)))


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9))
def test_unique(items: list[int]) -> None:
    agrees("Unique", {"x": np.array(items, np.float32)}, outputs=3)


@given(SEEDS, st.integers(-3, 2))
def test_expand_dims(seed: int, axis: int) -> None:
    agrees("ExpandDims", {"x": floats(seed, 2, 3)}, constants={"a": np.array(axis, np.int32)})


@pytest.mark.parametrize(("op", "feeds", "constants", "attributes"), [
    ("GatherND", {"x": floats(0, 2, 3), "i": np.array([[0, 1], [1, 2]])}, {}, {}),
    ("GridSample", {"x": floats(0, 1, 2, 4, 4), "g": floats(1, 1, 3, 3, 2)}, {}, {"mode": "bilinear"}),
    ("GridSample", {"x": floats(0, 1, 2, 4, 4), "g": floats(1, 1, 3, 3, 2)}, {},
     {"mode": "nearest", "padding_mode": "border", "align_corners": 1}),
    ("Pad", {"x": floats(0, 2, 8)}, {"p": np.array([1, 2, 0, 1])}, {"mode": "reflect"}),
    ("Pad", {"x": floats(0, 2, 8)}, {"p": np.array([1, 2, 0, 1]), "v": np.array(3, np.float32)}, {}),
    ("Range", {"a": np.array(1, np.int32), "b": np.array([7], np.int32)}, {}, {}),
    ("Range", {"a": np.array(1, np.int32), "b": np.array(7, np.int32), "c": np.array(2, np.int32)}, {}, {}),
    ("Trilu", {"x": floats(0, 4, 5)}, {"k": np.array(1)}, {"upper": 0})])
def test_elder_brothers(op: str, feeds: dict[str, Array], constants: dict[str, Array],
                        attributes: dict[str, Any]) -> None:
    """The standard's operators of the same name, whose own tests draw the rest."""
    agrees(op, feeds, constants=constants, **attributes)


def test_activations_that_are_not_fused_are_refused() -> None:
    with pytest.raises(UnsupportedAttribute, match="Softplus"):
        lowered(one_node("FusedConv", {"x": floats(0, 1, 2, 4, 4)}, constants={"w": floats(0, 2, 2, 1, 1)}, opset=17,
                         domain=DOMAIN, activation="Softplus"))
