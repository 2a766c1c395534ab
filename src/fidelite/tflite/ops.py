"""Facts about TFLite operators that the rest of the house needs, as a table.

`options` names the options table of the schema ("" for none); the writer fills it from `Operator.options`, whose keys
are the schema's own field names. `stateful` operators keep something between invocations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fidelite.tflite.graph import Operator
from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class OpSpec:
    options: str = ""
    stateful: bool = False


def _plain(names: str) -> dict[str, OpSpec]:
    return {name: OpSpec() for name in names.split()}


def _with(pairs: str) -> dict[str, OpSpec]:
    return {op: OpSpec(options) for op, options in (pair.split(":") for pair in pairs.split())}


# Optional options tables that hold nothing are left out (RELU, TANH, FLOOR, ...): readers do not ask for them.
OPS: dict[str, OpSpec] = {
    **_plain("FLOOR CEIL ROUND LOGISTIC RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 TANH SIN LOG SQRT RSQRT ELU "
             "PRELU EXPAND_DIMS ABS EXP COS NEG SQUARE HARD_SWISH BROADCAST_TO BROADCAST_ARGS REAL IMAG COMPLEX_ABS "
             "STABLEHLO_AND STABLEHLO_MAXIMUM STABLEHLO_MINIMUM STABLEHLO_ADD STABLEHLO_MULTIPLY "
             "EMBEDDING_LOOKUP NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 DEQUANTIZE QUANTIZE "
             "SIGN BITWISE_XOR RIGHT_SHIFT BITCAST ATAN2 DILATE STABLEHLO_SHIFT_LEFT "
             "UNSORTED_SEGMENT_SUM UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN"),
    **_with("ADD:AddOptions SUB:SubOptions MUL:MulOptions DIV:DivOptions POW:PowOptions "
            "MAXIMUM:MaximumMinimumOptions MINIMUM:MaximumMinimumOptions FLOOR_DIV:FloorDivOptions "
            "FLOOR_MOD:FloorModOptions SQUARED_DIFFERENCE:SquaredDifferenceOptions "
            "EQUAL:EqualOptions NOT_EQUAL:NotEqualOptions GREATER:GreaterOptions LESS:LessOptions "
            "GREATER_EQUAL:GreaterEqualOptions LESS_EQUAL:LessEqualOptions LOGICAL_AND:LogicalAndOptions "
            "LOGICAL_OR:LogicalOrOptions LOGICAL_NOT:LogicalNotOptions SELECT:SelectOptions "
            "SELECT_V2:SelectV2Options ADD_N:AddNOptions GELU:GeluOptions LEAKY_RELU:LeakyReluOptions "
            "SOFTMAX:SoftmaxOptions LOG_SOFTMAX:LogSoftmaxOptions L2_NORMALIZATION:L2NormOptions "
            "LOCAL_RESPONSE_NORMALIZATION:LocalResponseNormalizationOptions "
            "CONV_2D:Conv2DOptions DEPTHWISE_CONV_2D:DepthwiseConv2DOptions CONV_3D:Conv3DOptions "
            "CONV_3D_TRANSPOSE:Conv3DOptions TRANSPOSE_CONV:TransposeConvOptions "
            "FULLY_CONNECTED:FullyConnectedOptions BATCH_MATMUL:BatchMatMulOptions "
            "AVERAGE_POOL_2D:Pool2DOptions MAX_POOL_2D:Pool2DOptions L2_POOL_2D:Pool2DOptions "
            "RESIZE_BILINEAR:ResizeBilinearOptions RESIZE_NEAREST_NEIGHBOR:ResizeNearestNeighborOptions "
            "RESHAPE:ReshapeOptions TRANSPOSE:TransposeOptions SQUEEZE:SqueezeOptions "
            "CONCATENATION:ConcatenationOptions SPLIT:SplitOptions SPLIT_V:SplitVOptions PACK:PackOptions "
            "UNPACK:UnpackOptions TILE:TileOptions SLICE:SliceOptions STRIDED_SLICE:StridedSliceOptions "
            "PAD:PadOptions PADV2:PadV2Options MIRROR_PAD:MirrorPadOptions GATHER:GatherOptions "
            "GATHER_ND:GatherNdOptions SCATTER_ND:ScatterNdOptions REVERSE_V2:ReverseV2Options "
            "REVERSE_SEQUENCE:ReverseSequenceOptions SPACE_TO_DEPTH:SpaceToDepthOptions "
            "DEPTH_TO_SPACE:DepthToSpaceOptions SPACE_TO_BATCH_ND:SpaceToBatchNDOptions "
            "BATCH_TO_SPACE_ND:BatchToSpaceNDOptions ONE_HOT:OneHotOptions FILL:FillOptions RANGE:RangeOptions "
            "SHAPE:ShapeOptions RANK:RankOptions CAST:CastOptions UNIQUE:UniqueOptions TOPK_V2:TopKV2Options "
            "ARG_MAX:ArgMaxOptions ARG_MIN:ArgMinOptions CUMSUM:CumsumOptions WHERE:WhereOptions "
            "MATRIX_DIAG:MatrixDiagOptions MATRIX_SET_DIAG:MatrixSetDiagOptions "
            "SPARSE_TO_DENSE:SparseToDenseOptions SEGMENT_SUM:SegmentSumOptions BUCKETIZE:BucketizeOptions "
            "SUM:ReducerOptions MEAN:ReducerOptions REDUCE_PROD:ReducerOptions REDUCE_MAX:ReducerOptions "
            "REDUCE_MIN:ReducerOptions REDUCE_ANY:ReducerOptions REDUCE_ALL:ReducerOptions RFFT2D:Rfft2dOptions "
            "ZEROS_LIKE:ZerosLikeOptions DYNAMIC_UPDATE_SLICE:DynamicUpdateSliceOptions IF:IfOptions "
            "WHILE:WhileOptions RANDOM_UNIFORM:RandomOptions RANDOM_STANDARD_NORMAL:RandomOptions "
            "STABLEHLO_GATHER:StablehloGatherOptions STABLEHLO_PAD:StablehloPadOptions "
            "STABLEHLO_SCATTER:StablehloScatterOptions"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": OpSpec("UnidirectionalSequenceLSTMOptions", stateful=True),
    "BIDIRECTIONAL_SEQUENCE_LSTM": OpSpec("BidirectionalSequenceLSTMOptions", stateful=True),
    "UNIDIRECTIONAL_SEQUENCE_RNN": OpSpec("SequenceRNNOptions", stateful=True),
    "VAR_HANDLE": OpSpec("VarHandleOptions", stateful=True),
    "READ_VARIABLE": OpSpec("ReadVariableOptions", stateful=True),
    "ASSIGN_VARIABLE": OpSpec("AssignVariableOptions", stateful=True),
    "CALL_ONCE": OpSpec("CallOnceOptions", stateful=True),
}

# `fusedActivationFunction` of the schema, by the operator that it stands for.
FUSED_ACTIVATIONS: dict[str, int] = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_FUSING = "ADD SUB MUL DIV CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV FULLY_CONNECTED AVERAGE_POOL_2D MAX_POOL_2D"
FUSING_OPS = frozenset(_FUSING.split())
SAME, VALID = 0, 1  # `Padding` of the schema


def op_version(operator: Operator) -> int:
    """The lowest operator version that serves, after TensorFlow's `tflite/tools/versioning/op_version.cc`."""
    if operator.version:
        return operator.version
    rule = _VERSION_RULES.get(operator.op)
    return rule(operator) if rule else 1


