"""How operators commute with a permutation of their main operand's axes, one row per kind of operator.

A row answers, for a label of the operator: which labels its operands and results then have (`bind`; None where the
operator cannot work so), and how its parameters change (`remap`). Operators without a row stay as they are: their
tensors keep the lowered order. Nothing here looks at a shape to guess what an axis means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fidelite.optimize.layout.permutation import Permutation, identity, restrict
from fidelite.optimize.layout.reshape import reshape_label
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Operator, Tensor


@dataclass(frozen=True, slots=True)
class Binding:
    """Labels of the operands (None: a parameter that `remap` deals with, or a constant) and of the results."""

    operands: tuple[Permutation | None, ...]
    results: tuple[Permutation, ...]


@dataclass(frozen=True, slots=True)
class Remapped:
    """New parameters: operand position -> tensor, and options that change."""

    operands: dict[int, Tensor]
    options: dict[str, Any]


NO_CHANGE = Remapped({}, {})


@dataclass(frozen=True, slots=True)
class Rule:
    """`rank` is that of the label; `bind` may refuse a label with None."""

    rank: Callable[[Operator], int]
    bind: Callable[[Operator, Permutation], Binding | None]
    remap: Callable[[Operator, Permutation, Builder], Remapped] = lambda operator, label, b: NO_CHANGE
    main: int = 0
    """The operand whose axes the label permutes (the result's for broadcasting operators)."""
    broadcasts: bool = False
    """Whether the axes of an operand of lower rank are the label's last ones."""


def rule_of(operator: Operator) -> Rule | None:
    """The row for `operator`, or None where it must keep the lowered order."""
    rule = RULES.get(operator.op)
    return rule if rule is not None and rule.rank(operator) >= 2 else None


def _result_rank(operator: Operator) -> int:
    return operator.outputs[0].rank


def _main_rank(position: int) -> Callable[[Operator], int]:
    def rank(operator: Operator) -> int:
        tensor = operator.inputs[position]
        return 0 if tensor is None else tensor.rank
    return rank


# -- element by element: every operand in the same order, broadcast

def _bind_broadcast(operator: Operator, label: Permutation) -> Binding:
    operands: list[Permutation | None] = []
    for tensor in operator.inputs:
        operands.append(None if tensor is None or tensor.is_constant else broadcast_label(tensor.rank, label))
    return Binding(tuple(operands), tuple(label for _ in operator.outputs))


def broadcast_label(rank: int, label: Permutation) -> Permutation:
    """The label of an operand of lower rank: its axes are the result's last ones."""
    lead = len(label) - rank
    return restrict(label, range(lead, len(label)))


def _remap_broadcast(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    changed: dict[int, Tensor] = {}
    for i, tensor in enumerate(operator.inputs):
        if tensor is not None and tensor.is_constant and tensor.rank > 0:
            changed[i] = b.transpose(b.expand_rank(tensor, len(label)), label)
    return Remapped(changed, {})


ELEMENTWISE = Rule(_result_rank, _bind_broadcast, _remap_broadcast, broadcasts=True)


# -- along an axis that is an option or a constant operand

def _same_label(*, main: int = 0) -> Callable[[Operator, Permutation], Binding | None]:
    def bind(operator: Operator, label: Permutation) -> Binding | None:
        if any(t is not None and not t.is_constant for i, t in enumerate(operator.inputs) if i != main):
            return None
        operands = tuple(label if i == main else None for i in range(len(operator.inputs)))
        return Binding(operands, tuple(label for _ in operator.outputs))
    return bind


def _bind_concatenation(operator: Operator, label: Permutation) -> Binding:
    operands = tuple(None if t is None or t.is_constant else label for t in operator.inputs)
    return Binding(operands, (label,))


def _remap_concatenation(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    constants = {i: b.transpose(t, label) for i, t in enumerate(operator.inputs) if t is not None and t.is_constant}
    rank = operator.outputs[0].rank
    return Remapped(constants, {"axis": label.index(operator.options["axis"] % rank)})


def _axis_operand(position: int, *, main: int) -> Rule:
    def remap(operator: Operator, label: Permutation, b: Builder) -> Remapped:
        axes = _values(operator, position)
        moved = [label.index(int(a) % len(label)) for a in axes.reshape(-1)]
        return Remapped({position: b.constant(np.asarray(moved, np.int32).reshape(axes.shape))}, {})
    return Rule(_main_rank(main), _same_label(main=main), remap, main)


def _values(operator: Operator, position: int) -> np.ndarray:
    tensor = operator.inputs[position]
    assert tensor is not None
    assert tensor.constant is not None
    return tensor.constant.numpy()


def _is_constant(operator: Operator, position: int) -> bool:
    tensor = operator.inputs[position]
    return tensor is not None and tensor.is_constant


# -- one parameter per axis

def _per_axis(*positions: int) -> Rule:
    """Operands at `positions` have one entry (or row) per axis."""
    def remap(operator: Operator, label: Permutation, b: Builder) -> Remapped:
        changed = {p: b.constant(_values(operator, p)[list(label)]) for p in positions}
        return Remapped(changed, {})
    return Rule(_main_rank(0), _same_label(), remap)


def _remap_strided_slice(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    changed = {p: b.constant(_values(operator, p)[list(label)]) for p in (1, 2, 3)}
    masks = {name: sum(1 << i for i, axis in enumerate(label) if operator.options.get(name, 0) >> axis & 1)
             for name in ("beginMask", "endMask")}
    return Remapped(changed, masks)


def _bind_strided_slice(operator: Operator, label: Permutation) -> Binding | None:
    if any(operator.options.get(name) for name in ("ellipsisMask", "newAxisMask", "shrinkAxisMask")):
        return None
    return _same_label()(operator, label)


def _bind_broadcast_to(operator: Operator, label: Permutation) -> Binding | None:
    tensor = operator.inputs[0]
    if tensor is None or not _is_constant(operator, 1):
        return None
    return Binding((None if tensor.is_constant else broadcast_label(tensor.rank, label), None), (label,))


def _remap_broadcast_to(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    changed = _remap_broadcast(Operator("", operator.inputs[:1], operator.outputs), label, b).operands
    return Remapped({**changed, 1: b.constant(_values(operator, 1)[list(label)])}, {})


# -- reductions, which may drop axes

def _reduced_axes(operator: Operator) -> list[int]:
    rank = operator.inputs[0].rank  # type: ignore[union-attr]
    return [int(a) % rank for a in _values(operator, 1).reshape(-1)]


def _keeps(operator: Operator) -> bool:
    return operator.outputs[0].rank == operator.inputs[0].rank  # type: ignore[union-attr]


def _bind_reduce(operator: Operator, label: Permutation) -> Binding | None:
    if not _is_constant(operator, 1):
        return None
    if _keeps(operator):
        return Binding((label, None), (label,))
    gone = set(_reduced_axes(operator))
    return Binding((label, None), (restrict(label, (a for a in label if a not in gone)),))


def _remap_reduce(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    moved = sorted(label.index(a) for a in _reduced_axes(operator))
    shape = _values(operator, 1).shape
    return Remapped({1: b.constant(np.asarray(moved, np.int32).reshape(shape))}, {})


def _bind_gather(operator: Operator, label: Permutation) -> Binding | None:
    """Indices of rank 0 drop the axis, of rank 1 keep it; others move axes in ways not worth a row."""
    indices = operator.inputs[1]
    if indices is None or indices.rank > 1 or operator.options.get("batchDims"):
        return None
    if operator.inputs[0] is None or operator.inputs[0].is_constant:
        return None
    axis = operator.options["axis"]
    free = None if indices.is_constant else identity(indices.rank)
    if indices.rank == 1:
        return Binding((label, free), (label,))
    return Binding((label, free), (restrict(label, (a for a in label if a != axis)),))


def _remap_gather(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    return Remapped({}, {"axis": label.index(operator.options["axis"])})


# -- operators that own the last axis

def _bind_last_axis(operator: Operator, label: Permutation) -> Binding | None:
    if label[-1] != len(label) - 1:
        return None
    rest = (None,) * (len(operator.inputs) - 1)
    if any(t is not None and not t.is_constant for t in operator.inputs[1:]):
        return None
    return Binding((label, *rest), (label,))


def _bind_fully_connected(operator: Operator, label: Permutation) -> Binding | None:
    if operator.outputs[0].rank != len(label):
        return None
    return _bind_last_axis(operator, label)


# -- RESHAPE, where the label keeps merged and split axes together

def _bind_reshape(operator: Operator, label: Permutation) -> Binding | None:
    source = operator.inputs[0]
    if source is None or source.is_constant:
        return None
    if not _is_constant(operator, 1):
        return None
    result = reshape_label(source.shape, operator.outputs[0].shape, label)
    return None if result is None else Binding((label, None), (result,))


def _remap_reshape(operator: Operator, label: Permutation, b: Builder) -> Remapped:
    source = operator.inputs[0]
    assert source is not None
    result = reshape_label(source.shape, operator.outputs[0].shape, label)
    assert result is not None
    sizes = [d if isinstance(d, int) else -1 for d in (operator.outputs[0].shape[a] for a in result)]
    return Remapped({1: b.int32(sizes)}, {"newShape": sizes} if "newShape" in operator.options else {})


_ELEMENTWISE_OPS = (
    "ABS NEG SIGN CEIL FLOOR ROUND EXP SIN COS SQUARE RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ELU HARD_SWISH ZEROS_LIKE "
    "LOGICAL_NOT LOG SQRT RSQRT LOGISTIC TANH GELU LEAKY_RELU ADD SUB MUL DIV MAXIMUM MINIMUM POW FLOOR_DIV FLOOR_MOD "
    "SQUARED_DIFFERENCE EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_OR BITWISE_XOR "
    "RIGHT_SHIFT PRELU SELECT_V2 CAST QUANTIZE DEQUANTIZE")
_REDUCTIONS = "SUM MEAN REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN"
RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE_OPS.split(), ELEMENTWISE),
    **dict.fromkeys(_REDUCTIONS.split(),
                    Rule(_main_rank(0), _bind_reduce, _remap_reduce)),
    "CONCATENATION": Rule(_result_rank, _bind_concatenation, _remap_concatenation),
    "SPLIT": _axis_operand(0, main=1),
    "CUMSUM": _axis_operand(1, main=0),
    "REVERSE_V2": _axis_operand(1, main=0),
    "PAD": _per_axis(1),
    "PADV2": _per_axis(1),
    "MIRROR_PAD": _per_axis(1),
    "TILE": _per_axis(1),
    "SLICE": _per_axis(1, 2),
    "STRIDED_SLICE": Rule(_main_rank(0), _bind_strided_slice, _remap_strided_slice),
    "BROADCAST_TO": Rule(_result_rank, _bind_broadcast_to, _remap_broadcast_to, broadcasts=True),
    "GATHER": Rule(_main_rank(0), _bind_gather, _remap_gather),
    "SOFTMAX": Rule(_main_rank(0), _bind_last_axis),
    "LOG_SOFTMAX": Rule(_main_rank(0), _bind_last_axis),
    "FULLY_CONNECTED": Rule(_main_rank(0), _bind_fully_connected),
    "RESHAPE": Rule(_main_rank(0), _bind_reshape, _remap_reshape),
}
