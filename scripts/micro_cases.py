"""One-operator models that scripts/probe_micro.py runs: for an operator, a type and a rank, the cases to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Operator, Quantization, Tensor
from fidelite.tflite.types import SHORT, ElementType

MAX_PROBED_RANK = 6
TYPES = ("f32", "i8q", "i16q", "f16", "i8", "u8", "i16", "i32", "u32", "i64", "bool")
Shape = tuple[int, ...]
Quant = tuple[float, int]
_QUANT: dict[str, Quant] = {"i8q": (0.05, 3), "i16q": (0.001, 0)}
_POSITIVE: dict[str, Quant] = {"i8q": (0.05, -128), "i16q": (0.001, 0)}

_UNARY = ("ABS CEIL COS ELU EXP FLOOR HARD_SWISH LEAKY_RELU LOG LOGICAL_NOT LOGISTIC NEG RELU RELU6 ROUND RSQRT "
          "SIN SQRT SQUARE TANH ZEROS_LIKE SOFTMAX LOG_SOFTMAX L2_NORMALIZATION CUMSUM RELU_N1_TO_1 RELU_0_TO_1 GELU "
          "SIGN")
_BINARY = ("ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD POW EQUAL NOT_EQUAL GREATER "
          "GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_OR PRELU ADD_N")
_REDUCE = "SUM MEAN REDUCE_MAX REDUCE_MIN REDUCE_ALL REDUCE_ANY REDUCE_PROD"
_MOVES = ("RESHAPE TRANSPOSE EXPAND_DIMS SQUEEZE CONCATENATION SPLIT SPLIT_V PACK UNPACK TILE BROADCAST_TO SLICE "
         "STRIDED_SLICE PAD PADV2 MIRROR_PAD GATHER GATHER_ND REVERSE_V2 FILL SHAPE DYNAMIC_UPDATE_SLICE "
         "EMBEDDING_LOOKUP SELECT_V2 SELECT ARG_MAX ARG_MIN BROADCAST_ARGS TOPK_V2 ONE_HOT SCATTER_ND RANGE "
         "WHERE")
_SPATIAL = ("SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR "
           "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV CONV_3D "
           "LOCAL_RESPONSE_NORMALIZATION")
_OTHER = "FULLY_CONNECTED BATCH_MATMUL CAST QUANTIZE DEQUANTIZE"
UNARY, BINARY, REDUCE, MOVES, SPATIAL, OTHER = (
    names.split() for names in (_UNARY, _BINARY, _REDUCE, _MOVES, _SPATIAL, _OTHER))
OPS = sorted([*UNARY, *BINARY, *REDUCE, *MOVES, *SPATIAL, *OTHER])

_RESULTS: dict[str, dict[str, Quant]] = {  # quantization that a kernel fixes for its result
    "LOGISTIC": {"i8q": (1 / 256, -128), "i16q": (1 / 32768, 0)},
    "TANH": {"i8q": (1 / 128, 0), "i16q": (1 / 32768, 0)},
    "SOFTMAX": {"i8q": (1 / 256, -128), "i16q": (1 / 32768, 0)},
    "LOG_SOFTMAX": {"i8q": (16 / 256, 127)},
    "L2_NORMALIZATION": {"i8q": (1 / 128, 0)},
}
_SAME = frozenset([*MOVES, "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REDUCE_MAX",
                   "REDUCE_MIN", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND",
                   "MAXIMUM", "MINIMUM", "ABS", "NEG", "RELU6"])
_BOOLEAN = frozenset(["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND",
                      "LOGICAL_OR", "LOGICAL_NOT"])


@dataclass
class Case:
    operator: Operator

    def feeds(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(7)
        positive = self.operator.op in ("LOG", "SQRT", "RSQRT", "POW", "DIV", "FLOOR_DIV", "FLOOR_MOD")
        return {t.name: _values(random, t, positive) for t in self.operator.inputs
                if t is not None and not t.is_constant and not t.is_variable}


def _values(random: np.random.Generator, tensor: Tensor, positive: bool) -> np.ndarray:
    dtype, shape = tensor.element.dtype, tensor.static_shape
    if dtype == np.bool_:
        return random.random(shape) < 0.5
    if dtype.kind == "f":
        values = random.normal(size=shape).astype(dtype)
        return np.abs(values) + dtype.type(0.25) if positive else values
    if dtype.kind == "u":
        return random.integers(1, 100, shape).astype(dtype)
    low = 1 if positive else -60
    return random.integers(low, 60, shape).astype(dtype)


def _tensor(name: str, kind: str, shape: Shape, quant: Quant | None = None) -> Tensor:
    scale, zero = quant or _QUANT.get(kind) or (1.0, 0)
    facts = Quantization((scale,), (zero,)) if kind.endswith("q") else None
    return Tensor(name, SHORT[kind.removesuffix("q")], shape, quantization=facts)


def _const(name: str, array: Any, quant: Quantization | None = None) -> Tensor:
    constant = Constant.of(np.asarray(array))
    return Tensor(name, constant.element, constant.shape, constant=constant, quantization=quant)


def _ints(*values: int) -> Tensor:
    return _const("k", np.array(values, np.int32))


def _result(op: str, kind: str, shape: Shape, name: str = "y") -> Tensor:
    if op in _BOOLEAN:
        return _tensor(name, "bool", shape)
    if op in ("ARG_MAX", "ARG_MIN", "SHAPE"):
        return _tensor(name, "i32", shape)
    fixed = _RESULTS.get(op, {}).get(kind)
    wide = None if op in _SAME or not kind.endswith("q") else (0.11, 0) if kind == "i16q" else (0.11, -4)
    if kind == "i16q" and wide is not None:
        wide = (0.002, 0)
    return _tensor(name, kind, shape, fixed or wide)


def pairs(op: str) -> Sequence[str]:
    """Types of operand and weights, and casts, beside `TYPES`."""
    if op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"):
        return ("f32+i8", "i8q+i4", "i16q+i8") if op != "BATCH_MATMUL" else ("f32+i8",)
    if op == "CAST":
        kinds = [t for t in TYPES if not t.endswith("q")]
        return [f"{a}>{b}" for a in kinds for b in kinds if a != b]
    return ()


def cases(op: str, kind: str, rank: int | None = None) -> list[Case]:
    """What to run; empty where the combination makes no sense."""
    makers: dict[str, Callable[[str, str, int | None], list[Operator]]] = {
        **dict.fromkeys(UNARY, _unary), **dict.fromkeys(BINARY, _binary), **dict.fromkeys(REDUCE, _reduce),
        **dict.fromkeys(MOVES, _move), **dict.fromkeys(SPATIAL, _spatial),
        "FULLY_CONNECTED": _dense, "BATCH_MATMUL": _matmul, "CAST": _cast, "QUANTIZE": _quantize,
        "DEQUANTIZE": _quantize,
    }
    found = makers[op](op, kind, rank)
    for operator in found:
        for i, tensor in enumerate(operator.inputs):
            if tensor is not None and not tensor.is_constant:
                tensor.name = f"x{i}"
    return [Case(operator) for operator in found]


def _shape(rank: int) -> Shape:
    return (2, 3, 4, 3, 2, 2)[:rank]


def _unary(op: str, kind: str, rank: int | None) -> list[Operator]:
    shape = _shape(rank or (4 if op in ("SOFTMAX", "LOG_SOFTMAX") else 2))
    if op == "L2_NORMALIZATION" and rank is None:
        shape = (2, 3)
    options: dict[str, Any] = {"LEAKY_RELU": {"alpha": 0.1}, "SOFTMAX": {"beta": 1.0}, "GELU": {"approximate": False},
                               "CUMSUM": {"exclusive": False, "reverse": False}}.get(op, {})
    quant = _POSITIVE.get(kind) if op in ("LOG", "SQRT", "RSQRT") else None
    if kind in ("i16q", "i8q") and op in ("LOGISTIC", "TANH", "SOFTMAX") and kind == "i16q":
        quant = (1 / 4096, 0)
    x = _tensor("x", kind, shape, quant)
    inputs = [x, _const("axis", np.int32(len(shape) - 1))] if op == "CUMSUM" else [x]
    return [Operator(op, inputs, [_result(op, kind, shape)], options)]


def _binary(op: str, kind: str, rank: int | None) -> list[Operator]:
    shape = _shape(rank or 4)
    if op == "ADD_N":
        return [Operator(op, [_tensor("a", kind, shape), _tensor("b", kind, shape)], [_result(op, kind, shape)])]
    if op == "PRELU":
        if len(shape) < 2:
            return []
        alpha = _tensor("b", kind, (1,) * (len(shape) - 1) + shape[-1:])
        return [Operator(op, [_tensor("a", kind, shape), alpha], [_result(op, kind, shape)])]
    others = [shape, shape[-1:], (1,) * (len(shape) - 1) + shape[-1:], shape[:1] + (1,) * (len(shape) - 1)]
    others = others[:1] if len(shape) == 1 else others
    return [Operator(op, [_tensor("a", kind, shape), _tensor("b", kind, other)], [_result(op, kind, shape)])
            for other in dict.fromkeys(others)]


def _reduce(op: str, kind: str, rank: int | None) -> list[Operator]:
    shape = _shape(rank or 4)
    found: list[Operator] = []
    for axes in ([(1, 2), (3,), (0,)] if rank is None else [(len(shape) - 1,)]):
        for keep in (True, False):
            result = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
            found.append(Operator(op, [_tensor("x", kind, shape), _ints(*axes)], [_result(op, kind, result or (1,))],
                                  {"keepDims": keep}))
    return found if len(shape) > 1 else found[:1]


def _move(op: str, kind: str, rank: int | None) -> list[Operator]:  # one branch a kind of operator
    s = _shape(rank or 4)
    x = _tensor("x", kind, s)
    n = len(s)

    def y(*shape: int, name: str = "y") -> Tensor:
        return _result(op, kind, shape, name)

    def one(inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], **options: Any) -> list[Operator]:
        return [Operator(op, inputs, outputs, options)]

    zeros = [[1, 2]] * n
    padded = [d + 3 for d in s]
    mirrored = [[0, 1]] + [[1, 0]] * (n - 1)
    made: dict[str, Callable[[], list[Operator]]] = {
        "RESHAPE": lambda: one([x, _ints(int(np.prod(s)))], [y(int(np.prod(s)))], newShape=[int(np.prod(s))]),
        "TRANSPOSE": lambda: one([x, _ints(*range(n - 1, -1, -1))], [y(*s[::-1])]),
        "EXPAND_DIMS": lambda: one([x, _ints(1)], [y(s[0], 1, *s[1:])]),
        "SQUEEZE": lambda: one([_tensor("x", kind, (1, *s[1:]))], [y(*s[1:])], squeezeDims=[0]) if n > 1 else [],
        "CONCATENATION": lambda: one([x, _tensor("b", kind, s)], [y(*s[:-1], 2 * s[-1])], axis=n - 1),
        "SPLIT": lambda: one([_const("k", np.int32(0)), x], [y(s[0] // 2, *s[1:], name=f"y{i}") for i in range(2)],
                             numSplits=2),
        "SPLIT_V": lambda: one([x, _ints(*([1, s[0] - 1])), _const("a", np.int32(0))],
                               [y(1, *s[1:], name="y0"), y(s[0] - 1, *s[1:], name="y1")], numSplits=2),
        "PACK": lambda: one([x, _tensor("b", kind, s)], [y(2, *s)], valuesCount=2, axis=0),
        "UNPACK": lambda: one([x], [y(*s[1:], name=f"y{i}") for i in range(s[0])], num=s[0], axis=0) if n > 1 else [],
        "TILE": lambda: one([x, _ints(*[2] * n)], [y(*[2 * d for d in s])]),
        "BROADCAST_TO": lambda: one([_tensor("x", kind, (1, *s[1:])), _ints(*s)], [y(*s)]),
        "SLICE": lambda: one([x, _ints(*[0] * n), _ints(*[1] * n)], [y(*[1] * n)]),
        "STRIDED_SLICE": lambda: one([x, _ints(*[0] * n), _ints(*s), _ints(*[2] * n)], [y(*[(d + 1) // 2 for d in s])],
                                     beginMask=0, endMask=0, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0),
        "PAD": lambda: one([x, _const("p", np.array(zeros, np.int32))], [y(*padded)]),
        "PADV2": lambda: one([x, _const("p", np.array(zeros, np.int32)),
                              _const("v", np.ones((), x.element.dtype), x.quantization)], [y(*padded)]),
        "MIRROR_PAD": lambda: one([x, _const("p", np.array(mirrored, np.int32))], [y(*[d + 1 for d in s])], mode=0),
        "GATHER": lambda: one([x, _ints(1, 0, 1)], [y(3, *s[1:])], axis=0),
        "GATHER_ND": lambda: one([x, _const("i", np.array([[0], [1]], np.int32))], [y(2, *s[1:])]),
        "REVERSE_V2": lambda: one([x, _ints(0)], [y(*s)]),
        "FILL": lambda: one([_ints(*s), _const("v", np.ones((), x.element.dtype), x.quantization)], [y(*s)]),
        "SHAPE": lambda: one([x], [y(n)], outType=2),
        "DYNAMIC_UPDATE_SLICE": lambda: one([x, _tensor("u", kind, (1, *s[1:])), _ints(1, *[0] * (n - 1))], [y(*s)]),
        "EMBEDDING_LOOKUP": lambda: one([_ints(1, 0), x], [y(2, *s[1:])]) if n > 1 else [],
        "SELECT_V2": lambda: one([_tensor("c", "bool", s), x, _tensor("b", kind, s)], [y(*s)]),
        "SELECT": lambda: one([_tensor("c", "bool", s), x, _tensor("b", kind, s)], [y(*s)]),
        "ARG_MAX": lambda: one([x, _const("a", np.int32(n - 1))], [y(*s[:-1])], outputType=2) if n > 1 else [],
        "ARG_MIN": lambda: one([x, _const("a", np.int32(n - 1))], [y(*s[:-1])], outputType=2) if n > 1 else [],
    }
    return made[op]() if op in made else []


def _spatial(op: str, kind: str, rank: int | None) -> list[Operator]:
    if rank not in (None, 4) or op == "CONV_3D":
        return []
    data = kind.split("+")[0]
    x = _tensor("x", data, (2, 8, 6, 4))

    def y(*shape: int) -> Tensor:
        return _result(op, data, shape)

    pool = {"padding": 1, "strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    if op.endswith("POOL_2D"):
        return [Operator(op, [x], [y(2, 4, 3, 4)], pool)]
    if op.startswith("RESIZE"):
        modes = [(False, False), (True, False), (False, True)]
        return [Operator(op, [_tensor("x", data, (1, 8, 6, 4)), _ints(5, 12)], [y(1, 5, 12, 4)],
                         {"alignCorners": a, "halfPixelCenters": h}) for a, h in modes]
    if op == "SPACE_TO_DEPTH":
        return [Operator(op, [x], [y(2, 4, 3, 16)], {"blockSize": 2})]
    if op == "DEPTH_TO_SPACE":
        return [Operator(op, [x], [y(2, 16, 12, 1)], {"blockSize": 2})]
    if op == "SPACE_TO_BATCH_ND":
        return [Operator(op, [x, _ints(2, 2), _const("p", np.zeros((2, 2), np.int32))], [y(8, 4, 3, 4)])]
    if op == "BATCH_TO_SPACE_ND":
        return [Operator(op, [_tensor("x", data, (8, 4, 3, 4)), _ints(2, 2), _const("p", np.zeros((2, 2), np.int32))],
                         [y(2, 8, 6, 4)])]
    if op == "LOCAL_RESPONSE_NORMALIZATION":
        return [Operator(op, [x], [y(2, 8, 6, 4)], {"radius": 2, "bias": 1.0, "alpha": 1.0, "beta": 0.5})]
    return _convolutions(op, kind, x, y)


def _weights(kind: str, shape: Shape, axis: int) -> tuple[Tensor, Tensor] | None:
    """Weights and bias for operand type `kind` (data or data+weights), scales per channel of `axis`."""
    random = np.random.default_rng(3)
    data, _, stored = kind.partition("+")
    channels = shape[axis]
    if kind == "f32":
        return _const("w", random.normal(size=shape).astype(np.float32)), _const("b", np.ones(channels, np.float32))
    if data == "f32":
        scales = Quantization((0.02,) * channels, (0,) * channels, axis)
        return (_const("w", random.integers(-100, 100, shape).astype(np.int8), scales),
                _const("b", np.ones(channels, np.float32)))
    if data not in ("i8q", "i16q") or (data == "i16q" and stored != "i8") or stored not in ("", "i8", "i4"):
        return None
    scales = Quantization(tuple(0.02 + 0.001 * i for i in range(channels)), (0,) * channels, axis)
    scale = _QUANT[data][0]
    bias = Quantization(tuple(scale * s for s in scales.scale), (0,) * channels, 0)
    integers = random.integers(-7, 8, shape)
    weights = Tensor("w", ElementType.INT4, shape, constant=Constant.of(integers.astype(ElementType.INT4.dtype)),
                     quantization=scales) if stored == "i4" else _const("w", (integers * 9).astype(np.int8), scales)
    return weights, _const("b", np.full(channels, 9, np.int64 if data == "i16q" else np.int32), bias)


def _convolutions(op: str, kind: str, x: Tensor, y: Callable[..., Tensor]) -> list[Operator]:
    base = {"padding": 0, "strideW": 1, "strideH": 1, "fusedActivationFunction": 0}
    if op == "DEPTHWISE_CONV_2D":
        made = _weights(kind, (1, 3, 3, 4), 3)
        more = {**base, "depthMultiplier": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    else:
        made = _weights(kind, (5, 3, 3, 4), 0)
        more = {**base, "dilationWFactor": 1, "dilationHFactor": 1}
    if made is None:
        return []
    if op == "TRANSPOSE_CONV":
        return [Operator(op, [_ints(2, 16, 12, 5), made[0], x, made[1]], [y(2, 16, 12, 5)],
                         {**base, "strideW": 2, "strideH": 2})]
    plain = [Operator(op, [x, *made], [y(2, 8, 6, 4 if op.startswith("DEPTH") else 5)], {**more, "dilationWFactor": d})
             for d in (1, 2)]
    return plain


def _dense(op: str, kind: str, rank: int | None) -> list[Operator]:
    shape = _shape(rank or 2)
    made = _weights(kind, (5, shape[-1]), 0) if len(shape) > 1 else None
    if made is None:
        return []
    data = kind.split("+")[0]
    return [Operator(op, [_tensor("x", data, shape), *made], [_result(op, data, (*shape[:-1], 5))],
                     {"keepNumDims": len(shape) > 2, "weightsFormat": 0, "fusedActivationFunction": 0})]


def _matmul(op: str, kind: str, rank: int | None) -> list[Operator]:
    if rank == 1 or kind.endswith("+i8"):
        return []
    a = _shape(rank or 3)
    found: list[Operator] = []
    for adjoint in (False, True):
        b = (*a[:-2], *((5, a[-1]) if adjoint else (a[-1], 5)))
        found.append(Operator(op, [_tensor("a", kind, a), _tensor("b", kind, b)], [_result(op, kind, (*a[:-1], 5))],
                              {"adjX": False, "adjY": adjoint}))
    return found


def _cast(op: str, kind: str, rank: int | None) -> list[Operator]:
    if ">" not in kind:
        return []
    source, result = kind.split(">")
    shape = _shape(rank or 2)
    return [Operator(op, [_tensor("x", source, shape)], [_tensor("y", result, shape)],
                     {"inDataType": SHORT[source].value, "outDataType": SHORT[result].value})]


def _quantize(op: str, kind: str, rank: int | None) -> list[Operator]:
    shape = _shape(rank or 2)
    if op == "DEQUANTIZE":
        return [Operator(op, [_tensor("x", kind, shape)], [_tensor("y", "f32", shape)])]
    return [Operator(op, [_tensor("x", kind, shape)], [_tensor("y", result, shape)]) for result in ("i8q", "i16q")]
