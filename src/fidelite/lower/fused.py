"""Operators that `prepare.patterns` made of several."""

from __future__ import annotations

from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("Gelu", domain="fidelite")
def gelu(node: Node, b: Builder) -> Tensor:
    return b.gelu(node.input(0), approximate=False)
