"""The version of an operator: the lowest whose readers know all that this one asks for.

Source of every row: TensorFlow's `tflite/tools/versioning/op_version.cc`. A reader that has an operator in an older
version only says so when it loads the file; a version that is too low is found out at its first inference, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.types import SHORT, ElementType

_I4, _I8, _U8, _I16 = ElementType.INT4, ElementType.INT8, ElementType.UINT8, ElementType.INT16
_F32, _HIGH_RANK = ElementType.FLOAT32, 4
Rule = Callable[[Operator], int]


def op_version(operator: Operator) -> int:
    """The lowest version of `operator` that serves its types, shapes and options."""
    if operator.version:
        return operator.version
    rule = _RULES.get(operator.op)
    if rule is not None:
        return rule(operator)
    return _TYPES.get(operator.op, {}).get(_element(operator, _TYPED_BY.get(operator.op, 0)), 1)


def _tensor(operator: Operator, index: int) -> Tensor | None:
    return operator.inputs[index] if index < len(operator.inputs) else None


def _element(operator: Operator, index: int) -> ElementType:
    """The type of an operand; float32 where it is left out, which no row speaks of."""
    tensor = _tensor(operator, index)
    return _F32 if tensor is None else tensor.element


def _rank(operator: Operator) -> int:
    tensor = _tensor(operator, 0)
    return 0 if tensor is None else tensor.rank


def _per_channel(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.quantization is not None and len(tensor.quantization.scale) > 1


def _broadcasts_high(operator: Operator) -> bool:
    """Whether operands of different shapes have more than four dimensions."""
    operands = [t for t in operator.inputs if t is not None]
    return len({t.shape for t in operands}) > 1 and max(t.rank for t in operands) > _HIGH_RANK


# -- by the type of one operand

_ROWS = (
    "CONCATENATION i8:2 i16:3 u32:4|SOFTMAX i8:2 i16:3|MEAN i8:2 i16:3|MIRROR_PAD i8:2 i16:3|REDUCE_MAX i8:2 i16:3|"
    "REDUCE_MIN i8:2 i16:3|RELU6 i8:2 i16:3|RSQRT i8:2 i16:3|RELU i8:2 u8:2 i16:3|LOGISTIC i8:2 i16:3|TANH i8:2 i16:3|"
    "AVERAGE_POOL_2D i8:2 i16:3|MAX_POOL_2D i8:2 i16:3|LEAKY_RELU i16:2|SPLIT i8:2 i32:3 i16:4|SPLIT_V i8:2|SUM i8:2|"
    "LOG_SOFTMAX i8:2|GREATER i8:2|LESS_EQUAL i8:2|SQUARED_DIFFERENCE i8:2|SPACE_TO_DEPTH i8:2|DEPTH_TO_SPACE i8:2|"
    "L2_NORMALIZATION i8:2|ARG_MAX i8:2 bool:3|ARG_MIN i8:2 bool:3|TOPK_V2 i8:2 i16:3|EQUAL i8:2 i16:4|"
    "NOT_EQUAL i8:2|LESS i8:2 i16:3|GREATER_EQUAL i8:2 i16:3|SELECT_V2 u32:2|EXP i8:2 i16:2|LOG i8:2 i16:2|"
    "REDUCE_PROD i8:2 i16:2|GELU i8:2 u8:2|FILL f16:4 i8:3 i16:3 bool:2|RANGE i64:2|REVERSE_V2 i8:3 bool:2|"
    "FLOOR_DIV i8:3 i16:3 f32:2|FLOOR_MOD i8:2 i16:2|PACK i8:2 i16:3 u32:4|UNPACK i8:2 u8:2 bool:3 i16:4|TILE i8:3|"
    "SIGN i32:2|BATCH_MATMUL i8:2 i16:3|SPARSE_TO_DENSE i8:3 u8:3 i64:2|DYNAMIC_UPDATE_SLICE i64:2")
_TYPED_BY: Mapping[str, int] = {"SPLIT": 1, "FILL": 1, "SPARSE_TO_DENSE": 2, "DYNAMIC_UPDATE_SLICE": 2}
"""Operators whose rows speak of another operand than the first."""


def _table(rows: str) -> dict[str, dict[ElementType, int]]:
    table: dict[str, dict[ElementType, int]] = {}
    for row in rows.split("|"):
        name, *pairs = row.split()
        table[name] = {SHORT[short]: int(version) for short, _, version in (pair.partition(":") for pair in pairs)}
    return table


_TYPES: Mapping[str, Mapping[ElementType, int]] = _table(_ROWS)


# -- by more

def _first(*pairs: tuple[bool, int]) -> int:
    """The version of the first condition that holds."""
    return next((version for holds, version in pairs if holds), 1)


def _convolution(operator: Operator) -> int:
    data, weights = _element(operator, 0), _element(operator, 1)
    x, kernel = _tensor(operator, 0), _tensor(operator, 1)
    grouped = x is not None and kernel is not None and x.shape[-1] != kernel.shape[-1]
    return _first((data is _I16 and bool(operator.options.get("quantizedBiasType")), 8), (grouped, 6),
                  (data is _I16, 4), (data is _I8 and weights is _I4, 7), (data is _I8, 3),
                  (weights is _I8 and _per_channel(kernel), 5), (weights in (_I8, _I4), 2))


def _depthwise(operator: Operator) -> int:
    data, weights = _element(operator, 0), _element(operator, 1)
    dilated = any(operator.options.get(f"dilation{axis}Factor", 1) != 1 for axis in "HW")
    return _first((data is _I16, 5), (data is _F32 and weights is _I8 and _per_channel(_tensor(operator, 1)), 6),
                  (data is _F32 and weights is _I8, 4), (data is _I8 and weights is _I4, 7), (data is _I8, 3),
                  (dilated, 2))


def _fully_connected(operator: Operator) -> int:
    data, weights = _element(operator, 0), _element(operator, 1)
    hybrid, asymmetric = data is _F32 and weights is _I8, bool(operator.options.get("asymmetricQuantizeInputs"))
    return _first((data is _I16 and weights is _I4, 13), (hybrid and _per_channel(_tensor(operator, 1)), 12),
                  (data is _I16 and bool(operator.options.get("quantizedBiasType")), 11), (data is _I16, 7),
                  (data is _I8 and weights is _I4, 10), (hybrid and asymmetric, 9),
                  (_tensor(operator, 2) is None, 6), (bool(operator.options.get("keepNumDims")), 5), (data is _I8, 4),
                  (hybrid, 3))


def _transpose_conv(operator: Operator) -> int:
    return _first((bool(operator.options.get("quantizedBiasType")), 5),
                  (bool(operator.options.get("fusedActivationFunction")), 4), (_tensor(operator, 3) is not None, 3),
                  (_element(operator, 1) is _I8, 2))


def _multiplication(operator: Operator) -> int:
    """Raw int16 came later than quantized; int8 whose scales multiply to more than the result's has its own version."""
    data = _element(operator, 0)
    grids = [t.quantization for t in (*operator.inputs, *operator.outputs) if t is not None]
    scales = [g.scale[0] for g in grids if g is not None]
    large = len(scales) == 3 and scales[0] * scales[1] >= scales[2]
    return _first((data is ElementType.UINT32 or (data is _I16 and not scales), 7), (data is ElementType.COMPLEX64, 6),
                  (data is ElementType.INT64, 5), (data is _I16, 4), (large or _broadcasts_high(operator), 3),
                  (data is _I8, 2))