def _operand(operator: Operator, index: int) -> ElementType | None:
    tensor = operator.inputs[index] if index < len(operator.inputs) else None
    return tensor.element if tensor is not None else None


def _by_type(table: dict[ElementType, int], default: int = 1, operand: int = 0) -> Any:
    def version(operator: Operator) -> int:
        element = _operand(operator, operand)
        return table.get(element, default) if element is not None else default
    return version


def _convolution(operator: Operator) -> int:
    data, weights = operator.inputs[0], operator.inputs[1]
    assert data is not None
    assert weights is not None
    if data.element is ElementType.INT16:
        return 8 if operator.options.get("quantizedBiasType") else 4
    if data.element is ElementType.INT8:
        return 7 if weights.element is ElementType.INT4 else 3
    if weights.element in (ElementType.INT8, ElementType.INT4):
        return 2
    return 6 if data.shape[-1] != weights.shape[-1] else 1


def _depthwise(operator: Operator) -> int:
    data, weights = _operand(operator, 0), _operand(operator, 1)
    if data is ElementType.INT16:
        return 5
    if data is ElementType.INT8:
        return 7 if weights is ElementType.INT4 else 3
    if weights is ElementType.INT8:
        return 6
    dilated = operator.options.get("dilationHFactor", 1) != 1 or operator.options.get("dilationWFactor", 1) != 1
    return 2 if dilated else 1


