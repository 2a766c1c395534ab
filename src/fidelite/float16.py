"""A graph as a processor of half precision would see it: what its values reach, and what it gives with all rounded.

Two graphs are made of one, and run in LiteRT on the CPU. The first puts out the largest magnitude of every float32
value, and of the sum of magnitudes behind every product: no order of adding up can pass that. (Means, sums and average
pools are left out: LiteRT's GPU delegate adds those up in float32, tflite/delegates/gpu/common/tasks/reduce.cc and
pooling.cc.) The second rounds every float32 value and constant to float16 (IEEE 754 binary16, ties to even) where it is
made; sums are still in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fidelite.optimize.memory import KeepValues
from fidelite.optimize.passes import run_passes
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Apply
from fidelite.tflite.graph import Graph, Model, Operator, Signature, Tensor
from fidelite.tflite.types import ElementType

LARGEST = float(np.finfo(np.float16).max)
_PRODUCTS = {"CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1), "TRANSPOSE_CONV": (2, 1),
             "BATCH_MATMUL": (0, 1)}


@dataclass(frozen=True, slots=True)
class Spot:
    """A value of the graph (`what` is "value"), or the sum of magnitudes behind it ("sum"); `output` of the probe."""

    output: str
    what: str
    tensor: str
    op: str
    nodes: tuple[str, ...]


def _computed(tensor: Tensor | None) -> bool:
    return tensor is not None and not tensor.is_constant and tensor.element is ElementType.FLOAT32 and tensor.is_static


def probe_magnitudes(model: Model) -> list[Spot]:
    """Change `model` (its main graph) to put out largest magnitudes; returns what each output stands for."""
    graph = model.main
    b = Builder(graph)
    b.made_by = "magnitudes"
    spots: list[Spot] = []
    outputs: list[Tensor] = []
    own = graph.operators

    def tell(what: str, value: Tensor, of: Tensor, maker: Operator | None) -> None:
        largest = b.reduce("REDUCE_MAX", value, range(value.rank), keep_dims=False) if value.rank else value
        outputs.append(largest)
        largest.name = f"spot:{len(spots)}"
        spots.append(Spot(largest.name, what, of.name, maker.op if maker else "input", maker.nodes if maker else ()))

    for tensor in graph.inputs:
        if _computed(tensor) and prod(tensor.static_shape):
            tell("value", b.unary("ABS", tensor), tensor, None)
    for operator in own:
        for result in operator.outputs:
            if _computed(result) and prod(result.static_shape):
                tell("value", b.unary("ABS", result), result, operator)
        if (total := _sum_of_magnitudes(b, operator)) is not None:
            tell("sum", total, operator.outputs[0], operator)
    graph.outputs = outputs
    model.signatures = [Signature("serving_default", graph, [(t.name, t) for t in graph.inputs],
                                  [(t.name, t) for t in outputs])]
    graph.sort()
    run_passes(model, [KeepValues()])
    return spots


def _sum_of_magnitudes(b: Builder, operator: Operator) -> Tensor | None:
    """The same operator on magnitudes; None where it adds nothing up, or not in float32."""
    result = operator.outputs[0]
    if not _computed(result):
        return None
    if operator.op not in _PRODUCTS:
        return None
    inputs = list(operator.inputs)
    for i in _PRODUCTS[operator.op]:
        factor = inputs[i]
        if factor is None or factor.element is not ElementType.FLOAT32:
            return None
        inputs[i] = _magnitude(factor) if factor.is_constant else b.unary("ABS", factor)
    for i in range(2, len(inputs)):
        bias = inputs[i]
        if i not in _PRODUCTS[operator.op] and bias is not None and bias.is_constant:
            inputs[i] = _magnitude(bias)
    return _again(b, operator, inputs, result)


def _magnitude(tensor: Tensor) -> Tensor:
    assert tensor.constant is not None
    constant = tensor.constant.then(Apply("magnitude", np.abs))
    return Tensor(f"{tensor.name}/magnitude", tensor.element, constant.shape, constant=constant)


def _again(b: Builder, operator: Operator, inputs: list[Tensor | None], like: Tensor) -> Tensor:
    total = Tensor(b.fresh_name("sum"), like.element, like.shape)
    options = dict(operator.options)
    if "fusedActivationFunction" in options:
        options["fusedActivationFunction"] = 0
    b.graph.append(Operator(operator.op, inputs, [total], options, made_by=b.made_by))
    return total


def round_values(model: Model) -> int:
    """Round every float32 value and constant of the main graph to float16; returns how many."""
    graph = model.main
    rounded: dict[Tensor, Tensor] = {}
    count = 0
    for operator in graph.operators:
        moved = [_rounded_constant(t, rounded) for t in operator.inputs]
        if moved != list(operator.inputs):
            graph.set_inputs(operator, moved)
    for tensor in graph.inputs:
        if _computed(tensor):
            _round_after(graph, tensor)
            count += 1
    for operator in graph.operators:
        for result in operator.outputs:
            if operator.made_by != "round" and _computed(result):
                _round_before(graph, operator, result)
                count += 1
    graph.sort()
    run_passes(model, [KeepValues()])
    return count


def _rounded_constant(tensor: Tensor | None, known: dict[Tensor, Tensor]) -> Tensor | None:
    if tensor is None or tensor.constant is None or tensor.element is not ElementType.FLOAT32:
        return tensor
    if tensor not in known:
        constant = tensor.constant.then(Apply("float16 and back", _half))
        known[tensor] = Tensor(tensor.name, tensor.element, tensor.shape, constant=constant)
    return known[tensor]


def _half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def _casts(graph: Graph, source: Tensor, result: Tensor) -> None:
    half = Tensor(f"{source.name}/half", ElementType.FLOAT16, source.shape)
    for x, y in ((source, half), (half, result)):
        options = {"inDataType": x.element.value, "outDataType": y.element.value}
        graph.append(Operator("CAST", [x], [y], options, made_by="round"))


def _round_after(graph: Graph, tensor: Tensor) -> None:
    """Let the readers of an input read it rounded."""
    users = list(tensor.users)
    result = Tensor(f"{tensor.name}/rounded", tensor.element, tensor.shape)
    _casts(graph, tensor, result)
    for user in users:
        graph.set_inputs(user, [result if t is tensor else t for t in user.inputs])


def _round_before(graph: Graph, operator: Operator, result: Tensor) -> None:
    """Let the operator give another tensor, and `result`, with its name and readers, be that one rounded."""
    exact = Tensor(f"{result.name}/exact", result.element, result.shape)
    graph.set_outputs(operator, [exact if t is result else t for t in operator.outputs])
    _casts(graph, exact, result)
