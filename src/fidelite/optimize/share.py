"""Compute equal things once: operators of the same kind on the same operands with the same options."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.tflite.ops import OPS
from fidelite.tflite.types import ElementType

_RANDOM = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"})


@dataclass(frozen=True)
class ShareEqualOperators:
    """One walk in running order; a repeated operator's readers read the first one's results."""

    name: ClassVar[str] = "share equal operators"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            seen: dict[Hashable, Operator] = {}
            for operator in graph.operators:
                if OPS[operator.op].stateful or operator.op in _RANDOM or operator.graphs:
                    continue
                first = seen.setdefault(_key(operator), operator)
                if first is operator or any(t in outputs for t in operator.outputs):
                    continue
                for old, new in zip(operator.outputs, first.outputs, strict=True):
                    graph.replace_uses(old, new)
                    new.origin = new.origin or old.origin
                graph.remove(operator)
                count += 1
        return count


def _key(operator: Operator) -> Hashable:
    return (operator.op, tuple(_operand_key(t) for t in operator.inputs),
            tuple(sorted((k, _frozen(v)) for k, v in operator.options.items())),
            tuple((t.element, t.shape, t.quantization) for t in operator.outputs))


def _operand_key(tensor: Tensor | None) -> Hashable:
    if tensor is None:
        return None
    if tensor.constant is not None:
        return ("constant", tensor.constant.identity, tensor.quantization)
    return tensor


def _frozen(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class CancelCasts:
    """CAST to a wider type and back gives the value itself."""

    name: ClassVar[str] = "cancel casts"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            for operator in graph.operators:
                middle = operator.inputs[0] if operator.op == "CAST" else None
                if middle is None or middle.producer is None or middle.producer.op != "CAST":
                    continue
                source, result = middle.producer.inputs[0], operator.outputs[0]
                if source is None or result in outputs or not result.users:
                    continue
                if source.element is result.element and _holds(middle.element, source.element):
                    graph.replace_uses(result, source)
                    count += 1
        return count


def _holds(wide: ElementType, narrow: ElementType) -> bool:
    """Whether every value of `narrow` survives in `wide`."""
    import numpy as np

    if wide is narrow:
        return True
    try:
        return bool(np.can_cast(narrow.dtype, wide.dtype, casting="safe"))
    except TypeError:
        return False