def _fully_connected(operator: Operator) -> int:
    data, weights = _operand(operator, 0), _operand(operator, 1)
    if data is ElementType.INT16:
        return 11 if operator.options.get("quantizedBiasType") else 7
    if data is ElementType.INT8:
        return 10 if weights is ElementType.INT4 else 4
    if weights is ElementType.INT8:
        return 9
    if len(operator.inputs) < 3 or operator.inputs[2] is None:
        return 6
    return 5 if operator.options.get("keepNumDims") else 1


def _strided_slice(operator: Operator) -> int:
    data = operator.inputs[0]
    if operator.options.get("offset"):
        return 8
    if data is not None and data.rank > 4:
        return 4
    return {ElementType.INT8: 2, ElementType.BOOL: 3, ElementType.INT16: 4}.get(_operand(operator, 0), 1)  # type: ignore[arg-type]


def _binary(base: dict[ElementType, int], high_rank: int) -> Any:
    def version(operator: Operator) -> int:
        ranks = [t.rank for t in operator.inputs if t is not None]
        shapes = {t.shape for t in operator.inputs if t is not None}
        low = base.get(_operand(operator, 0), 1)  # type: ignore[arg-type]
        return max(low, high_rank) if len(shapes) > 1 and max(ranks) > 4 else low
    return version


def _resize(operator: Operator) -> int:
    if operator.options.get("halfPixelCenters"):
        return 3
    return 2 if _operand(operator, 0) is ElementType.INT8 else 1


_I8, _I16, _I32, _I64, _BOOL = (ElementType.INT8, ElementType.INT16, ElementType.INT32, ElementType.INT64,
                                ElementType.BOOL)
