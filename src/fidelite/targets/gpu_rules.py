"""What LiteRT's GPU delegate asks, as rules and a table. Read in google-ai-edge/LiteRT of August 2026 (f6745779).

A node that the delegate's `IsSupported` declines runs on the CPU ("fallback"). A node that it admits and whose parser
then fails takes the whole delegate down: nothing runs on the GPU ("refused"). Refused, too, is a node that its parser
reads otherwise than the CPU's kernel does: the results would be wrong without a word.
"""

from __future__ import annotations

from fidelite.targets.profile import Rule

_BUILDER = "tflite/delegates/gpu/common/model_builder.cc"
_HELPER = "tflite/delegates/gpu/common/model_builder_helper.cc"
_COMPATIBILITY = "tflite/tools/versioning/gpu_compatibility.cc"

# Declined: runs on the CPU.
OPERATOR = Rule("operator", "the delegate has a parser for the operator", f"{_BUILDER}: NewOperationParser")
VERSION = Rule("version", "the operator's version is no newer than the parser knows",
               f"{_BUILDER}: CheckMaxSupportedOpVersion", depends_on_precision=True)
RANK = Rule("rank", "no operand or result has more than four axes", f"{_BUILDER}: IsAllAllowedTensors")
TYPE = Rule("type", "values are float32, float16, int8 or uint8; a few operators also take int32 or bool",
            f"{_BUILDER}: GetOpsToReplace", depends_on_precision=True)
BROADCAST = Rule("broadcast", "two values of different ranks broadcast in one of the forms that the delegate knows",
                 f"{_COMPATIBILITY}: CheckAddMulBroadcastCompatibility")
OPERANDS = Rule("operands", "the operator has the run-time and constant operands that its parser reads",
                f"{_COMPATIBILITY}: CheckInputsConstsOutputs")
AXES = Rule("axes", "axes are an int32 constant", f"{_COMPATIBILITY}: CheckAxesAreInt32Const")
OPTION = Rule("option", "options have values that the delegate computes", f"{_COMPATIBILITY}")
PADDING = Rule("padding", "paddings are 3x2 or 4x2, and a mirror reflects", f"{_COMPATIBILITY}: MIRROR_PAD")
SLICE_RANK = Rule("slice-rank", "slices are of values with 3 or 4 axes", f"{_COMPATIBILITY}: SLICE, STRIDED_SLICE")
SELECT = Rule("select", "a selection's values have the result's shape, or are constant scalars",
              f"{_COMPATIBILITY}: CheckSelectV2GpuDelegateCompatibility")
BOOLEAN = Rule("boolean", "a comparison is read by one CAST or SELECT to float alone",
               f"{_BUILDER}: ElementwiseOperationParser::IsSupported")

# Admitted, and then the parser fails: nothing runs on the GPU.
STATIC = Rule("static-shapes", "every shape is known before the model is loaded",
              "tflite/core/subgraph.cc: a delegate for static-sized tensors refuses a graph with dynamic-sized ones")
SCALAR = Rule("scalar", "no value computed at run time has rank 0", f"{_HELPER}: ExtractTensorShape")
CONSTANT_BATCH = Rule("constant-batch", "a constant operand of four axes has a batch of 1",
                      f"{_HELPER}: SetAllDimensions")
SAME_OPERANDS = Rule("same-operands", "only ADD and MUL may read one value twice",
                     f"{_BUILDER}: ElementwiseOperationParser::Parse")
CHANNELS = Rule("channels", "the last axis of a FULLY_CONNECTED's operand is that of its weights",
                f"{_BUILDER}: FullyConnectedOperationParser::Parse")
MATMUL_CONSTANT = Rule("matmul-constant", "a constant factor of a BATCH_MATMUL is the second, of two axes",
                       f"{_BUILDER}: BatchedMatMulOperationParser::Parse")
ALPHA = Rule("alpha", "PRELU's alpha is a constant, one value a channel or one an element",
             f"{_BUILDER}: PReLUOperationParser::Parse")
REVERSE = Rule("reverse", "a slice's steps are positive", f"{_BUILDER}: StridedSliceOperationParser::Parse")
GROUPED = Rule("grouped", "weights that are computed are not in groups", f"{_BUILDER}: Conv2DOperationParser::Parse")

# Admitted, and read otherwise than on the CPU: wrong without a word.
ADJOINT = Rule("adjoint", "a BATCH_MATMUL does not transpose its factors: the parser does not read adjX and adjY",
               f"{_BUILDER}: BatchedMatMulOperationParser::Parse")
TRANSPOSED_ACTIVATION = Rule("transposed-activation", "a TRANSPOSE_CONV has no fused activation: the parser drops it",
                             f"{_BUILDER}: TransposeConvBuiltinOperationParser::Parse")
TRANSPOSED_SIZE = Rule("transposed-size", "a TRANSPOSE_CONV's result has the size that stride and kernel give: the "
                       "parser does not read the size asked for",
                       f"{_BUILDER}: TransposeConvBuiltinOperationParser::Parse (a TODO there)")
PAD_RANK = Rule("pad-rank", "paddings have four rows: of three, the parser also pads the batch by one",
                f"{_BUILDER}: PadOperationParser::Parse")
