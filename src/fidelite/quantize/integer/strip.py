"""Take out rounding that `annotate` put in and that no integer operator needed."""

from __future__ import annotations

from fidelite.quantize.integer.annotate import NAME
from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType


def strip(work: Work) -> None:
    """Let float operators read values as they were before rounding, through operators that only moved them."""
    while _widen(work):
        work.graph.sort()
    for operator in work.graph.operators:
        source = operator.inputs[0]
        if operator.op != "DEQUANTIZE" or source is None or not _is_own(source.producer):
            continue
        assert source.producer is not None
        value, result = source.producer.inputs[0], operator.outputs[0]
        if value is None or not value.element.is_float:
            continue
        if result in work.outputs:
            _make_output(work, value, operator)
        else:
            work.graph.replace_uses(result, value)
            work.graph.remove(operator)
    work.drop_dead()


def _is_own(operator: Operator | None) -> bool:
    """Whether a QUANTIZE was put in by `annotate` (or before what it had been put behind)."""
    return operator is not None and operator.op == "QUANTIZE" and operator.made_by == NAME


def _make_output(work: Work, value: Tensor, operator: Operator) -> None:
    """Let what makes `value` make the output that DEQUANTIZE made of it."""
    maker, result = value.producer, operator.outputs[0]
    if maker is None or value in work.outputs:
        return
    work.graph.remove(operator)
    work.graph.set_outputs(maker, [result if t is value else t for t in maker.outputs])
    work.graph.replace_uses(value, result)


def _widen(work: Work) -> int:
    """An operator that moves integers which were rounded just before it, and are made float just after: move the
    float values."""
    count = 0
    for operator in work.graph.operators:
        row = row_of(operator.op)
        if row is None or row.kind is not Kind.MOVES or operator not in work.graph:
            continue
        results = [t for t in operator.outputs if t.quantization is not None]
        if not results or any(t in work.outputs or any(u.op != "DEQUANTIZE" for u in t.users) for t in results):
            continue
        floats = [_before(t) for t in row.quantities(operator)]
        if any(t is None for t in floats):
            continue
        _widened(work, operator, row.positions(operator), [t for t in floats if t is not None])
        count += 1
    return count


def _before(tensor: Tensor) -> Tensor | None:
    """The float value that `annotate` let be rounded to `tensor`."""
    return tensor.producer.inputs[0] if _is_own(tensor.producer) and tensor.producer is not None and \
        tensor.producer.inputs[0] is not None and tensor.producer.inputs[0].element.is_float else None


def _widened(work: Work, operator: Operator, positions: tuple[int, ...], floats: list[Tensor]) -> None:
    operands = list(operator.inputs)
    for position, tensor in zip(positions, floats, strict=True):
        operands[position] = tensor
    work.graph.set_inputs(operator, operands)
    made: list[Tensor] = []
    for result in operator.outputs:
        readers = list(result.users) if result.quantization is not None else []
        if result.quantization is None:
            made.append(result)
            continue
        owned = [u for u in readers if u.outputs[0] in work.outputs]
        main = (owned or readers)[0].outputs[0] if readers else Tensor(
            result.name, ElementType.FLOAT32, result.shape)
        for reader in readers:
            if reader.outputs[0] in work.outputs and reader.outputs[0] is not main:
                continue
            work.graph.remove(reader)
            if reader.outputs[0] is not main:
                work.graph.replace_uses(reader.outputs[0], main)
        made.append(main)
    work.graph.set_outputs(operator, made)
