"""The pass: operators between DEQUANTIZE and QUANTIZE become LiteRT's integer operators."""

from __future__ import annotations

from dataclasses import dataclass, field

from fidelite.quantize.integer.exact import make_exact
from fidelite.quantize.integer.kernels import make_native
from fidelite.quantize.integer.moves import settle
from fidelite.quantize.integer.signs import to_signed
from fidelite.quantize.integer.strip import strip
from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Model, Operator
from fidelite.tflite.grid import grid_of
from fidelite.tflite.quantized import Kind, row_of


@dataclass(frozen=True, slots=True)
class Kept:
    """An operator that computes in float32, and why."""

    operator: Operator
    reason: str

    @property
    def name(self) -> str:
        """The source's nodes that it came from."""
        return ", ".join(self.operator.nodes) or self.operator.op


@dataclass
class Integerized:
    """What became of a model: how many operators compute in integers, and which stay float."""

    native: int = 0
    kept: list[Kept] = field(default_factory=list[Kept])

    def reasons(self) -> list[tuple[str, str]]:
        """The source's nodes that (also) compute in float32, each with the reason, once."""
        return list(dict.fromkeys((kept.name, kept.reason) for kept in self.kept))


def is_quantized(model: Model) -> bool:
    """Whether the model holds values or constants on a grid."""
    return any(o.op in ("QUANTIZE", "DEQUANTIZE") or any(
        t is not None and t.constant is not None and grid_of(t.constant) is not None for t in o.inputs)
        for graph in model.graphs for o in graph.operators)


def integerize(model: Model, *, keep_unsigned: bool = False) -> Integerized:
    """Change `model` in place: float operators whose operands and results are rounded to grids become integer ones.

    Each computes what it did, to within one step of its result's grid. Pairs of QUANTIZE and DEQUANTIZE that
    `annotate` put in and that served nothing are taken out again. uint8 becomes int8, unless `keep_unsigned`.
    """
    result = Integerized()
    for graph in model.graphs:
        if not any(o.op in ("QUANTIZE", "DEQUANTIZE") for o in graph.operators):
            continue
        if not keep_unsigned:
            to_signed(graph)
        work = Work(graph)
        settle(work)
        kept: list[Kept] = []
        for operator in graph.operators:
            if operator in graph and _computes(operator):
                reason = make_native(work, operator)
                if reason:
                    kept.append(Kept(operator, reason))
                else:
                    result.native += 1
        settle(work)
        strip(work)
        make_exact(work)
        graph.sort()
        result.kept += [k for k in kept if k.operator in graph and _computes(k.operator)]
    return result


_MOVING = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST", "SHAPE"})


def _computes(operator: Operator) -> bool:
    """Whether an operator computes something of float32 values: what moves them has been dealt with."""
    row = row_of(operator.op)
    if operator.op in _MOVING or (row is not None and row.kind is Kind.MOVES):
        return False
    return any(t is not None and t.element.is_float for t in operator.inputs)
