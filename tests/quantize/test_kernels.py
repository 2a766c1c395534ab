"""Every operator of the table of integer kernels, in each type of its row, through LiteRT with and without XNNPACK,
against a plain numpy reference: the operands' integers as numbers, float64 arithmetic, rounded to the result's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fidelite.quantize.integer import integerize
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Tensor
from fidelite.tflite.grid import Grid, on_grid
from fidelite.tflite.ops import SAME, VALID
from fidelite.tflite.quantized import ROWS, WEIGHTED, Kind
from fidelite.tflite.types import ElementType
from tests.lower.support import Array, tflite_bytes
from tests.optimize.support import op_list, run
from tests.quantize.kernels import Case, dequantize, model_of, per_channel, quantize

_I8, _U8, _I16 = ElementType.INT8, ElementType.UINT8, ElementType.INT16
_ALL = frozenset({_I8, _U8, _I16})
_BYTES = frozenset({_I8, _U8})
_X = (1, 6, 5, 4)


def _unary(op: str, function: Any, result: tuple[float, float], *, low: float = -4.0, high: float = 4.0,
           types: frozenset[ElementType] = _ALL, steps: dict[ElementType, int] | None = None, **options: Any) -> Case:
    def build(b: Builder, x: Any) -> Tensor:
        return b.unary(op, x[0], **options)
    return Case(op, [_X], build, function, [(low, high)], result, types, steps or {})


def _binary(op: str, function: Any, result: tuple[float, float], *, types: frozenset[ElementType] = _ALL,
            second: tuple[int, ...] = _X, same: bool = False) -> Case:
    def build(b: Builder, x: Any) -> Tensor:
        return b.binary(op, x[0], x[1])
    ranges = [(-4.0, 4.0), (-4.0, 4.0) if same else (-2.0, 1.0)]
    return Case(op, [_X, second], build, function, ranges, result, types)


def _moving(op: str, build: Any, function: Any, *, shapes: list[tuple[int, ...]] | None = None,
            types: frozenset[ElementType] = _ALL, steps: dict[ElementType, int] | None = None) -> Case:
    sizes = shapes or [_X]
    return Case(op, sizes, build, function, [(-4.0, 4.0)] * len(sizes), (-4.0, 4.0), types, steps or {})


def _windows(x: Array, pool: Any) -> Array:
    n, h, w, c = x.shape
    return pool(x[:, :h // 2 * 2, :w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c), axis=(2, 4))


def _bilinear(x: Array) -> Array:
    """Twice the height and width, half-pixel centres."""
    def along(a: Array, axis: int) -> Array:
        size = a.shape[axis]
        at = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(a.ndim)])
        return np.take(a, low, axis) * (1 - share) + np.take(a, np.minimum(low + 1, size - 1), axis) * share
    return along(along(x, 1), 2)


def _erf(x: Array) -> Array:
    from math import erf
    return np.vectorize(erf)(x)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


CASES = [
    _unary("RELU", lambda x: np.maximum(x, 0), (0, 3)),
    _unary("RELU6", lambda x: np.clip(x, 0, 6), (0, 6), high=8.0),
    _unary("RELU_N1_TO_1", lambda x: np.clip(x, -1, 1), (-1, 1), types=_BYTES),
    _unary("RELU_0_TO_1", lambda x: np.clip(x, 0, 1), (0, 1), types=_BYTES),
    _unary("LEAKY_RELU", lambda x: np.where(x > 0, x, 0.1 * x), (-0.4, 4), alpha=0.1),
    _unary("ELU", lambda x: np.where(x > 0, x, np.expm1(x)), (-1, 4), types=frozenset({_I8})),
    _unary("EXP", np.exp, (0, 20), high=3.0, types=frozenset({_I8})),
    _unary("HARD_SWISH", lambda x: x * np.clip(x + 3, 0, 6) / 6, (-0.4, 4), types=_BYTES),
    _unary("GELU", lambda x: x * 0.5 * (1 + _erf(x / np.sqrt(2))), (-0.2, 4), types=_BYTES, approximate=False),
    _unary("ABS", np.abs, (0, 4), types=frozenset({_I8, _I16})),
    _unary("LOGISTIC", lambda x: 1 / (1 + np.exp(-x)), (0, 255 / 256), steps={_I16: 24}),
    _unary("TANH", np.tanh, (-1, 127 / 128), steps={_I16: 24}),
    _unary("SOFTMAX", _softmax, (0, 255 / 256), beta=1.0, steps={_I16: 24}),
    _unary("LOG_SOFTMAX", lambda x: np.log(_softmax(x)), (-16, 0), types=_BYTES),
    _binary("ADD", np.add, (-6, 5)),
    _binary("ADD", np.add, (-6, 5), second=(4,)),
    _binary("SUB", np.subtract, (-5, 6)),
    _binary("MUL", np.multiply, (-8, 8)),
    _binary("SQUARED_DIFFERENCE", lambda a, b: (a - b) ** 2, (0, 36), types=frozenset({_I8})),
    _binary("MAXIMUM", np.maximum, (-4, 4), same=True),
    _binary("MINIMUM", np.minimum, (-4, 4), same=True),
    Case("PRELU", [_X, (1, 1, 4)], lambda b, x: b.prelu(x[0], x[1]), lambda x, a: np.where(x >= 0, x, x * a),
         [(-4.0, 4.0), (-0.5, 0.5)], (-2, 4), _BYTES),
    Case("BATCH_MATMUL", [(2, 3, 5), (2, 5, 4)], lambda b, x: b.batch_matmul(x[0], x[1]), np.matmul,
         [(-4.0, 4.0), (-2.0, 1.0)], (-20, 20), frozenset({_I8, _I16})),
    Case("SUM", [_X], lambda b, x: b.reduce("SUM", x[0], [1, 2], keep_dims=False), lambda x: x.sum((1, 2)),
         [(-4.0, 4.0)], (-60, 60)),
    Case("MEAN", [_X], lambda b, x: b.reduce("MEAN", x[0], [1, 2], keep_dims=True),
         lambda x: x.mean((1, 2), keepdims=True), [(-4.0, 4.0)], (-1.5, 1.5)),
    _moving("REDUCE_MAX", lambda b, x: b.reduce("REDUCE_MAX", x[0], [3], keep_dims=False), lambda x: x.max(3)),
    _moving("REDUCE_MIN", lambda b, x: b.reduce("REDUCE_MIN", x[0], [3], keep_dims=False), lambda x: x.min(3)),
    _moving("AVERAGE_POOL_2D", lambda b, x: b.pool_2d("AVERAGE_POOL_2D", x[0], kernel=(2, 2), strides=(2, 2)),
            lambda x: _windows(x, np.mean)),
    _moving("MAX_POOL_2D", lambda b, x: b.pool_2d("MAX_POOL_2D", x[0], kernel=(2, 2), strides=(2, 2)),
            lambda x: _windows(x, np.max)),
    _moving("RESIZE_BILINEAR", lambda b, x: b.resize_2d("RESIZE_BILINEAR", x[0], 12, 10, half_pixel_centers=True),
            _bilinear, steps={_I16: 2}),  # it does not round
    _moving("RESIZE_NEAREST_NEIGHBOR", lambda b, x: b.resize_2d("RESIZE_NEAREST_NEIGHBOR", x[0], 12, 10),
            lambda x: x.repeat(2, 1).repeat(2, 2)),
    _moving("RESHAPE", lambda b, x: b.reshape(x[0], (6, 20)), lambda x: x.reshape(6, 20)),
    _moving("TRANSPOSE", lambda b, x: b.transpose(x[0], (0, 3, 1, 2)), lambda x: x.transpose(0, 3, 1, 2)),
    _moving("EXPAND_DIMS", lambda b, x: b.one("EXPAND_DIMS", [x[0], b.int32(1)], x[0].element, (1, 1, 6, 5, 4)),
            lambda x: x[:, None]),
    _moving("SQUEEZE", lambda b, x: b.one("SQUEEZE", [x[0]], x[0].element, (6, 5, 4), squeezeDims=[0]),
            lambda x: x[0]),
    _moving("CONCATENATION", lambda b, x: b.concat(x, 3), lambda a, b: np.concatenate([a, b], 3), shapes=[_X, _X]),
    _moving("PACK", lambda b, x: b.one("PACK", x, x[0].element, (2, *_X), axis=0, valuesCount=2),
            lambda a, b: np.stack([a, b]), shapes=[_X, _X]),
    _moving("UNPACK", lambda b, x: b.emit("UNPACK", [x[0]], [(x[0].element, (1, 6, 5))] * 4, {"num": 4, "axis": 3})[1],
            lambda x: x[..., 1]),
    _moving("SPLIT", lambda b, x: b.split(x[0], [2, 2], 3)[1], lambda x: x[..., 2:]),
    _moving("SPLIT_V", lambda b, x: b.emit("SPLIT_V", [x[0], b.int32([1, 3]), b.int32(3)],
                                           [(x[0].element, (1, 6, 5, 1)), (x[0].element, (1, 6, 5, 3))],
                                           {"numSplits": 2})[1], lambda x: x[..., 1:]),
    _moving("SLICE", lambda b, x: b.slice(x[0], (0, 1, 2, 0), (1, 3, 2, 4)), lambda x: x[:, 1:4, 2:4]),
    _moving("STRIDED_SLICE", lambda b, x: b.strided_slice(x[0], (0, 0, 0, 0), (1, 6, 5, 4), (1, 2, 2, 1),
                                                          (1, 3, 3, 4)), lambda x: x[:, ::2, ::2]),
    _moving("PAD", lambda b, x: b.pad(x[0], (0, 1, 1, 0), (0, 1, 0, 0)),
            lambda x: np.pad(x, ((0, 0), (1, 1), (1, 0), (0, 0)))),
    _moving("PADV2", lambda b, x: b.pad(x[0], (0, 1, 1, 0), (0, 1, 0, 0), -2.0),
            lambda x: np.pad(x, ((0, 0), (1, 1), (1, 0), (0, 0)), constant_values=-2)),
    _moving("MIRROR_PAD", lambda b, x: b.mirror_pad(x[0], (0, 1, 1, 0), (0, 1, 0, 0), symmetric=False),
            lambda x: np.pad(x, ((0, 0), (1, 1), (1, 0), (0, 0)), mode="reflect")),
    _moving("TILE", lambda b, x: b.tile(x[0], (1, 2, 1, 1)), lambda x: np.tile(x, (1, 2, 1, 1))),
    _moving("BROADCAST_TO", lambda b, x: b.broadcast_to(x[0], (3, *_X)), lambda x: np.broadcast_to(x, (3, *_X))),
    _moving("GATHER", lambda b, x: b.gather(x[0], b.int32([2, 0]), 3), lambda x: x[..., [2, 0]]),
    _moving("GATHER_ND", lambda b, x: b.gather_nd(x[0], b.int32([[0, 2], [0, 1]])),  # type: ignore[list-item]
            lambda x: x[[0, 0], [2, 1]]),
    _moving("REVERSE_V2", lambda b, x: b.reverse(x[0], [1]), lambda x: x[:, ::-1]),
    _moving("SPACE_TO_DEPTH", lambda b, x: b.space_to_depth(x[0], 2),
            lambda x: x.reshape(1, 3, 2, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 3, 2, 16),
            shapes=[(1, 6, 4, 4)], types=_BYTES),
    _moving("DEPTH_TO_SPACE", lambda b, x: b.depth_to_space(x[0], 2),
            lambda x: x.reshape(1, 6, 5, 2, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(1, 12, 10, 1), types=_BYTES),
    _moving("SPACE_TO_BATCH_ND", lambda b, x: b.one(
        "SPACE_TO_BATCH_ND", [x[0], b.int32([2, 1]), b.constant(np.array([[1, 1], [0, 0]], np.int32))], x[0].element,
        (2, 4, 5, 4)), lambda x: np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0))).reshape(4, 2, 5, 4).transpose(1, 0, 2, 3)),
    _moving("BATCH_TO_SPACE_ND", lambda b, x: b.one(
        "BATCH_TO_SPACE_ND", [x[0], b.int32([2, 1]), b.constant(np.zeros((2, 2), np.int32))], x[0].element,
        (1, 12, 5, 4)), lambda x: x.transpose(1, 0, 2, 3).reshape(1, 12, 5, 4), shapes=[(2, 6, 5, 4)]),
    _moving("SELECT_V2", lambda b, x: b.select(b.constant(np.arange(4) % 2 == 0), x[0], x[1]),
            lambda a, b: np.where(np.arange(4) % 2 == 0, a, b), shapes=[_X, _X]),
    _moving("DYNAMIC_UPDATE_SLICE", lambda b, x: b.update_slice(x[0], x[1], (0, 1, 2, 0)), lambda a, b: _updated(a, b),
            shapes=[_X, (1, 2, 2, 4)]),
    _moving("TOPK_V2", lambda b, x: b.top_k(x[0], 2)[0], lambda x: -np.sort(-x, axis=-1)[..., :2]),
    Case("L2_NORMALIZATION", [_X], lambda b, x: b.unary("L2_NORMALIZATION", x[0], fusedActivationFunction=0),
         lambda x: x / np.sqrt((x ** 2).sum(-1, keepdims=True)), [(-4.0, 4.0)], (-1, 127 / 128), _BYTES),
]


def _updated(a: Array, b: Array) -> Array:
    result = a.copy()
    result[:, 1:3, 2:4] = b
    return result


def _feeds(case: Case, names: list[str]) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {name: rng.uniform(low * 1.05, high * 1.05, shape).astype(np.float32)
            for name, shape, (low, high) in zip(names, case.shapes, case.ranges, strict=True)}


@pytest.mark.parametrize("element", [_I8, _U8, _I16], ids=lambda e: e.name)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.op)
def test_kernel(case: Case, element: ElementType) -> None:
    assert case.types <= ROWS[case.op].types
    model, grids, result = model_of(case, element)
    names = [t.name for t in model.main.inputs]
    found = integerize(model, keep_unsigned=True)
    if element not in ROWS[case.op].types:
        assert case.op in {k.operator.op for k in found.kept} or ROWS[case.op].kind is Kind.MOVES
        return
    made = [o for o in model.main.operators if o.op == case.op]
    assert made, op_list(model)
    assert all(t.element is element for o in made for t in (*o.inputs, *o.outputs)
               if t is not None and t.quantization is not None)
    assert all(t.element is not ElementType.FLOAT32 for o in made for t in (*o.inputs, *o.outputs) if t is not None)
    feeds = _feeds(case, names)
    stored = [np.rint(quantize(feeds[n].astype(np.float64), g)) for n, g in zip(names, grids, strict=True)]
    want = quantize(case.reference(*[dequantize(s, g) for s, g in zip(stored, grids, strict=True)]), result)
    for xnnpack in (True, False):
        have = run(tflite_bytes(model), feeds, xnnpack=xnnpack)["y0"]
        steps = have.astype(np.float64) / result.scale + result.zero_point
        limit = case.steps.get(element, 1) + 0.02
        worst = float(np.max(np.abs(steps - want)))
        assert worst <= limit, f"{case.op} {element.name} xnnpack={xnnpack}: {worst} steps"


# -- operators with weights

_W = (6, 3, 3, 4)


def _conv(x: Array, w: Array) -> Array:
    """[N,H,W,I] by [O,3,3,I], padded by one."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, width = x.shape[1:3]
    parts = [np.einsum("nhwi,oi->nhwo", padded[:, i:i + h, j:j + width], w[:, i, j])
             for i in range(3) for j in range(3)]
    return np.sum(parts, axis=0)


