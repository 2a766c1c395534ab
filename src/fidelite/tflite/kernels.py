"""Element types that LiteRT's CPU kernels compute right without quantization parameters, op by op.

Found by experiment: one-operator models, with and without XNNPACK, against numpy (ai-edge-litert 2.3.0, x86-64).
float16 and bfloat16 are listed for data movement only: the kernels that compute in them are few, and differ between
runtimes, so arithmetic is done in float32. `ARITHMETIC_WIDENING` says in which wider type an op is computed exactly
where its own type is not listed.
"""

from __future__ import annotations

from functools import cache

from fidelite.tflite.types import SHORT, ElementType

_KERNELS: dict[str, str] = {
    "ABS": "f32 i16 i32",
    "NEG": "f32 i8 i16 i32 i64",
    "SIGN": "f32 f64 i32",
    "CEIL": "f32",
    "FLOOR": "f32",
    "ROUND": "f32",
    "EXP": "f32",
    "SIN": "f32",
    "COS": "f32",
    "SQUARE": "f32",
    "RELU": "f32",
    "RELU6": "f32",
    "RELU_N1_TO_1": "f32",
    "RELU_0_TO_1": "f32",
    "ELU": "f32",
    "HARD_SWISH": "f32",
    "ZEROS_LIKE": "f32 i32 i64",
    "LOGICAL_NOT": "bool",
    "LOG": "f32",
    "SQRT": "f32",
    "RSQRT": "f32",
    "LOGISTIC": "f32",
    "TANH": "f32",
    "GELU": "f32",
    "LEAKY_RELU": "f32",
    "ADD": "f32 i16 i32 i64",
    "SUB": "f32 i32 i64",
    "MUL": "f32 i16 i32 u32 i64 c64",
    "DIV": "f32 i32",
    "MAXIMUM": "f32 i8 u8 i16 i32 i64",
    "MINIMUM": "f32 i8 u8 i16 i32 i64",
    "POW": "f32 i32",
    "FLOOR_DIV": "f32 i8 i16 i32",
    "FLOOR_MOD": "f32 i8 i16 i32 i64",
    "SQUARED_DIFFERENCE": "f32 i32",
    "ATAN2": "f32 f64",
    "EQUAL": "f32 i16 i32 i64 bool",
    "NOT_EQUAL": "f32 i32 i64 bool",
    "GREATER": "f32 i16 i32 i64",
    "GREATER_EQUAL": "f32 i16 i32 i64",
    "LESS": "f32 i16 i32 i64",
    "LESS_EQUAL": "f32 i16 i32 i64",
    "LOGICAL_AND": "bool",
    "LOGICAL_OR": "bool",
    "BITWISE_XOR": "i8 u8 i16 u16 i32 u32",
    "RIGHT_SHIFT": "i8 u8 i16 u16 i32 u32",
    "PRELU": "f32",
    "STABLEHLO_ADD": "f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_MULTIPLY": "f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_MAXIMUM": "f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_MINIMUM": "f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_AND": "i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_SHIFT_LEFT": "i8 i16 i32",
    "ADD_N": "f32 i32",
    "SELECT": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "SELECT_V2": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "RESHAPE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "TRANSPOSE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "EXPAND_DIMS": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "SQUEEZE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "CONCATENATION": "f32 f16 bf16 i4 i8 u8 i16 i32 u32 i64 bool",
    "SPLIT": "f32 i8 u8 i16 i32 i64",
    "SPLIT_V": "f32 i8 u8 i16 i32 i64",
    "PACK": "f32 i8 u8 i16 i32 u32 i64",
    "UNPACK": "f32 f16 bf16 i8 u8 i16 i32 bool",
    "TILE": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "BROADCAST_TO": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "SLICE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "STRIDED_SLICE": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "PAD": "f32 f16 bf16 i8 u8 i16 i32 i64 bool",
    "PADV2": "f32 f16 bf16 i8 u8 i16 i32 i64 bool",
    "MIRROR_PAD": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "GATHER": "f32 f16 bf16 i8 u8 i16 i32 i64 bool",
    "GATHER_ND": "f32 f16 bf16 i8 u8 i16 i32 i64 bool",
    "SCATTER_ND": "f32 i8 u8 i32 i64 bool",
    "REVERSE_V2": "f32 f16 bf16 i8 u8 i16 i32 i64 bool",
    "REVERSE_SEQUENCE": "f32 u8 i16 i32 i64",
    "DYNAMIC_UPDATE_SLICE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "SPACE_TO_DEPTH": "f32 i8 u8 i32 i64",
    "DEPTH_TO_SPACE": "f32 i8 u8 i32 i64",
    "SPACE_TO_BATCH_ND": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "BATCH_TO_SPACE_ND": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "ONE_HOT": "f32 i8 u8 i32 i64 bool",
    "FILL": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "RANGE": "f32 i32 i64",
    "SHAPE": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "RANK": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "BITCAST": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "UNIQUE": "f32 i8 u8 i16 i32 i64",
    "TOPK_V2": "f32 i8 u8 i16 i32 i64",
    "ARG_MAX": "f32 i8 u8 i32 bool",
    "ARG_MIN": "f32 i8 u8 i32 bool",
    "CUMSUM": "f32 i32 i64",
    "WHERE": "f32 i8 u8 i32 u32 i64 bool",
    "MATRIX_DIAG": "f32 i8 u8 i16 i32 u32 i64",
    "MATRIX_SET_DIAG": "f32 i8 u8 i16 i32 u32 i64",
    "SPARSE_TO_DENSE": "f32 i8 u8 i32 i64",
    "SEGMENT_SUM": "f32 i32",
    "UNSORTED_SEGMENT_SUM": "f32 i32",
    "UNSORTED_SEGMENT_PROD": "f32 i32",
    "UNSORTED_SEGMENT_MAX": "f32 i32",
    "UNSORTED_SEGMENT_MIN": "f32 i32",
    "EMBEDDING_LOOKUP": "f32 f16 bf16 f64 i4 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "BROADCAST_ARGS": "i32 i64",
    "BUCKETIZE": "f32 f64 i32 i64",
    "DILATE": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "SUM": "f32 i32 i64",
    "MEAN": "f32",
    "REDUCE_PROD": "f32 u8 i64",
    "REDUCE_MAX": "f32 i8 u8 i16 i32 i64",
    "REDUCE_MIN": "f32 i8 u8 i16 i32 i64",
    "REDUCE_ANY": "bool",
    "REDUCE_ALL": "bool",
    "CONV_2D": "f32",
    "DEPTHWISE_CONV_2D": "f32",
    "CONV_3D": "f32",
    "CONV_3D_TRANSPOSE": "f32",
    "FULLY_CONNECTED": "f32",
    "BATCH_MATMUL": "f32",
    "AVERAGE_POOL_2D": "f32",
    "MAX_POOL_2D": "f32 i8 u8 i16",
    "L2_POOL_2D": "f32",
    "RESIZE_BILINEAR": "f32",
    "RESIZE_NEAREST_NEIGHBOR": "f32 f16 bf16 i8 u8 i16 u16 i32 u32 bool",
    "SOFTMAX": "f32",
    "LOG_SOFTMAX": "f32",
    "L2_NORMALIZATION": "f32",
    "LOCAL_RESPONSE_NORMALIZATION": "f32",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "f32",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "f32",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "f32",
    "RFFT2D": "f32",
    "REAL": "c64",
    "IMAG": "c64",
    "COMPLEX_ABS": "c64",
    "NON_MAX_SUPPRESSION_V4": "f32",
    "NON_MAX_SUPPRESSION_V5": "f32",
    "STABLEHLO_SCATTER": "f32 f16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool",
    "STABLEHLO_GATHER": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "STABLEHLO_PAD": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool c64",
    "RANDOM_UNIFORM": "f32",
    "RANDOM_STANDARD_NORMAL": "f32",
    "DEQUANTIZE": "f16 i4 i8 u8 i16",
    "CAST": "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 bool c64",
    "TRANSPOSE_CONV": "f32",
}

