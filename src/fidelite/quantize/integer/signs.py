"""uint8 as int8, 128 lower: LiteRT's int8 kernels take weights with a scale per channel, its uint8 kernels do not."""

from __future__ import annotations

from dataclasses import replace

from fidelite.quantize.integer.weights import Stored, stored_as, symmetric
from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.grid import Grid, grid_of_tensor
from fidelite.tflite.quantized import WEIGHTED
from fidelite.tflite.types import ElementType

_I8, _U8 = ElementType.INT8, ElementType.UINT8
_OFFSET = -128


def to_signed(graph: Graph) -> None:
    """Store values between QUANTIZE and DEQUANTIZE as int8 where they are uint8; those that others read too, and
    inputs, are shifted by one more QUANTIZE. Left alone where the weights ask for uint8."""
    if _wants_unsigned(graph):
        return
    work = Work(graph)
    for tensor in list(graph.tensors()):
        grid = grid_of_tensor(tensor)
        if grid is None or tensor.element is not _U8 or tensor.is_constant:
            continue
        readers = [u for u in tensor.users if u.op == "DEQUANTIZE"]
        maker = tensor.producer if tensor.producer is not None and tensor.producer.op == "QUANTIZE" else None
        if maker is not None and len(readers) == len(tensor.users) and tensor not in work.outputs:
            tensor.element, tensor.quantization = _I8, signed(grid).quantization
            continue
        if maker is not None:
            _shift_after(work, maker, tensor, grid)
        elif readers:
            shifted = work.rounded(tensor, signed(grid))
            for reader in readers:
                graph.set_inputs(reader, [shifted])
    graph.sort()


def _shift_after(work: Work, maker: Operator, tensor: Tensor, grid: Grid) -> None:
    """Round to int8, and shift from there to the uint8 that others read; DEQUANTIZE reads the int8."""
    stored = work.result_like(tensor, signed(grid))
    readers = [u for u in tensor.users if u.op == "DEQUANTIZE"]
    work.graph.set_outputs(maker, [stored])
    for reader in readers:
        work.graph.set_inputs(reader, [stored])
    work.graph.append(Operator("QUANTIZE", [stored], [tensor], nodes=maker.nodes, made_by=maker.made_by))


def signed(grid: Grid) -> Grid:
    """The grid of the same values in int8."""
    facts = grid.quantization
    return Grid(_I8, replace(facts, zero_point=tuple(z + _OFFSET for z in facts.zero_point)))


def _wants_unsigned(graph: Graph) -> bool:
    """Whether some weights are uint8 with a zero point other than 128, and all have one scale."""
    weights = [stored for o in graph.operators if (facts := WEIGHTED.get(o.op)) is not None
               and (stored := stored_as(_at(o.inputs, facts.weights))) is not None]
    return any(_asymmetric(s) for s in weights) and all(s.grid.per_tensor for s in weights)


def _at(operands: tuple[Tensor | None, ...], position: int) -> Tensor | None:
    return operands[position] if position < len(operands) else None


def _asymmetric(stored: Stored) -> bool:
    return stored.grid.element is _U8 and symmetric(stored) is None