LAST_AXIS = Rule("last-axis", "a reduction keeps its axes where its result's layout would be another",
                 f"{_BUILDER}: MeanOperationParser::Parse; {_HELPER}: ExtractTensorShape")
CONSTANT_LAYOUT = Rule("constant-layout", "a constant operand lies along the axes that the value has: constants are "
                       "read as HWC, values of one axis as B, of two as BC, of three as BWC",
                       f"{_BUILDER}: ParseInputsWithConstTensorImpl; {_HELPER}: ExtractTensorShape")
CHANNEL_AXIS = Rule("channel-axis", "what works along the last axis has two axes or more: one axis is the batch",
                    f"{_HELPER}: ExtractTensorShape")

# Of the whole.
PARTITIONS = Rule("partitions", "one run of neighbouring operators, the largest, goes to the GPU by default",
                  f"{_BUILDER}: GetOpsToReplace, max_delegated_partitions")
HALF = Rule("half", "values fit float16, in which the delegate computes where precision loss is allowed: by default in "
            "Java and Kotlin, not in C (told by the simulation of float16)",
            "GpuDelegateFactory.java: setPrecisionLossAllowed; tflite/delegates/gpu/delegate_options.h")

FLOOR = Rule("pool-floor", "a MAX_POOL_2D has a value above -10000 in each window: its maximum begins there",
             "tflite/delegates/gpu/common/tasks/pooling.cc (told by the simulation of float16)")

RULES = (OPERATOR, VERSION, RANK, TYPE, BROADCAST, OPERANDS, AXES, OPTION, PADDING, SLICE_RANK, SELECT, BOOLEAN,
         STATIC, SCALAR, CONSTANT_BATCH, SAME_OPERANDS, CHANNELS, MATMUL_CONSTANT, ALPHA, REVERSE, GROUPED, ADJOINT,
         TRANSPOSED_ACTIVATION, TRANSPOSED_SIZE, PAD_RANK, LAST_AXIS, CONSTANT_LAYOUT, CHANNEL_AXIS, PARTITIONS,
         HALF, FLOOR)

_NEWEST = (
    "ABS:2 ADD:2 ADD_N:2 AVERAGE_POOL_2D:2 BATCH_MATMUL:99 CAST:99 CONCATENATION:2 CONV_2D:6 COS:2 CUMSUM:1 "
    "DEPTHWISE_CONV_2D:6 DEPTH_TO_SPACE:99 DEQUANTIZE:3 DIV:2 EQUAL:2 ELU:2 EXP:2 FLOOR:2 FLOOR_DIV:2 FLOOR_MOD:2 "
    "FULLY_CONNECTED:9 GATHER:1 GELU:2 GREATER:2 GREATER_EQUAL:2 HARD_SWISH:99 LESS:2 LESS_EQUAL:2 LOGISTIC:2 LOG:2 "
    "LOGICAL_AND:2 MAXIMUM:2 MAX_POOL_2D:2 MEAN:99 MINIMUM:2 MIRROR_PAD:2 MUL:3 NEG:2 NOT_EQUAL:2 ONE_HOT:1 PACK:99 "
    "PAD:2 PADV2:2 POW:2 REDUCE_MAX:99 REDUCE_MIN:99 REDUCE_PROD:99 QUANTIZE:2 RELU:2 RELU6:2 RELU_0_TO_1:2 "
    "RELU_N1_TO_1:2 LEAKY_RELU:2 PRELU:1 RESHAPE:1 RESIZE_BILINEAR:3 RESIZE_NEAREST_NEIGHBOR:3 RSQRT:2 SELECT:1 "
    "SELECT_V2:1 SIGN:2 SIN:2 SLICE:2 SOFTMAX:2 SPACE_TO_DEPTH:2 SPLIT:99 SPLIT_V:99 SQRT:2 SQUARE:2 "
    "SQUARED_DIFFERENCE:2 STRIDED_SLICE:4 SUB:2 SUM:99 TANH:2 TILE:99 TRANSPOSE:4 TRANSPOSE_CONV:3 UNPACK:99")
NEWEST: dict[str, int] = {op: int(version) for op, version in (pair.split(":") for pair in _NEWEST.split())}
"""Operators with a parser, and the newest version that each admits (99: any)."""

COMPARISONS = frozenset({"EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"})
_VALUES = frozenset({"f32", "f16", "i8", "u8"})
ALLOWED_IN: dict[str, frozenset[str]] = {
    "CAST": _VALUES | {"bool", "i32"}, "ONE_HOT": _VALUES | {"i32"}, "SELECT": _VALUES | {"bool"},
    "SELECT_V2": _VALUES | {"bool"}, "LOGICAL_AND": _VALUES | {"bool"}, "GATHER": _VALUES | {"i32"},
}
ALLOWED_OUT: dict[str, frozenset[str]] = {
    **dict.fromkeys(COMPARISONS, _VALUES | {"bool"}), "CAST": _VALUES | {"bool", "i32"},
    "LOGICAL_AND": _VALUES | {"bool"},
}
DEFAULT_TYPES = _VALUES
