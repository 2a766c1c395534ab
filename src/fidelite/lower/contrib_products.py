"""ONNX Runtime's own convolutions and matrix products: with an activation, an addition or a transposition fused in.

Sources: ONNX Runtime, ContribOperators.md, and its CPU kernels where that is silent (FusedConv's parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.convolution import conv
from fidelite.lower.functions import times
from fidelite.lower.matmul import gemm, multiplied
from fidelite.lower.node import Node
from fidelite.lower.pooling import max_pool
from fidelite.lower.registry import lowers
from fidelite.lower.transposed import conv_transpose
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS

_Parameters = Sequence[float]


def _leaky(b: Builder, x: Tensor, p: _Parameters) -> Tensor:
    return b.leaky_relu(x, p[0] if p else 0.01)


def _hard_sigmoid(b: Builder, x: Tensor, p: _Parameters) -> Tensor:
    """max(0, min(1, alpha x + beta))"""
    alpha, beta = p if len(p) > 1 else (0.2, 0.5)
    line = b.binary("ADD", times(b, x, alpha), b.scalar(beta, x),
                    fusedActivationFunction=FUSED_ACTIVATIONS["RELU_N1_TO_1"])
    return b.relu(line)


def _clip(b: Builder, x: Tensor, p: _Parameters) -> Tensor:
    low, high = p
    return b.minimum(b.scalar(high, x), b.maximum(b.scalar(low, x), x))


_ACTIVATIONS: Mapping[str, Callable[[Builder, Tensor, _Parameters], Tensor]] = {
    "": lambda b, x, p: x,
    "Relu": lambda b, x, p: b.relu(x),
    "Tanh": lambda b, x, p: b.unary("TANH", x),
    "Sigmoid": lambda b, x, p: b.logistic(x),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
}
"""What ONNX Runtime's optimizer fuses into a product; the parameters are those of the operators of these names."""


def _activated(node: Node, b: Builder, x: Tensor, parameters: _Parameters) -> Tensor:
    name = node.str_("activation", "")
    if name not in _ACTIVATIONS:
        raise UnsupportedAttribute(f"the activation '{name}' is not one that ONNX Runtime's optimizer fuses",
                                   remedy=f"it fuses {', '.join(sorted(a for a in _ACTIVATIONS if a))}")
    return b.cast(_ACTIVATIONS[name](b, b.float32(x), parameters), x.element)


@lowers("FusedConv", domain=DOMAIN, partial="what Conv refuses")
def fused_conv(node: Node, b: Builder) -> Tensor:
    """activation(convolution + Z)"""
    result = conv(node.standing_for([node.input(0), node.input(1), node.optional(2)], 11), b)
    if (added := node.optional(3)) is not None:
        result = b.add(result, added)
    return _activated(node, b, result, list(node.floats("activation_params", ())))


@lowers("NhwcMaxPool", domain=DOMAIN)
def nhwc_max_pool(node: Node, b: Builder) -> Tensor:
    results = max_pool(node.standing_for([b.channels_first(node.input(0))], 12), b)
    assert results[0] is not None
    return b.channels_last(results[0])


@lowers("ConvTransposeWithDynamicPads", domain=DOMAIN, partial="pads that are not constant; what ConvTranspose refuses")
def conv_transpose_with_pads(node: Node, b: Builder) -> Tensor:
    """ConvTranspose with its pads as the third operand, and the bias as the fourth."""
    operands = [node.input(0), node.input(1), node.optional(3)]
    if node.optional(2) is None:
        return conv_transpose(node.standing_for(operands, 11), b)
    import onnx_ir

    pads = node.ints_at(2, "the pads")
    inner = node.node
    attributes = [a for name, a in inner.attributes.items() if name != "pads"]
    copy = onnx_ir.Node("", "ConvTranspose", [], [*attributes, onnx_ir.AttrInt64s("pads", pads)], name=inner.name,
                        num_outputs=1)
    return conv_transpose(Node(copy, {"": 11}, 11, operands, lambda tensor: None), b)


