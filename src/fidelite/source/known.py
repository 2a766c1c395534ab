"""What is certain of a value's shape, worked out by rules that cannot be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

Dims = tuple[int | None, ...]
"""A shape of which None dimensions are unknown."""

ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "And", "Or", "Xor", "Equal", "Less", "Greater"}
    | {"LessOrEqual", "GreaterOrEqual", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"}
)
"""Two operands that broadcast."""
SAME_SHAPE = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "ThresholdedRelu",
        "Sigmoid",
        "HardSigmoid",
        "Tanh",
        "HardSwish",
        "Swish",
        "Elu",
        "Selu",
    }
    | {
        "Celu",
        "Softplus",
        "Softsign",
        "Mish",
        "Gelu",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Abs",
        "Neg",
        "Reciprocal",
    }
    | {
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Sin",
        "Cos",
        "Not",
        "Clip",
        "Identity",
        "Cast",
        "Dropout",
        "Softmax",
    }
    | {"LogSoftmax", "Hardmax", "LRN", "BatchNormalization", "InstanceNormalization", "LayerNormalization"}
    | {"GroupNormalization", "RMSNormalization", "LpNormalization", "MeanVarianceNormalization"}
)
"""The first result has the first operand's shape."""
POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
GLOBAL_POOLS = frozenset({"GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"})


def known_shape(shape: ir.ShapeProtocol) -> Dims:
    return tuple(d if isinstance(d, int) else None for d in shape)


def infer(node: ir.Node, shapes: Sequence[Dims | None]) -> Dims | None:
    """What is certain of the first output's shape. Only rules that cannot be wrong."""
    op = node.op_type
    first = shapes[0] if shapes else None
    if op in SAME_SHAPE:
        return first
    if op == "Constant":
        value = node.attributes.get("value")
        tensor = value is not None and not value.is_ref() and value.type == ir.AttributeType.TENSOR
        return known_shape(value.as_tensor().shape) if tensor and value is not None else None
    if op in ("Conv", "ConvTranspose"):
        return _convolved(node, first, shapes[1] if len(shapes) > 1 else None)
    if first is None:
        return None
    if op in POOLS and len(first) > 2:
        return (*first[:2], *[None] * (len(first) - 2))
    if op in GLOBAL_POOLS and len(first) > 2:
        return (*first[:2], *[1] * (len(first) - 2))
    if op in ELEMENTWISE and len(shapes) > 1 and shapes[1] is not None and "broadcast" not in node.attributes:
        return broadcast(first, shapes[1])
    if op == "Concat":
        return _concatenated(node, shapes)
    return None


def _convolved(node: ir.Node, x: Dims | None, weight: Dims | None) -> Dims | None:
    if weight is None or len(weight) < 3:
        return None
    channels = weight[0]
    if node.op_type == "ConvTranspose":
        group = node.attributes.get("group")
        count = group.as_int() if group is not None and not group.is_ref() else 1
        channels = None if weight[1] is None else weight[1] * count
    batch = x[0] if x else None
    return (batch, channels, *[None] * (len(weight) - 2))


def broadcast(a: Dims, b: Dims) -> Dims:
    """The shape of an elementwise result: https://onnx.ai/onnx/repo-docs/Broadcasting.html"""
    rank = max(len(a), len(b))
    wide_a, wide_b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(_wider(x, y) for x, y in zip(wide_a, wide_b, strict=True))


def _wider(x: int | None, y: int | None) -> int | None:
    if x == 1:
        return y
    if y == 1 or y is None:
        return x
    return y


def _concatenated(node: ir.Node, shapes: Sequence[Dims | None]) -> Dims | None:
    axis = node.attributes.get("axis")
    known = [s for s in shapes if s is not None]
    if axis is None or axis.is_ref() or len(known) != len(shapes) or len({len(s) for s in known}) != 1:
        return None
    rank = len(known[0])
    at = axis.as_int() % rank if rank else 0
    out: list[int | None] = []
    for i in range(rank):
        dims = [s[i] for s in known]
        if i == at:
            out.append(None if None in dims else sum(d for d in dims if d is not None))
        else:
            out.append(next((d for d in dims if d is not None), None))
    return tuple(out)
