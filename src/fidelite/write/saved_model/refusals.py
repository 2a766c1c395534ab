"""What of a graph TensorFlow has no exact operator for, told before anything is built."""

from __future__ import annotations

from collections.abc import Iterator

from fidelite.errors import UnsupportedOp, Where
from fidelite.tflite.graph import Model, Operator
from fidelite.tflite.types import ElementType
from fidelite.write.saved_model.table import makers

_NO_TENSORFLOW_TYPE = frozenset({ElementType.INT2, ElementType.UINT4, ElementType.FLOAT8_E4M3FN,
                                 ElementType.FLOAT8_E5M2})
# What LiteRT's kernels take and TensorFlow's (2.21) do not.
LACKING: dict[str, frozenset[ElementType]] = {
    op: frozenset({ElementType.BOOL, ElementType.COMPLEX64}) for op in ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")}
_SCATTER_MUL = "STABLEHLO_MULTIPLY"


def refusals(model: Model) -> list[UnsupportedOp]:
    """One error (F412) for each operator that has no exact counterpart; operators alike are told once."""
    found: dict[tuple[str, str], UnsupportedOp] = {}
    for graph in model.graphs:
        for operator in graph.operators:
            for reason in _reasons(operator):
                found.setdefault((operator.op, reason), UnsupportedOp(
                    f"{operator.op} has no exact counterpart in TensorFlow: {reason}", code="F412",
                    remedy="leave --saved-model out, or convert without quantization: --precision float32",
                    where=Where(node=", ".join(operator.nodes[:3]), op=operator.op), details={"op": operator.op}))
    return list(found.values())


def _reasons(operator: Operator) -> Iterator[str]:
    if operator.op not in makers():
        yield "it is not in the table of operators that a SavedModel can have"
        return
    tensors = [t for t in (*operator.inputs, *operator.outputs) if t is not None]
    if operator.op != "DEQUANTIZE" and any(t.quantization is not None for t in tensors):
        yield "it computes with quantized numbers (its weights are stored so), which TensorFlow only simulates"
    elements = {t.element for t in tensors}
    if operator.op == "STABLEHLO_SCATTER" and any(o.op == _SCATTER_MUL for g in operator.graphs for o in g.operators):
        yield "TensorFlow scatters sums and extremes, and no products"
    if missing := sorted(e.name for e in elements & (_NO_TENSORFLOW_TYPE | LACKING.get(operator.op, frozenset()))):
        yield f"TensorFlow has none for {', '.join(missing)}"
