"""Inputs and outputs of an integer graph as integers: the conversions at its ends fall away."""

from __future__ import annotations

from dataclasses import replace

from fidelite.quantize.integer.work import grid_of_tensor
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.grid import Grid
from fidelite.tflite.types import ElementType

NAME = "ports"


def retype_ports(model: Model, element: ElementType) -> tuple[dict[str, Grid], dict[str, str]]:
    """Let float32 inputs and outputs be stored as `element` (INT8 or UINT8) where the graph works on integers there.

    Returns the grids by name, and for those that stay float32 the reason. uint8 is the int8 grid, 128 higher; a
    QUANTIZE between the two is exact.
    """
    grids: dict[str, Grid] = {}
    kept: dict[str, str] = {}
    graph = model.main
    for tensor in tuple(graph.inputs):
        if tensor.element is ElementType.FLOAT32:
            found = _input(model, graph, tensor, element)
            grids.update({tensor.name: found} if isinstance(found, Grid) else {})
            kept.update({tensor.name: found} if isinstance(found, str) else {})
    for tensor in tuple(graph.outputs):
        if tensor.element is ElementType.FLOAT32:
            found = _output(model, graph, tensor, element)
            grids.update({tensor.name: found} if isinstance(found, Grid) else {})
            kept.update({tensor.name: found} if isinstance(found, str) else {})
    graph.sort()
    return grids, kept


def _as(grid: Grid, element: ElementType) -> Grid:
    if grid.element is element:
        return grid
    facts = grid.quantization
    return Grid(element, replace(facts, zero_point=tuple(z + 128 for z in facts.zero_point)))


def _input(model: Model, graph: Graph, tensor: Tensor, element: ElementType) -> Grid | str:
    grids = {grid_of_tensor(u.outputs[0]) if u.op == "QUANTIZE" else None for u in tensor.users}
    grid = next(iter(grids), None)
    if len(grids) != 1 or grid is None or tensor in graph.output_set():
        readers = sorted({u.op for u in tensor.users if u.op != "QUANTIZE"})
        return f"it is read in float32 by {', '.join(readers)}" if readers else "it is read on several scales, or not"
    if grid.element is not ElementType.INT8:
        return f"it is read as {grid.element.name.lower()}"
    stored = Tensor(tensor.name, element, tensor.shape, quantization=_as(grid, element).quantization,
                    origin=tensor.origin)
    _swap(model, tensor, stored)
    for user in tuple(tensor.users):
        if element is grid.element and not graph.is_output(user.outputs[0]):
            graph.remove(user)
            graph.replace_uses(user.outputs[0], stored)
        else:
            graph.set_inputs(user, [stored])
    return _as(grid, element)


def _output(model: Model, graph: Graph, tensor: Tensor, element: ElementType) -> Grid | str:
    maker = tensor.producer
    behind = maker.inputs[0] if maker is not None and maker.op == "DEQUANTIZE" else None
    grid = grid_of_tensor(behind) if behind is not None else None
    if maker is None or behind is None or grid is None or tensor.users:
        return "it is computed in float32" if not tensor.users else "it is read again in float32"
    if grid.element is not ElementType.INT8:
        return f"it is computed as {grid.element.name.lower()}"
    stored = Tensor(tensor.name, element, tensor.shape, quantization=_as(grid, element).quantization,
                    origin=tensor.origin)
    graph.remove(maker)
    source = behind.producer
    if element is grid.element and source is not None and behind not in graph.output_set() and not behind.users:
        graph.set_outputs(source, [stored if t is behind else t for t in source.outputs])
    else:
        graph.append(Operator("QUANTIZE", [behind], [stored], nodes=maker.nodes, made_by=NAME))
    _swap(model, tensor, stored)
    return _as(grid, element)


def _swap(model: Model, old: Tensor, new: Tensor) -> None:
    """Let inputs, outputs and signatures of the main graph name `new` where they named `old`."""
    graph = model.main
    graph.inputs = [new if t is old else t for t in graph.inputs]
    graph.outputs = [new if t is old else t for t in graph.outputs]
    for signature in model.signatures:
        signature.inputs = [(n, new if t is old else t) for n, t in signature.inputs]
        signature.outputs = [(n, new if t is old else t) for n, t in signature.outputs]
