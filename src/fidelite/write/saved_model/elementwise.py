"""Operators that work element by element."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from fidelite.write.saved_model.table import Call, Family

FAMILY = Family({})

_UNARY = {
    "ABS": "abs", "NEG": "negative", "SIGN": "sign", "CEIL": "math.ceil", "FLOOR": "math.floor", "ROUND": "round",
    "EXP": "exp", "SIN": "sin", "COS": "cos", "SQUARE": "square", "LOG": "math.log", "SQRT": "sqrt",
    "RSQRT": "math.rsqrt", "LOGISTIC": "sigmoid", "TANH": "tanh", "RELU": "nn.relu", "RELU6": "nn.relu6",
    "ELU": "nn.elu", "LOGICAL_NOT": "logical_not", "ZEROS_LIKE": "zeros_like", "LOG_SOFTMAX": "nn.log_softmax",
}
_BINARY = {
    "ADD": "add", "SUB": "subtract", "MUL": "multiply", "MAXIMUM": "maximum", "MINIMUM": "minimum", "POW": "pow",
    "FLOOR_DIV": "math.floordiv", "FLOOR_MOD": "math.floormod", "SQUARED_DIFFERENCE": "math.squared_difference",
    "ATAN2": "atan2", "EQUAL": "equal", "NOT_EQUAL": "not_equal", "GREATER": "greater", "LESS": "less",
    "GREATER_EQUAL": "greater_equal", "LESS_EQUAL": "less_equal", "LOGICAL_AND": "logical_and",
    "LOGICAL_OR": "logical_or", "BITWISE_XOR": "bitwise.bitwise_xor", "RIGHT_SHIFT": "bitwise.right_shift",
}
# STABLEHLO's kernels take booleans, too: their sum is OR, their product AND (`kernels.py`).
_STABLEHLO = {
    "STABLEHLO_ADD": ("add", "logical_or"), "STABLEHLO_MULTIPLY": ("multiply", "logical_and"),
    "STABLEHLO_MAXIMUM": ("maximum", "logical_or"), "STABLEHLO_MINIMUM": ("minimum", "logical_and"),
    "STABLEHLO_AND": ("bitwise.bitwise_and", "logical_and"),
}
_CLIPS = {"RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
# `ActivationFunctionType` of the schema.
_ACTIVATIONS = {1: "nn.relu", 2: "", 3: "nn.relu6", 4: "tanh"}


def activated(call: Call, x: Any) -> Any:
    """`x` through the activation that the operator has fused into it."""
    code = int(call.option("fusedActivationFunction", 0))
    if code == 0:
        return x
    return clipped(call.tf, x, *_CLIPS["RELU_N1_TO_1"]) if code == 2 else attrgetter(_ACTIVATIONS[code])(call.tf)(x)


def clipped(tf: Any, x: Any, low: float, high: float) -> Any:
    return tf.minimum(tf.maximum(x, tf.cast(low, x.dtype)), tf.cast(high, x.dtype))


def _named(path: str, call: Call) -> Any:
    return activated(call, attrgetter(path)(call.tf)(*call.operands))


def _by_type(paths: tuple[str, str], call: Call) -> Any:
    return attrgetter(paths[call[0].dtype == call.tf.bool])(call.tf)(*call.operands)


for _op, _path in (_UNARY | _BINARY).items():
    FAMILY.makes(_op)(partial(_named, _path))
for _op, _paths in _STABLEHLO.items():
    FAMILY.makes(_op)(partial(_by_type, _paths))


@FAMILY.makes("DIV")
def _div(call: Call) -> Any:
    """Of integers the quotient towards zero, as LiteRT has it (tf.divide would give floats)."""
    return activated(call, call.tf.raw_ops.Div(x=call[0], y=call[1]))


@FAMILY.makes("RELU_N1_TO_1", "RELU_0_TO_1")
def _clip(call: Call) -> Any:
    return clipped(call.tf, call[0], *_CLIPS[call.operator.op])


@FAMILY.makes("HARD_SWISH")
def _hard_swish(call: Call) -> Any:
    """x * relu6(x + 3) / 6 (Howard et al., Searching for MobileNetV3)."""
    return call[0] * call.tf.nn.relu6(call[0] + 3.0) * (1.0 / 6.0)


@FAMILY.makes("GELU")
def _gelu(call: Call) -> Any:
    return call.tf.nn.gelu(call[0], approximate=bool(call.option("approximate", False)))


@FAMILY.makes("LEAKY_RELU")
def _leaky_relu(call: Call) -> Any:
    return call.tf.nn.leaky_relu(call[0], alpha=float(call.option("alpha", 0.0)))


@FAMILY.makes("PRELU")
def _prelu(call: Call) -> Any:
    return call.tf.nn.relu(call[0]) + call[1] * call.tf.minimum(call[0], 0.0)


@FAMILY.makes("SOFTMAX")
def _softmax(call: Call) -> Any:
    beta = float(call.option("beta", 1.0))
    return call.tf.nn.softmax(call[0] if beta == 1.0 else call[0] * beta)


@FAMILY.makes("SELECT_V2")
def _select(call: Call) -> Any:
    return call.tf.where(*call.operands)


@FAMILY.makes("CAST")
def _cast(call: Call) -> Any:
    return call.tf.cast(call[0], call.dtype())


@FAMILY.makes("BITCAST")
def _bitcast(call: Call) -> Any:
    return call.tf.bitcast(call[0], call.dtype())


@FAMILY.makes("DEQUANTIZE")
def _dequantize(call: Call) -> Any:
    """float16 widened; of integers (stored - zero point) * scale, with figures per tensor or along one axis."""
    tf, facts = call.tf, call.tensor(0).quantization
    wide = tf.cast(call[0], tf.float32)
    if facts is None:
        return wide
    shape = [-1 if i == facts.axis else 1 for i in range(call.tensor(0).rank)] if len(facts.scale) > 1 else []
    zeros = facts.zero_point if len(facts.zero_point) == len(facts.scale) else [0] * len(facts.scale)
    scale, zero = (tf.reshape(tf.constant([float(x) for x in row]), shape) for row in (facts.scale, zeros))
    return (wide - zero) * scale
