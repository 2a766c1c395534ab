"""ONNX Runtime's own activations (com.microsoft): what its optimizer makes of patterns in a model.

Sources of all: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from fidelite.lower.functions import in_float32, times
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor

DOMAIN = "com.microsoft"


@lowers("Gelu", domain=DOMAIN)
def gelu(node: Node, b: Builder) -> Tensor:
    return b.gelu(node.input(0), approximate=False)


@lowers("BiasGelu", domain=DOMAIN)
def bias_gelu(node: Node, b: Builder) -> Tensor:
    return b.gelu(b.add(node.input(0), node.input(1)), approximate=False)


@lowers("FastGelu", domain=DOMAIN)
def fast_gelu(node: Node, b: Builder) -> Tensor:
    """GELU with tanh."""
    x, bias = node.input(0), node.optional(1)
    return b.gelu(x if bias is None else b.add(x, bias), approximate=True)


@lowers("QuickGelu", domain=DOMAIN)
def quick_gelu(node: Node, b: Builder) -> Tensor:
    """x sigmoid(alpha x)."""
    alpha = node.float_("alpha", 1.702)
    return in_float32(node.input(0), b, lambda x: b.mul(x, b.logistic(times(b, x, alpha))))