def _depthwise(x: Array, w: Array) -> Array:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, width = x.shape[1:3]
    return np.sum([padded[:, i:i + h, j:j + width] * w[0, i, j] for i in range(3) for j in range(3)], axis=0)


def _transposed(x: Array, w: Array) -> Array:
    """Stride 2: [1,6,5,4] by [6,3,3,4] to [1,13,11,6]."""
    result = np.zeros((1, 13, 11, 6))
    for i in range(3):
        for j in range(3):
            result[:, i:i + 11:2, j:j + 9:2] += np.einsum("nhwi,oi->nhwo", x, w[:, i, j])
    return result


WEIGHTED_CASES = {
    "CONV_2D": (_X, _W, lambda b, x, w, c: b.conv_2d(x, w, c, padding=SAME), _conv),
    "DEPTHWISE_CONV_2D": (_X, (1, 3, 3, 4), lambda b, x, w, c: b.depthwise_conv_2d(
        x, w, c, multiplier=1, padding=SAME), _depthwise),
    "TRANSPOSE_CONV": (_X, _W, lambda b, x, w, c: b.transpose_conv(x, w, c, (1, 13, 11, 6), strides=(2, 2),
                                                                   padding=VALID), _transposed),
    "FULLY_CONNECTED": ((7, 20), (6, 20), lambda b, x, w, c: b.fully_connected(x, w, c), lambda x, w: x @ w.T),
}