def _addition(operator: Operator) -> int:
    data, first = _element(operator, 0), _tensor(operator, 0)
    raw = first is not None and first.quantization is None
    return _first((data is _I16 and raw, 5), (data is ElementType.INT64 or _broadcasts_high(operator), 4),
                  (data is _I16, 3), (data is _I8, 2))


def _subtraction(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is _I16, 5), (data is ElementType.INT64, 4), (_broadcasts_high(operator), 3), (data is _I8, 2))


def _extreme(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is _I16, 4), (_broadcasts_high(operator), 3), (data is _I8, 2))


def _strided_slice(operator: Operator) -> int:
    data = _element(operator, 0)
    masks = operator.options.get("ellipsisMask") or operator.options.get("newAxisMask")
    return _first((bool(operator.options.get("offset")), 8), (data is ElementType.UINT32, 7), (bool(masks), 6),
                  (_rank(operator) > _HIGH_RANK or data is _I16, 4), (data is ElementType.BOOL, 3), (data is _I8, 2))


def _resize(operator: Operator) -> int:
    centers = operator.options.get("halfPixelCenters") or (
        operator.op == "RESIZE_NEAREST_NEIGHBOR" and operator.options.get("alignCorners"))
    return _first((_element(operator, 0) is _I16, 4), (bool(centers), 3), (_element(operator, 0) is _I8, 2))