_VERSION_RULES: dict[str, Any] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": lambda o: 3 if len(o.inputs) > 3 else 2 if _operand(o, 1) is _I8 else 1,
    "STRIDED_SLICE": _strided_slice,
    "ADD": _binary({_I8: 2, _I16: 3, _I64: 4}, 4),
    "SUB": _binary({_I8: 2, _I16: 5, _I64: 4}, 3),
    "MUL": _binary({_I8: 2, _I16: 4, _I64: 6, ElementType.COMPLEX64: 5}, 3),
    "DIV": _binary({ElementType.UINT8: 2}, 2),
    "MAXIMUM": _binary({_I8: 2, _I16: 4}, 3),
    "MINIMUM": _binary({_I8: 2, _I16: 4}, 3),
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "TRANSPOSE": lambda o: 6 if o.inputs[0].rank > 5 else 4 if o.inputs[0].rank > 4 else  # type: ignore[union-attr]
        {_I8: 2, _BOOL: 3, _I16: 5}.get(_operand(o, 0), 1),  # type: ignore[arg-type]
    "BATCH_MATMUL": _by_type({_I8: 2, _I16: 3}),
    "GATHER": lambda o: 5 if o.options.get("batchDims") else
        {_I8: 2, _BOOL: 3, _I16: 4}.get(_operand(o, 0), 1),  # type: ignore[arg-type]
    "SPACE_TO_BATCH_ND": lambda o: 3 if o.inputs[0].rank != 4 else 2 if _operand(o, 0) is _I8 else 1,  # type: ignore[union-attr]
    "BATCH_TO_SPACE_ND": lambda o: 3 if o.inputs[0].rank != 4 else 2 if _operand(o, 0) is _I8 else 1,  # type: ignore[union-attr]
    "CONCATENATION": _by_type({_I8: 2, _I16: 3, ElementType.UINT32: 4}),
    "SOFTMAX": _by_type({_I8: 2, _I16: 3}),
    "LOGISTIC": _by_type({_I8: 2, _I16: 3}),
    "TANH": _by_type({_I8: 2, _I16: 3}),
    "LEAKY_RELU": _by_type({_I8: 2, _I16: 2}),
    "RELU": _by_type({_I8: 2, _I16: 3}),
    "RELU6": _by_type({_I8: 2, _I16: 3}),
    "AVERAGE_POOL_2D": _by_type({_I8: 2, _I16: 3}),
    "MAX_POOL_2D": _by_type({_I8: 2, _I16: 3}),
    "PAD": lambda o: 4 if o.inputs[0].rank > 4 else {_I8: 2, _I16: 3}.get(_operand(o, 0), 1),  # type: ignore[union-attr, arg-type]
    "PADV2": lambda o: 4 if o.inputs[0].rank > 4 else {_I8: 2, _I16: 3}.get(_operand(o, 0), 1),  # type: ignore[union-attr, arg-type]
    "SUM": _by_type({_I8: 2, _I16: 2}),
    "MEAN": _by_type({_I8: 2, _I16: 3}),
    "REDUCE_MAX": _by_type({_I8: 2, _I16: 3}),
    "REDUCE_MIN": _by_type({_I8: 2, _I16: 3}),
    "SPLIT": _by_type({_I8: 2, _I16: 4}, operand=1),
    "SPLIT_V": _by_type({_I8: 2}),
    "SLICE": lambda o: 5 if o.inputs[0].rank > 4 else {_I8: 2, _I16: 4}.get(_operand(o, 0), 1),  # type: ignore[union-attr, arg-type]
    "TILE": _by_type({_BOOL: 3}, 2),
    "ARG_MAX": _by_type({_I8: 2}),
    "ARG_MIN": _by_type({_I8: 2}),
    "TOPK_V2": _by_type({_I8: 2, _I16: 3}),
    "EQUAL": _by_type({_I8: 2, _I16: 4, _BOOL: 3}),
    "NOT_EQUAL": _by_type({_I8: 2, _BOOL: 3}),
    "LESS": _by_type({_I8: 2, _I16: 3}),
    "GREATER": _by_type({_I8: 2}),
    "LESS_EQUAL": _by_type({_I8: 2}),
    "GREATER_EQUAL": _by_type({_I8: 2}),
    "SELECT_V2": _by_type({}, 1),
    "DEQUANTIZE": _by_type({_I8: 2, _I16: 3, ElementType.FLOAT16: 3, ElementType.INT4: 6}, 1),
    "QUANTIZE": _by_type({_I8: 2, _I16: 2}, 1),
    "CAST": lambda o: 2 if _operand(o, 0) in (_I8, ElementType.UINT8, _I16) else 1,
    "GELU": lambda o: 2 if _operand(o, 0) is _I8 else 1,
    "BROADCAST_TO": lambda o: 3 if _operand(o, 0) in (_I8, _I16) else 2,
    "FILL": _by_type({_I8: 3, _I16: 3, _BOOL: 2}, 1),
    "RANGE": _by_type({_I64: 2}),
    "ONE_HOT": _by_type({}, 1),
    "REVERSE_V2": _by_type({_BOOL: 2}, 1),
    "FLOOR_DIV": _by_type({ElementType.FLOAT32: 2}, 1),
    "SQUARED_DIFFERENCE": _by_type({_I8: 2}),
    "RSQRT": _by_type({_I8: 2}),
    "ABS": _by_type({_I8: 2, _I16: 3, _I32: 5}, 1),
    "LOCAL_RESPONSE_NORMALIZATION": lambda o: 1,
}
