"""Builder methods for operators that put elements at computed places."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.tflite.builder.movement import MovementBuilder
from fidelite.tflite.dims import Shape
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.types import ElementType

SCATTER_REGIONS = {"none": None, "add": "STABLEHLO_ADD", "mul": "STABLEHLO_MULTIPLY", "max": "STABLEHLO_MAXIMUM",
                   "min": "STABLEHLO_MINIMUM"}
"""The operator that a scatter's region is made of, by ONNX's name of the reduction."""


class IndexingBuilder(MovementBuilder):
    """Scatter, update and search. Indices count from the front; LiteRT leaves out what lies outside."""

    def scatter(self, x: Tensor, indices: Tensor, updates: Tensor, reduction: str = "none") -> Tensor:
        """`x` with `updates` put in (or added, multiplied, ...) one after the other, so that the last one stays.

        The last axis of `indices` (int32 or int64) holds places along the first axes of `x`; `updates` has the
        other axes of `indices`, then the other axes of `x`.
        """
        depth = self.static_dim(indices.shape[-1], "the depth of the indices")
        if x.element is ElementType.BOOL:  # or, and
            reduction = {"add": "max", "mul": "min"}.get(reduction, reduction)
        carrier = self.carrier("STABLEHLO_SCATTER", x.element) if reduction == "none" else self.compute_type(
            "STABLEHLO_SCATTER", x.element)
        if carrier is not x.element:
            into, back = (self.bitcast, self.bitcast) if reduction == "none" else (self.cast, self.cast)
            return back(self.scatter(into(x, carrier), indices, into(updates, carrier), reduction), x.element)
        region = self._region(SCATTER_REGIONS[reduction], x.element)
        self.check_rank("STABLEHLO_SCATTER", x.rank)
        batch = indices.rank - 1
        options = {
            "updateWindowDims": list(range(batch, updates.rank)), "insertedWindowDims": list(range(depth)),
            "scatterDimsToOperandDims": list(range(depth)), "indexVectorDim": batch,
            "indicesAreSorted": False, "uniqueIndices": False, "updateComputationSubgraphIndex": region}
        result = Tensor(self.fresh_name("stablehlo_scatter"), x.element, x.shape)
        self.graph.append(Operator("STABLEHLO_SCATTER", [x, indices, updates], [result], options, nodes=self.nodes,
                                   made_by=self.made_by, graphs=(region,)))
        return result

    def _region(self, op: str | None, element: ElementType) -> Graph:
        """What a scatter does with the old and the new value; LiteRT takes none but these one-operator graphs."""
        key = ("region", op, element)
        if key not in self._regions:
            graph = Graph(f"scatter_{op or 'assign'}_{element.name}".lower())
            old, new = Tensor("old", element, ()), Tensor("new", element, ())
            graph.inputs += [old, new]
            if op is None:
                graph.outputs.append(new)
            else:
                result = Tensor("result", element, ())
                graph.append(Operator(op, [old, new], [result], made_by="scatter"))
                graph.outputs.append(result)
            self._regions[key] = graph
        return self._regions[key]

    def update_slice(self, x: Tensor, updates: Tensor, begin: Sequence[int]) -> Tensor:
        """`x` with the box that starts at `begin` taken from `updates`."""
        if updates.shape == x.shape:
            return updates
        return self.one("DYNAMIC_UPDATE_SLICE", [x, updates, self.int32(list(begin))], x.element, x.shape)

    def where(self, condition: Tensor) -> Tensor:
        """The places at which a bool tensor (rank 1 or more) holds, in row-major order: int64 [count, rank]."""
        result = self.one("WHERE", [condition], ElementType.INT64, (0, condition.rank))
        return self.sized_at_run_time(result, [None, condition.rank])

    def broadcast_shapes(self, a: Tensor, b: Tensor, rank: int) -> Tensor:
        """The shape that two shape vectors of int32 broadcast to."""
        shape: Shape = (rank,)
        return self.one("BROADCAST_ARGS", [a, b], ElementType.INT32, shape)
