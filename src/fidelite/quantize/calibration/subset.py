"""A copy of a part of a graph: the operators that lead to chosen values, which become its outputs."""

from __future__ import annotations

from collections.abc import Iterable

from fidelite.tflite.graph import Graph, Model, Operator, Signature, Tensor

SIGNATURE = "serving_default"


def leading_to(model: Model, wanted: Iterable[Tensor]) -> tuple[Model, dict[Tensor, int]]:
    """A model of what `wanted` (tensors of the main graph) needs, and for each of its tensors the index in the file.

    Of `wanted`, only those that nothing else in the copy reads become outputs: LiteRT reads all of them. Inputs stay,
    even those that are no longer needed. Tensors of the answer are those of `model`.
    """
    main = model.main
    needed: dict[Tensor, None] = dict.fromkeys(wanted)
    operators: list[Operator] = []
    for operator in reversed(main.operators):
        if any(t in needed for t in operator.outputs):
            operators.append(operator)
            needed.update(dict.fromkeys(t for t in operator.inputs if t is not None))
    copy = Graph(main.name)
    made: dict[Tensor, Tensor] = {}
    copy.inputs = [_copied(t, made) for t in main.inputs]
    for operator in reversed(operators):
        inputs = [None if t is None else _copied(t, made) for t in operator.inputs]
        outputs = [_copied(t, made) for t in operator.outputs]
        copied = Operator(operator.op, inputs, outputs, operator.options, nodes=operator.nodes,
                          made_by=operator.made_by, graphs=operator.graphs)
        copied.version = operator.version
        copy.append(copied)
    copy.outputs = [made[t] for t in needed if t in made and not made[t].users and not t.is_constant
                    and t not in main.inputs]
    signature = Signature(SIGNATURE, copy, [(t.name, made[t]) for t in main.inputs],
                          [(f"{i}", t) for i, t in enumerate(copy.outputs)])
    places = {tensor: index for index, tensor in enumerate(copy.tensors())}
    return (Model([copy, *model.graphs[1:]], [signature]),
            {old: places[new] for old, new in made.items() if new in places})


def _copied(tensor: Tensor, made: dict[Tensor, Tensor]) -> Tensor:
    if tensor not in made:
        made[tensor] = Tensor(tensor.name, tensor.element, tensor.shape, constant=tensor.constant,
                              quantization=tensor.quantization, is_variable=tensor.is_variable)
    return made[tensor]