def _batches(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is _I16, 4), (_rank(operator) != _HIGH_RANK, 3), (data is _I8, 2))


def _padding(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((_rank(operator) > _HIGH_RANK, 4), (data is _I16, 3), (data is _I8, 2))


def _transpose(operator: Operator) -> int:
    data, rank = _element(operator, 0), _rank(operator)
    return _first((rank > 5, 6), (data is _I16, 5), (rank > _HIGH_RANK, 4), (data is ElementType.BOOL, 3),
                  (data is _I8, 2))


def _slice(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is ElementType.UINT32, 6), (_rank(operator) > _HIGH_RANK, 5), (data is _I16, 4),
                  (data is _I8, 2))


def _gather(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is _I4, 7), (_element(operator, 1) is _I16, 6), (bool(operator.options.get("batchDims")), 5),
                  (data is _I16, 4), (data is ElementType.BOOL, 3), (data is _I8, 2))


def _gather_nd(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is ElementType.BOOL, 5), (_element(operator, 1) is _I16, 4), (data is _I16, 3))


def _absolute(operator: Operator) -> int:
    data, first = _element(operator, 0), _tensor(operator, 0)
    raw = first is not None and first.quantization is None
    return _first((data is ElementType.INT32, 5), (data is _I16 and raw, 4), (data is _I16, 3), (data in (_I8, _U8), 2))


def _dequantize(operator: Operator) -> int:
    data = _element(operator, 0)
    return _first((data is _I4, 6), (data is _I8 and _per_channel(_tensor(operator, 0)), 5),
                  (data in (_I16, ElementType.FLOAT16), 3), (data is _I8, 2))


def _quantize(operator: Operator) -> int:
    result = operator.outputs[0]
    types = (_element(operator, 0), result.element)
    return _first((_I4 in types, 4), (_per_channel(result), 3), (result.element is _I16, 2))


def _cast(operator: Operator) -> int:
    types = {_element(operator, 0), operator.outputs[0].element}
    return _first((ElementType.BFLOAT16 in types, 7), (_I4 in types, 6),
                  (bool(types & {ElementType.FLOAT64, ElementType.FLOAT16}), 5), (ElementType.UINT16 in types, 4),
                  (_I8 in types, 3), (ElementType.UINT32 in types, 2))


_RULES: Mapping[str, Rule] = {
    "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv, "MUL": _multiplication, "ADD": _addition, "SUB": _subtraction,
    "MAXIMUM": _extreme, "MINIMUM": _extreme, "STRIDED_SLICE": _strided_slice, "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize, "SPACE_TO_BATCH_ND": _batches, "BATCH_TO_SPACE_ND": _batches, "PAD": _padding,
    "PADV2": _padding, "TRANSPOSE": _transpose, "SLICE": _slice, "GATHER": _gather, "GATHER_ND": _gather_nd,
    "ABS": _absolute, "DEQUANTIZE": _dequantize, "QUANTIZE": _quantize, "CAST": _cast,
    "DIV": lambda o: 2 if _broadcasts_high(o) else 1,
    "BROADCAST_TO": lambda o: 3 if _element(o, 0) in (_I8, _I16) else 2,
    "WHERE": lambda o: 1 if _element(o, 0) is ElementType.BOOL else 2,
}