MAX_RANK: dict[str, int] = {
    # Ranks at which the default interpreter still allocates and computes right (float32 fails at 7 in XNNPACK).
    "PAD": 5, "PADV2": 5, "BATCH_MATMUL": 5, "SPACE_TO_BATCH_ND": 4, "BATCH_TO_SPACE_ND": 4,
    "CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "TRANSPOSE_CONV": 4, "CONV_3D": 5, "CONV_3D_TRANSPOSE": 5,
    "AVERAGE_POOL_2D": 4, "MAX_POOL_2D": 4, "L2_POOL_2D": 4, "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4, "SPACE_TO_DEPTH": 4, "DEPTH_TO_SPACE": 4,
    "LOCAL_RESPONSE_NORMALIZATION": 4, "RESHAPE": 8, "TRANSPOSE": 8, "SLICE": 8, "STRIDED_SLICE": 8,
}
DEFAULT_MAX_RANK = 6
# Without a delegate above 6, which is XNNPACK's limit; it leaves these alone there.
_UNARY = (
    "ABS NEG SIGN CEIL FLOOR ROUND EXP SIN COS SQUARE RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ELU HARD_SWISH LOG SQRT "
    "RSQRT LOGISTIC TANH GELU LEAKY_RELU LOGICAL_NOT CAST BITCAST ZEROS_LIKE ATAN2 LOG_SOFTMAX ARG_MAX ARG_MIN CUMSUM "
    "TOPK_V2 REDUCE_PROD REDUCE_ANY REDUCE_ALL PRELU")
