"""Our own quantization: put QUANTIZE and DEQUANTIZE where calibration says what to round to.

What follows is what a model that came quantized has, so that one pass (`integerize`) makes both native.
"""

from __future__ import annotations

from collections.abc import Mapping

from fidelite.errors import QuantizationError
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.grid import ACTIVATIONS, Grid, on_grid
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType

NAME = "annotate"
Grids = Mapping[Tensor, Grid]


def annotate(model: Model, activations: Grids, weights: Grids | None = None) -> int:
    """Round float32 values to grids: a QUANTIZE and a DEQUANTIZE behind each, which all its readers read through.

    `activations` maps values (inputs, results of operators) to grids per tensor, in int8, uint8 or int16. `weights`
    maps constants to grids, per tensor or along an axis, which they are rounded to, half to even; the same constant
    may be an operand of several operators. Values that an operator only moves need no grid: where one is given for
    an operator's only operand, the one of its result is left out, so that it has that of the operand.

    Returns how many values were rounded. Raises QuantizationError (F466) for grids that do not fit their tensor.
    """
    weights = weights or {}
    count = 0
    for graph in model.graphs:
        for tensor in list(graph.tensors()):
            grid = weights.get(tensor) if tensor.is_constant else activations.get(tensor)
            if grid is None:
                continue
            _check(tensor, grid)
            if tensor.constant is not None:
                tensor.constant = on_grid(tensor.constant, grid, narrow=not any(grid.quantization.zero_point))
                count += 1
            elif not _follows(tensor, activations):
                _pair(graph, tensor, grid)
                count += 1
        graph.sort()
    return count


def _check(tensor: Tensor, grid: Grid) -> None:
    reason = ""
    if tensor.element is not ElementType.FLOAT32:
        reason = f"it is {tensor.element.name}, not float32"
    elif not tensor.is_constant and (not grid.per_tensor or grid.element not in ACTIVATIONS):
        reason = "values that change are rounded per tensor, to int8, uint8 or int16"
    elif not grid.per_tensor and (grid.quantization.axis >= tensor.rank or
                                  tensor.shape[grid.quantization.axis] != len(grid.quantization.scale)):
        reason = f"it has {len(grid.quantization.scale)} scales, and the shape {list(tensor.shape)}"
    elif not all(0 < s < float("inf") for s in grid.quantization.scale):
        reason = "a scale is not a positive number"
    if reason:
        raise QuantizationError(f"'{tensor.name}' cannot be rounded so: {reason}", code="F466",
                                remedy="give one positive scale for each value, and one for each channel of weights")


def _follows(tensor: Tensor, activations: Grids) -> bool:
    """Whether a value has been moved from one that is rounded, and nothing else."""
    maker = tensor.producer
    row = row_of(maker.op) if maker is not None else None
    if maker is None or row is None or row.kind is not Kind.MOVES:
        return False
    quantities = row.quantities(maker)
    if len(quantities) != 1 or maker.options.get("fusedActivationFunction"):
        return False
    source = quantities[0]
    return source in activations or _follows(source, activations)


def _pair(graph: Graph, tensor: Tensor, grid: Grid) -> None:
    """Let all who read `tensor` read it rounded. An output of the graph stays the output: what makes it makes the
    value before the rounding."""
    nodes = tensor.producer.nodes if tensor.producer is not None else ()
    stored = Tensor(f"{tensor.name}/{grid.element.name.lower()}", grid.element, tensor.shape,
                    quantization=grid.quantization)
    rounded = Tensor(f"{tensor.name}/rounded", tensor.element, tensor.shape)
    before = tensor
    if graph.is_output(tensor):
        maker = tensor.producer
        assert maker is not None
        before = Tensor(f"{tensor.name}/exact", tensor.element, tensor.shape)
        graph.set_outputs(maker, [before if t is tensor else t for t in maker.outputs])
        rounded = tensor
    else:
        graph.replace_uses(tensor, rounded)
    graph.append(Operator("QUANTIZE", [before], [stored], nodes=nodes, made_by=NAME))
    graph.append(Operator("DEQUANTIZE", [stored], [rounded], nodes=nodes, made_by=NAME))
