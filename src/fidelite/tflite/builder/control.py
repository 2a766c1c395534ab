"""Builder methods for operators that call other graphs: IF and WHILE."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.tflite.builder.movement import MovementBuilder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.types import ElementType

Results = Sequence[tuple[ElementType, Sequence[Dim | None]]]
"""Element types and shapes; None is a size that only the run time knows."""


class ControlBuilder(MovementBuilder):
    """The called graphs take all operands as inputs, in order."""

    def if_(self, condition: Tensor, then: Graph, otherwise: Graph, operands: Sequence[Tensor],
            results: Results) -> list[Tensor]:
        """What `then` gives where `condition` (a bool of rank 0) holds, else what `otherwise` gives."""
        return self._call("IF", [condition, *operands], results, "then", then, "else", otherwise)

    def while_(self, condition: Graph, body: Graph, operands: Sequence[Tensor], results: Results) -> list[Tensor]:
        """`operands` put through `body` as long as `condition` gives true for them."""
        return self._call("WHILE", operands, results, "cond", condition, "body", body)

    def _call(self, op: str, operands: Sequence[Tensor], results: Results, first: str, one: Graph, second: str,
              two: Graph) -> list[Tensor]:
        outputs = [self.sized_at_run_time(Tensor(self.fresh_name(op.lower()), element, ()), list(shape))
                   for element, shape in results]
        self.graph.append(Operator(op, operands, outputs, {f"{first}SubgraphIndex": one, f"{second}SubgraphIndex": two},
                                   nodes=self.nodes, made_by=self.made_by, graphs=(one, two)))
        return outputs