@lowers("FusedGemm", domain=DOMAIN)
def fused_gemm(node: Node, b: Builder) -> Tensor:
    product = gemm(node.standing_for([node.input(0), node.input(1), node.optional(2)], 13), b)
    return _activated(node, b, product, _separate_parameters(node))


def _separate_parameters(node: Node) -> list[float]:
    """activation_alpha and activation_beta, as far as the activation has them."""
    names = {"LeakyRelu": ("activation_alpha",), "HardSigmoid": ("activation_alpha", "activation_beta"),
             "Clip": ("activation_alpha", "activation_beta")}.get(node.str_("activation", ""), ())
    return [node.float_(name) for name in names if node.has(name)]


@lowers("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def fused_matmul(node: Node, b: Builder) -> Tensor:
    """alpha times the product of A and B, whose last two axes (trans) or whose first and last but one (transBatch)
    are swapped."""
    x, y = (_transposed(node, b, node.input(i), side) for i, side in ((0, "A"), (1, "B")))
    return b.cast(times(b, b.float32(multiplied(b, x, y)), node.float_("alpha", 1.0)), x.element)


def _transposed(node: Node, b: Builder, x: Tensor, side: str) -> Tensor:
    """`transBatch`: the first axis goes behind the other batch axes, which move up."""
    if x.rank < 2:
        return x
    order = list(range(x.rank))
    if node.int_(f"transBatch{side}", 0):
        order = [*range(1, x.rank - 1), 0, x.rank - 1]
    if node.int_(f"trans{side}", 0):
        order[-2:] = order[:-3:-1]
    return b.transpose(x, order)


@lowers("Inverse", domain=DOMAIN, partial="matrices of more than 3 rows; dynamic sizes")
def inverse(node: Node, b: Builder) -> Tensor:
    """The adjugate divided by the determinant."""
    x = b.float32(node.input(0))
    size = b.static_dim(x.shape[-1], "the size of an inverted matrix")
    if size > 3:
        raise UnsupportedAttribute(f"the inverse of a matrix of {size} rows has no lowering that is exact enough",
                                   remedy="solve the equations outside of the model")

    def entry(i: int, j: int) -> Tensor:
        return b.slice(x, [*[0] * (x.rank - 2), i, j], [*x.shape[:-2], 1, 1])

    def cofactor(i: int, j: int) -> Tensor:
        """That of row i and column j."""
        if size == 1:
            return b.add(b.mul(entry(0, 0), b.scalar(0.0, x)), b.scalar(1.0, x))
        if size == 2:
            return times(b, entry(1 - i, 1 - j), -1.0 if i != j else 1.0)
        rows, columns = ([(k + 1) % 3, (k + 2) % 3] for k in (i, j))
        return b.sub(b.mul(entry(rows[0], columns[0]), entry(rows[1], columns[1])),
                     b.mul(entry(rows[0], columns[1]), entry(rows[1], columns[0])))

    cofactors = [[cofactor(i, j) for j in range(size)] for i in range(size)]
    determinant = b.mul(entry(0, 0), cofactors[0][0])
    for j in range(1, size):
        determinant = b.add(determinant, b.mul(entry(0, j), cofactors[0][j]))
    rows = [b.concat([cofactors[j][i] for j in range(size)], -1) for i in range(size)]
    return b.cast(b.div(b.concat(rows, -2), determinant), node.input(0).element)


@lowers("CDist", domain=DOMAIN, partial="metrics other than euclidean and sqeuclidean; float64")
def cdist(node: Node, b: Builder) -> Tensor:
    """The distance of each row of A to each row of B, as the root of the sum of squared differences."""
    metric = node.str_("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise UnsupportedAttribute(f"the metric '{metric}' has no lowering", remedy="use euclidean or sqeuclidean")
    x, y = (b.float32(node.input(i)) for i in (0, 1))
    squares = b.binary("SQUARED_DIFFERENCE", b.unsqueeze(x, [1]), b.unsqueeze(y, [0]))
    total = b.reduce("SUM", squares, [2], keep_dims=False)
    return b.cast(b.unary("SQRT", total) if metric == "euclidean" else total, node.input(0).element)
