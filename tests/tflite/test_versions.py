"""Versions of operators, against rows of TensorFlow's op_version.cc; and every one is known to LiteRT."""

from __future__ import annotations

from typing import Any

import pytest

from fidelite.tflite.graph import Operator, Quantization, Tensor
from fidelite.tflite.types import SHORT
from fidelite.tflite.versions import op_version

_ONE = Quantization((0.1,), (0,))
_MANY = Quantization((0.1,) * 4, (0,) * 4)

ROWS: list[tuple[int, str, str, str, dict[str, Any]]] = [
    # version, operator, operands (type, rank, q: on a grid, c: on one per channel), result, options
    (1, "CONV_2D", "f32:4 f32:4 f32:1", "f32:4", {}),
    (3, "CONV_2D", "i8:4q i8:4c i32:1", "i8:4q", {}),
    (7, "CONV_2D", "i8:4q i4:4c i32:1", "i8:4q", {}),
    (4, "CONV_2D", "i16:4q i8:4c i64:1", "i16:4q", {}),
    (8, "CONV_2D", "i16:4q i8:4c i32:1", "i16:4q", {"quantizedBiasType": 2}),
    (5, "CONV_2D", "f32:4 i8:4c f32:1", "f32:4", {}),
    (2, "CONV_2D", "f32:4 i8:4q f32:1", "f32:4", {}),
    (6, "DEPTHWISE_CONV_2D", "f32:4 i8:4c f32:1", "f32:4", {}),
    (3, "DEPTHWISE_CONV_2D", "i8:4q i8:4c i32:1", "i8:4q", {}),
    (2, "DEPTHWISE_CONV_2D", "f32:4 f32:4 f32:1", "f32:4", {"dilationWFactor": 2}),
    (1, "FULLY_CONNECTED", "f32:2 f32:2 f32:1", "f32:2", {}),
    (6, "FULLY_CONNECTED", "f32:2 f32:2", "f32:2", {}),
    (4, "FULLY_CONNECTED", "i8:2q i8:2c i32:1", "i8:2q", {}),
    (5, "FULLY_CONNECTED", "i8:3q i8:2c i32:1", "i8:3q", {"keepNumDims": True}),
    (10, "FULLY_CONNECTED", "i8:2q i4:2c i32:1", "i8:2q", {}),
    (12, "FULLY_CONNECTED", "f32:2 i8:2c f32:1", "f32:2", {"asymmetricQuantizeInputs": True}),
    (9, "FULLY_CONNECTED", "f32:2 i8:2q f32:1", "f32:2", {"asymmetricQuantizeInputs": True}),
    (2, "TRANSPOSE_CONV", "i32:1 i8:4c i8:4q", "i8:4q", {}),
    (4, "TRANSPOSE_CONV", "i32:1 f32:4 f32:4 f32:1", "f32:4", {"fusedActivationFunction": 1}),
    (3, "MUL", "i8:4q i8:4q", "i8:4s", {}),
    (2, "MUL", "i8:4q i8:4q", "i8:4q", {}),
    (4, "MUL", "i16:4q i16:4q", "i16:4q", {}),
    (7, "MUL", "i16:4 i16:4", "i16:4", {}),
    (5, "MUL", "i64:2 i64:2", "i64:2", {}),
    (3, "ADD", "i16:4q i16:4q", "i16:4q", {}),
    (5, "ADD", "i16:4 i16:4", "i16:4", {}),
    (2, "ADD", "i8:4q i8:4q", "i8:4q", {}),
    (5, "DEQUANTIZE", "i8:4c", "f32:4", {}),
    (2, "DEQUANTIZE", "i8:4q", "f32:4", {}),
    (6, "DEQUANTIZE", "i4:4q", "f32:4", {}),
    (3, "QUANTIZE", "f32:4", "i8:4c", {}),
    (2, "QUANTIZE", "f32:4", "i16:4q", {}),
    (1, "QUANTIZE", "f32:4", "u8:4q", {}),
    (1, "LEAKY_RELU", "i8:4q", "i8:4q", {}),
    (2, "LEAKY_RELU", "i16:4q", "i16:4q", {}),
    (4, "RESIZE_BILINEAR", "i16:4q i32:1", "i16:4q", {"halfPixelCenters": True}),
    (2, "SUM", "i8:4q i32:1", "i8:4q", {}),
    (1, "SUM", "i16:4q i32:1", "i16:4q", {}),
    (3, "CAST", "i8:4", "f32:4", {}),
    (5, "CAST", "f16:4", "f32:4", {}),
    (1, "CAST", "i32:4", "f32:4", {}),
    (3, "FILL", "i32:1 i8:0", "i8:2", {}),
    (6, "TRANSPOSE", "i8:6q i32:1", "i8:6q", {}),
]


def _tensor(text: str) -> Tensor:
    short, _, rest = text.partition(":")
    facts = {"": None, "q": _ONE, "c": _MANY, "s": Quantization((0.001,), (0,))}[rest[1:]]
    return Tensor(text, SHORT[short], (4,) * int(rest[0]), quantization=facts)


@pytest.mark.parametrize(("version", "op", "operands", "result", "options"), ROWS)
def test_version(version: int, op: str, operands: str, result: str, options: dict[str, Any]) -> None:
    operator = Operator(op, [_tensor(t) for t in operands.split()], [_tensor(result)], options)
    assert op_version(operator) == version


def test_a_version_that_was_read_stays() -> None:
    operator = Operator("ADD", [_tensor("f32:1"), _tensor("f32:1")], [_tensor("f32:1")])
    operator.version = 7
    assert op_version(operator) == 7