_BROADCASTING = (
    "ADD SUB MUL DIV MAXIMUM MINIMUM POW FLOOR_DIV FLOOR_MOD SQUARED_DIFFERENCE EQUAL NOT_EQUAL GREATER GREATER_EQUAL "
    "LESS LESS_EQUAL SELECT_V2 BROADCAST_TO LOGICAL_AND LOGICAL_OR BITWISE_XOR "
    "RIGHT_SHIFT STABLEHLO_ADD STABLEHLO_AND REVERSE_V2")
MAX_RANK.update({str(op): 10 for op in _UNARY.split()})
MAX_RANK.update({str(op): 8 for op in _BROADCASTING.split()})

# The next wider type in which integer and half-precision arithmetic is exact (results are cast back, which wraps
# for integers as ONNX does). float64 has none: it is narrowed, which the report says.
ARITHMETIC_WIDENING: dict[str, str] = {
    "i8": "i32", "u8": "i32", "i16": "i32", "u16": "i32", "u32": "i64",
    "f16": "f32", "bf16": "f32", "f64": "f32", "i32": "i64", "bool": "i32",
}

# Operators that XNNPACK takes over for float32 (rank <= 6, with the conditions of its delegate).
_XNNPACK = (
    "ABS NEG CEIL FLOOR ROUND EXP SIN COS SQUARE RELU RELU6 RELU_N1_TO_1 ELU HARD_SWISH LOG SQRT RSQRT LOGISTIC TANH "
    "GELU LEAKY_RELU ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU RESHAPE TRANSPOSE CONCATENATION SPLIT "
    "SLICE STRIDED_SLICE PAD SPACE_TO_DEPTH DEPTH_TO_SPACE SUM MEAN REDUCE_MAX REDUCE_MIN CONV_2D DEPTHWISE_CONV_2D "
    "TRANSPOSE_CONV FULLY_CONNECTED BATCH_MATMUL AVERAGE_POOL_2D MAX_POOL_2D RESIZE_BILINEAR SOFTMAX")
XNNPACK_FLOAT32 = frozenset(_XNNPACK.split())


@cache
def kernel_types(op: str) -> frozenset[ElementType] | None:
    """Types that `op`'s kernel takes, or None where no row limits it."""
    row = _KERNELS.get(op)
    return None if row is None else frozenset(SHORT[t] for t in row.split())


@cache
def compute_type(op: str, element: ElementType) -> ElementType | None:
    """The type in which `op` computes for operands of `element`: itself, a wider one, or None where there is none."""
    types = kernel_types(op)
    if types is None or element in types:
        return element
    short = {v: k for k, v in SHORT.items()}.get(element, "")
    while short := ARITHMETIC_WIDENING.get(short, ""):
        if SHORT[short] in types:
            return SHORT[short]
    return None


def max_rank(op: str) -> int:
    return MAX_RANK.get(op, DEFAULT_MAX_RANK)