@pytest.mark.parametrize("stored", ["int8 per channel", "int8", "int4", "uint8"])
@pytest.mark.parametrize("element", [_I8, _U8, _I16], ids=lambda e: e.name)
@pytest.mark.parametrize("op", list(WEIGHTED_CASES))
def test_weighted_kernel(op: str, element: ElementType, stored: str) -> None:
    """Weights in each form, a bias, and a fused activation."""
    shape, sizes, build, reference = WEIGHTED_CASES[op]
    rng = np.random.default_rng(0)
    axis = WEIGHTED[op].axis
    weights = (rng.standard_normal(sizes) * 0.1).astype(np.float32)
    bias = rng.uniform(-1, 1, sizes[axis]).astype(np.float32)
    grid = {"int8 per channel": per_channel(weights, axis), "int8": Grid.of(_I8, 0.003),
            "int4": Grid.of(ElementType.INT4, 0.05), "uint8": Grid.of(_U8, 0.003, 117)}[stored]
    known = on_grid(Constant.of(weights), grid)

    def make(b: Builder, x: Any) -> Tensor:
        result = build(b, x[0], b.constant(known), b.constant(bias))
        assert result.producer is not None
        result.producer.options["fusedActivationFunction"] = 1
        return result

    case = Case(op, [shape], make, lambda x: np.maximum(reference(x, known.numpy().astype(np.float64)) + bias, 0),
                [(-4.0, 4.0)], (0, 6.0))
    model, grids, result = model_of(case, element)
    found = integerize(model, keep_unsigned=True)
    feeds = _feeds(case, ["x"])
    inside = np.rint(quantize(feeds["x"].astype(np.float64), grids[0]))
    want = quantize(case.reference(dequantize(inside, grids[0])), result)
    fits = (stored in ("int8", "uint8")) if element is _U8 else stored.startswith("int8") or (
        stored == "int4" and element is _I8 and op != "TRANSPOSE_CONV")
    assert found.native == int(fits), found.kept
    for xnnpack in (True, False):
        have = run(tflite_bytes(model), feeds, xnnpack=xnnpack)["y0"].astype(np.float64) / result.scale
        worst = float(np.max(np.abs(have + result.zero_point - want)))
        assert worst <= 1.02, f"{worst} steps"


def test_every_row_has_a_case() -> None:
    assert set(ROWS) - set(WEIGHTED) - {"ARG_MAX", "ARG_MIN"} == {case.op for case in CASES}
