"""Outputs that the source itself makes as indices of the largest scores: the scores behind them can be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

_CHOOSING = frozenset({"ArgMax", "ArgMin"})
_SAME = frozenset({"Cast", "Identity"})


@dataclass(frozen=True, slots=True)
class Choice:
    """An output is the index, along `axis`, of the largest (or least) of the value `scores`."""

    scores: str
    axis: int


def choices_of(model: onnx_ir.Model, outputs: Sequence[str]) -> Mapping[str, Choice]:
    """Which of `outputs` are such indices, as they are or cast."""
    found: dict[str, Choice] = {}
    for value in model.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in _SAME and node.inputs and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        if not value.name or value.name not in outputs or node is None or node.op_type not in _CHOOSING or node.domain:
            continue
        scores = node.inputs[0]
        if scores is not None and scores.name and scores.producer() is not None:
            axis = node.attributes.get("axis")
            found[value.name] = Choice(scores.name, 0 if axis is None else axis.as_int())
    return found
