"""Cases for each operator that a SavedModel can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType
from fidelite.write.saved_model.refusals import LACKING
from tests.extras.tensorflow.support import Array, Case, emit, numbers

F, I32, I64 = np.float32, np.int32, np.int64
POSITIVE = {"LOG", "SQRT", "RSQRT"}
UNARY = ["ABS", "NEG", "SIGN", "CEIL", "FLOOR", "ROUND", "EXP", "SIN", "COS", "SQUARE", "LOG", "SQRT", "RSQRT",
         "LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ELU", "HARD_SWISH", "LOGICAL_NOT",
         "ZEROS_LIKE", "LOG_SOFTMAX"]
ARITHMETIC = ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "FLOOR_DIV", "FLOOR_MOD", "SQUARED_DIFFERENCE",
              "ATAN2", "BITWISE_XOR", "RIGHT_SHIFT", "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM",
              "STABLEHLO_MINIMUM", "STABLEHLO_AND"]
COMPARISONS = ["EQUAL", "NOT_EQUAL", "GREATER", "LESS", "GREATER_EQUAL", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR"]
_UNSHAPED = {"STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM", "STABLEHLO_AND", "ATAN2"}


def types_of(op: str, default: str = "float32") -> list[np.dtype[Any]]:
    """The element types that LiteRT's kernel takes, but for those that its Python binding cannot take or give, and
    those that are refused."""
    found = kernel_types(op) or [ElementType.of(np.dtype(default))]
    hidden = {ElementType.INT4, ElementType.BFLOAT16, *LACKING.get(op, ())}
    return [e.dtype for e in sorted(found, key=lambda e: e.value) if e not in hidden]


def all_cases() -> Iterator[Case]:
    yield from _elementwise()
    yield from _moved()
    yield from _joined()
    yield from _shaped()


def _elementwise() -> Iterator[Case]:
    for op in UNARY:
        for dtype in types_of(op):
            x = numbers(dtype, (2, 3, 5), low=0.1 if op in POSITIVE else -3)
            yield Case(op, dtype.name, emit(op, (dtype, x.shape)), [x])
    for op in (*ARITHMETIC, *COMPARISONS):
        for dtype in types_of(op):
            shape = (2, 3, 5) if op in _UNSHAPED else (3, 1)
            a, b = numbers(dtype, (2, 3, 5), 1), numbers(dtype, shape, 2)
            if op in ("DIV", "FLOOR_DIV", "FLOOR_MOD"):
                b = np.where(b == 0, np.ones_like(b), b)
            if op in ("POW", "RIGHT_SHIFT"):
                a, b = (np.abs(a), np.abs(b)) if op == "POW" or dtype.kind == "u" else (a, np.abs(b))
            result = np.bool_ if op in COMPARISONS else dtype
            yield Case(op, dtype.name, emit(op, (result, a.shape)), [a, b])
    for activation in (1, 2, 3):
        yield Case("ADD", f"activation-{activation}", emit("ADD", (F, (4, 5)), fusedActivationFunction=activation),
                   [numbers(F, (4, 5), 1, high=9), numbers(F, (4, 5), 2)])
    x = numbers(F, (2, 3, 8))
    yield Case("GELU", "erf", emit("GELU", (F, x.shape), approximate=False), [x])
    yield Case("GELU", "tanh", emit("GELU", (F, x.shape), approximate=True), [x])
    yield Case("LEAKY_RELU", "", emit("LEAKY_RELU", (F, x.shape), alpha=0.2), [x])
    yield Case("PRELU", "", emit("PRELU", (F, x.shape)), [x, numbers(F, (1, 1, 8), 3)])
    yield Case("SOFTMAX", "beta", emit("SOFTMAX", (F, x.shape), beta=0.5), [x])
    yield Case("SOFTMAX", "", emit("SOFTMAX", (F, x.shape), beta=1.0), [x])
    for dtype in types_of("SELECT_V2"):
        operands = [numbers(np.bool_, (3, 1)), numbers(dtype, (2, 3, 4), 1), numbers(dtype, (4,), 2)]
        yield Case("SELECT_V2", dtype.name, emit("SELECT_V2", (dtype, (2, 3, 4))), operands, exact=True)
    for source in types_of("CAST"):
        for target in (F, np.int8, I32, I64, np.bool_, np.float16):
            x = numbers(source, (3, 7))
            note = f"{source.name}-{np.dtype(target).name}"
            yield Case("CAST", note, emit("CAST", (target, x.shape)), [x], exact=True)
    for source, target in ((F, I32), (I64, np.float64), (np.uint16, np.float16), (np.int8, np.uint8)):
        x = numbers(source, (3, 7))
        yield Case("BITCAST", f"{np.dtype(source).name}", emit("BITCAST", (target, x.shape)), [x], exact=True)
    yield Case("DEQUANTIZE", "float16", lambda b, y: b.add(y, b.emit("DEQUANTIZE", [b.constant(
        numbers(np.float16, (3, 7)))], [(ElementType.FLOAT32, (3, 7))])[0]), [numbers(F, (3, 7), 4)])


def _moved() -> Iterator[Case]:
    """Operators that only move elements: every type, exactly."""
    table: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
        "RESHAPE": (lambda b, x: b.reshape(x, (4, 6)), (2, 3, 4)),
        "TRANSPOSE": (lambda b, x: b.transpose(x, (2, 0, 1)), (2, 3, 4)),
        "EXPAND_DIMS": (lambda b, x: b.one("EXPAND_DIMS", [x, b.int32(1)], x.element, (2, 1, 3, 4)), (2, 3, 4)),
        "SQUEEZE": (lambda b, x: b.one("SQUEEZE", [x], x.element, (2, 4), squeezeDims=[1]), (2, 1, 4)),
        "BROADCAST_TO": (lambda b, x: b.broadcast_to(x, (2, 3, 4)), (3, 1)),
        "TILE": (lambda b, x: b.one("TILE", [x, b.int32([2, 3])], x.element, (6, 12)), (3, 4)),
        "SLICE": (lambda b, x: b.slice(x, (1, 0), (2, 3)), (3, 4)),
        "STRIDED_SLICE": (lambda b, x: b.strided_slice(x, (6, 1), (0, 5), (-2, 2), (3, 2)), (7, 6)),
        "PAD": (lambda b, x: b.emit("PAD", [x, b.constant(np.array([[1, 0], [2, 3]], np.int32))],
                                    [(x.element, (4, 9))])[0], (3, 4)),
        "PADV2": (lambda b, x: b.emit("PADV2", [x, b.constant(np.array([[1, 0], [2, 3]], np.int32)), b.scalar(1, x)],
                                      [(x.element, (4, 9))])[0], (3, 4)),
        "MIRROR_PAD": (lambda b, x: b.mirror_pad(x, (1, 2), (2, 1), symmetric=False), (4, 5)),
        "REVERSE_V2": (lambda b, x: b.one("REVERSE_V2", [x, b.int32([1])], x.element, x.shape), (3, 4)),
        "GATHER": (lambda b, x: b.one("GATHER", [x, b.int32([2, 0, 2])], x.element, (3, 3), axis=1, batchDims=0),
                   (3, 4)),
        "GATHER_ND": (lambda b, x: b.one("GATHER_ND", [x, b.constant(np.array([[2, 1], [0, 0]], np.int32))],
                                         x.element, (2,)), (3, 4)),
        "SPACE_TO_DEPTH": (lambda b, x: b.space_to_depth(x, 2), (1, 4, 6, 3)),
        "DEPTH_TO_SPACE": (lambda b, x: b.depth_to_space(x, 2), (1, 2, 3, 8)),
        "DYNAMIC_UPDATE_SLICE": (lambda b, x: b.update_slice(x, b.constant(numbers(x.element.dtype, (2, 2), 7)),
                                                             (1, 2)), (4, 5)),
        "SPACE_TO_BATCH_ND": (lambda b, x: b.one(
            "SPACE_TO_BATCH_ND", [x, b.int32([2, 2]), b.constant(np.array([[1, 0], [0, 2]], np.int32))], x.element,
            (4, 2, 3, 3)), (1, 3, 4, 3)),
        "BATCH_TO_SPACE_ND": (lambda b, x: b.one(
            "BATCH_TO_SPACE_ND", [x, b.int32([2, 2]), b.constant(np.array([[1, 0], [0, 1]], np.int32))], x.element,
            (1, 3, 5, 3)), (4, 2, 3, 3)),
        "REVERSE_SEQUENCE": (lambda b, x: b.one("REVERSE_SEQUENCE", [x, b.int32([2, 4, 1])], x.element, x.shape,
                                                seqDim=1, batchDim=0), (3, 4, 2)),
        "FILL": (lambda b, x: b.fill(b.int32([2, 3]), x, (2, 3)), ()),
        "CONCATENATION": (lambda b, x: b.one("CONCATENATION", [x, x], x.element, (3, 8), axis=1), (3, 4)),
        "SPLIT": (lambda b, x: b.split(x, (2, 2), 1), (3, 4)),
        "SPLIT_V": (lambda b, x: b.emit("SPLIT_V", [x, b.int32([1, 3]), b.int32(1)],
                                        [(x.element, (3, 1)), (x.element, (3, 3))], {"numSplits": 2}), (3, 4)),
        "PACK": (lambda b, x: b.one("PACK", [x, x], x.element, (3, 2, 4), axis=1, valuesCount=2), (3, 4)),
        "UNPACK": (lambda b, x: b.emit("UNPACK", [x], [(x.element, (3,))] * 2, {"num": 2, "axis": 1}), (3, 2)),
    }
    for op, (make, shape) in table.items():
        for dtype in types_of(op):
            yield Case(op, dtype.name, make, [numbers(dtype, shape)], exact=True)


def _joined() -> Iterator[Case]:
    for op in ("SUM", "MEAN", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"):
        for dtype in types_of(op):
            x = numbers(dtype, (2, 3, 4))
            for keep in (False, True):
                yield Case(op, f"{dtype.name}-keep-{keep}", lambda b, y, o=op, k=keep: b.one(
                    o, [y, b.int32([0, 2])], y.element, (1, 3, 1) if k else (3,), keepDims=k), [x])
    for op in ("ARG_MAX", "ARG_MIN"):
        for dtype in types_of(op):
            yield Case(op, dtype.name, lambda b, y, o=op: b.arg(o, y, 1, ElementType.INT64), [numbers(dtype, (3, 9))])
    for dtype in types_of("CUMSUM"):
        yield Case("CUMSUM", dtype.name, lambda b, y: b.cumsum(y, 1), [numbers(dtype, (2, 5))])
    yield Case("CUMSUM", "exclusive-reverse", lambda b, y: b.cumsum(y, 0, exclusive=True, reverse=True),
               [numbers(F, (6, 2))])
    for dtype in types_of("TOPK_V2"):
        yield Case("TOPK_V2", dtype.name, lambda b, y: b.emit(
            "TOPK_V2", [y, b.int32(3)], [(y.element, (2, 3)), (ElementType.INT32, (2, 3))]), [numbers(dtype, (2, 8))])
    for dtype in types_of("UNIQUE"):
        yield Case("UNIQUE", dtype.name, _unique, [numbers(dtype, (12,))], exact=True)
    for dtype in types_of("WHERE"):
        if dtype == np.bool_:  # what a lowering makes it of
            yield Case("WHERE", dtype.name, lambda b, y: b.where(y), [numbers(dtype, (4, 5))], exact=True)
    for dtype in types_of("ONE_HOT"):
        for axis in (-1, 0):
            shape = (2, 3, 5) if axis == -1 else (5, 2, 3)
            yield Case("ONE_HOT", f"{dtype.name}-{axis}", lambda b, y, s=shape, a=axis, d=dtype: b.emit(
                "ONE_HOT", [y, b.int32(5), b.scalar(1, ElementType.of(d)), b.scalar(0, ElementType.of(d))],
                [(ElementType.of(d), s)], {"axis": a})[0], [np.array([[0, 4, 2], [7, -1, 1]], np.int32)], exact=True)
    for dtype in types_of("SCATTER_ND"):
        yield Case("SCATTER_ND", dtype.name, lambda b, y: b.one(
            "SCATTER_ND", [b.constant(np.array([[3], [1], [3]], np.int32)), y, b.int32([5, 2])], y.element, (5, 2)),
            [numbers(dtype, (3, 2))])
    for reduction in ("none", "add", "max", "min"):
        for dtype in types_of("STABLEHLO_SCATTER"):
            indices = np.array([[3, 1], [0, 0], [9, 0], [-1, 1], [2, 2]] + [[3, 1]] * (reduction != "none"), np.int32)
            yield Case("STABLEHLO_SCATTER", f"{reduction}-{dtype.name}", lambda b, x, y, r=reduction, i=indices:
                       b.scatter(x, b.constant(i), y, r),
                       [numbers(dtype, (4, 3, 2)), numbers(dtype, (len(indices), 2), 5)])
    boxes = np.sort(numbers(F, (12, 2, 2), low=0, high=10), axis=1).reshape(12, 4)
    yield Case("NON_MAX_SUPPRESSION_V4", "", lambda b, x, s: b.emit(
        "NON_MAX_SUPPRESSION_V4", [x, s, b.int32(8), b.scalar(0.3, s), b.scalar(0.1, s)],
        [(ElementType.INT32, (8,)), (ElementType.INT32, ())]), [boxes, numbers(F, (12,), low=0, high=1)], exact=True)


def _unique(b: Any, x: Any) -> Any:
    found, places = b.emit("UNIQUE", [x], [(x.element, (12,)), (ElementType.INT32, (12,))],
                           {"idxOutType": ElementType.INT32.value})
    return b.sized_at_run_time(found, [None]), places


def _shaped() -> Iterator[Case]:
    x = numbers(F, (2, 5))
    yield Case("SHAPE", "", lambda b, y: b.one("SHAPE", [y], ElementType.INT32, (2,), outType=2), [x],
               shapes=[["n", "m"]])
    yield Case("RESHAPE", "dynamic", lambda b, y: b.reshape(y, (y.shape[0] * 5,)), [x], shapes=[["n", 5]])
    yield Case("BROADCAST_ARGS", "", lambda b, y, z: b.broadcast_shapes(y, z, 3),
               [np.array([2, 1, 5], I32), np.array([3, 1], I32)])
    for dtype in types_of("RANGE"):
        bounds: list[Array] = [np.array(v, dtype) for v in (1, 9, 2)]
        yield Case("RANGE", dtype.name, lambda b, *y: b.sized_at_run_time(
            b.one("RANGE", list(y), y[0].element, (0,)), [None]), bounds)
