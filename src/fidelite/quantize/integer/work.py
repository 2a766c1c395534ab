"""A graph while its operators are made integer: what lies behind a float value, and what it is rounded to."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.grid import Grid, Quantize, grid_of_tensor

NAME = "integerize"


class Work:
    """One graph. Its outputs own their tensors, which are never replaced by others."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = graph.output_set()
        self.b = Builder(graph)
        self.b.made_by = NAME

    # -- what is there

    def behind(self, tensor: Tensor) -> Tensor | None:
        """The integers that a float value was made from by DEQUANTIZE."""
        maker = tensor.producer
        if maker is None or maker.op != "DEQUANTIZE":
            return None
        stored = maker.inputs[0]
        return stored if stored is not None and grid_of_tensor(stored) is not None else None

    def target(self, tensor: Tensor) -> Grid | None:
        """The grid that all readers of a float value round it to; None where one does not, or on another."""
        if tensor in self.outputs or not tensor.users:
            return None
        grids = [grid_of_tensor(u.outputs[0]) if u.op == "QUANTIZE" else None for u in tensor.users]
        return grids[0] if all(g is not None and g == grids[0] for g in grids) else None

    # -- what is made

    def stored(self, constant: Constant, grid: Grid, name: str) -> Tensor:
        """A float constant as integers on `grid`."""
        return self.on(constant.then(Quantize(grid)), grid, name)

    @staticmethod
    def on(integers: Constant, grid: Grid, name: str) -> Tensor:
        """A constant of integers that lie on `grid`."""
        return Tensor(name, integers.element, integers.shape, constant=integers, quantization=grid.quantization)

    def rounded(self, tensor: Tensor, grid: Grid) -> Tensor:
        """A value (float, or integers on another grid) on `grid`, by QUANTIZE; one that is there already serves."""
        if tensor.element is grid.element and tensor.quantization == grid.quantization:
            return tensor
        for user in tensor.users:
            if user.op == "QUANTIZE" and grid_of_tensor(user.outputs[0]) == grid:
                return user.outputs[0]
        if tensor.producer is not None:
            self.b.nodes = tensor.producer.nodes
        result = self.b.emit("QUANTIZE", [tensor], [(grid.element, tensor.shape)])[0]
        result.quantization = grid.quantization
        return result

    def integer(self, tensor: Tensor, grid: Grid) -> Tensor:
        """A float value as integers on `grid`: what lies behind it, or rounded."""
        if tensor.constant is not None:
            return self.stored(tensor.constant, grid, tensor.name)
        behind = self.behind(tensor)
        return self.rounded(tensor if behind is None else behind, grid)

    def give(self, operator: Operator, results: Sequence[Tensor]) -> None:
        """Let `operator`, now an integer operator, make integers: what its float results were rounded to
        (`results` are on their grid). The QUANTIZEs fall away, if the grid is theirs."""
        made: list[Tensor] = []
        for old, new in zip(operator.outputs, results, strict=True):
            if new is old:  # no quantity: an index
                made.append(old)
                continue
            readers = [u for u in old.users if u.op == "QUANTIZE" and
                       grid_of_tensor(u.outputs[0]) == grid_of_tensor(new)]
            owned = [u for u in readers if u.outputs[0] in self.outputs]
            main = next(iter(owned or readers), None)
            made.append(new if main is None else main.outputs[0])
            for reader in readers:
                if reader is not main and reader in owned:  # a second output with the same value: a copy
                    self.graph.set_inputs(reader, [made[-1]])
                    continue
                self.graph.remove(reader)
                if reader is not main:
                    self.graph.replace_uses(reader.outputs[0], made[-1])
        old_results = operator.outputs
        self.graph.set_outputs(operator, made)
        for old, new in zip(old_results, made, strict=True):
            if new is not old and (old.users or old in self.outputs):
                self._restore(old, new, operator)

    def _restore(self, old: Tensor, new: Tensor, operator: Operator) -> None:
        """Let DEQUANTIZE make a float value from integers."""
        self.graph.append(Operator("DEQUANTIZE", [new], [old], nodes=operator.nodes, made_by=NAME))

    def result_like(self, old: Tensor, grid: Grid) -> Tensor:
        """A new tensor of integers on `grid`, for the float result `old`."""
        return Tensor(f"{old.name}/{grid.element.name.lower()}", grid.element, old.shape,
                      quantization=grid.quantization)

    def drop_dead(self) -> None:
        """Take out QUANTIZEs and DEQUANTIZEs (and what moved values between them) that nobody reads."""
        for operator in reversed(self.graph.operators):
            if operator.op in ("QUANTIZE", "DEQUANTIZE") and not any(
                    t.users or t in self.outputs for t in operator.outputs):
                self.graph.remove(operator)
