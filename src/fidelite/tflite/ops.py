"""Facts about TFLite operators that the rest of the house needs, as a table.

`options` names the options table of the schema ("" for none); the writer fills it from `Operator.options`, whose keys
are the schema's own field names. `stateful` operators keep something between invocations.
"""

from __future__ import annotations

from dataclasses import dataclass


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
