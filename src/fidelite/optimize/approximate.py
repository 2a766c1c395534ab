"""Rewrites that are not exact: asked for by name, told in the report, and proven at a tolerance of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt

from fidelite.optimize.passes import run_passes
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.types import ElementType

_CUBIC = 0.044715
"""Of the tanh form of GELU: Hendrycks and Gimpel, Gaussian Error Linear Units (2016)."""


@dataclass(frozen=True, slots=True)
class Approximated:
    """What one approximation changed: its name, and the source nodes of the operators that it rewrote."""

    name: str
    what: str
    nodes: tuple[str, ...]
    operators: int


def approximate(model: Model, names: Sequence[str]) -> list[Approximated]:
    """Apply the approximations in the order given, in every graph; an entry for each, also where it changed nothing."""
    found: list[Approximated] = []
    for name in names:
        rule = APPROXIMATIONS[name]
        nodes: list[str] = []
        count = 0
        for graph in model.graphs:
            b = Builder(graph)
            b.made_by = f"approximate {name}"
            for operator in graph.operators:
                b.nodes = operator.nodes
                if rule.rewrite(graph, b, operator):
                    count += 1
                    nodes += operator.nodes
            graph.sort()
        found.append(Approximated(name, rule.what, tuple(dict.fromkeys(nodes)), count))
    if any(a.operators for a in found):
        from fidelite.optimize.standard import TIDY

        for group in TIDY:
            run_passes(model, group)
    return found


def _half_pixels(graph: Graph, b: Builder, operator: Operator) -> bool:
    if operator.op != "RESIZE_BILINEAR" or not operator.options.get("alignCorners"):
        return False
    operator.options |= {"alignCorners": False, "halfPixelCenters": True}
    _forget(operator)
    return True


def _gelu(graph: Graph, b: Builder, operator: Operator) -> bool:
    x, result = operator.inputs[0], operator.outputs[0]
    if operator.op != "GELU" or x is None or x.element is not ElementType.FLOAT32 or x.quantization is not None:
        return False
    graph.remove(operator)
    made = gelu_by_tanh(b, x).producer
    assert made is not None
    graph.set_outputs(made, [result])
    result.origin = None
    return True


def gelu_by_tanh(b: Builder, x: Tensor) -> Tensor:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    cube = b.binary("MUL", x, b.binary("MUL", x, x))
    inner = b.binary("ADD", x, b.binary("MUL", cube, b.scalar(_CUBIC, x)))
    curve = b.unary("TANH", b.binary("MUL", inner, b.scalar(sqrt(2 / pi), x)))
    return b.binary("MUL", b.binary("MUL", x, b.scalar(0.5, x)), b.binary("ADD", curve, b.scalar(1.0, x)))


def _forget(operator: Operator) -> None:
    for result in operator.outputs:
        result.origin = None


@dataclass(frozen=True, slots=True)
class Approximation:
    what: str
    rewrite: Callable[[Graph, Builder, Operator], bool]


# The names are those of `options.APPROXIMATIONS`; their tolerances are in `check/tolerance.py`.
APPROXIMATIONS: Mapping[str, Approximation] = {
    "align-corners": Approximation("RESIZE_BILINEAR with aligned corners samples at half pixels instead", _half_pixels),
    "gelu-tanh": Approximation("GELU by its tanh form, of MUL, ADD and TANH", _gelu),
}
