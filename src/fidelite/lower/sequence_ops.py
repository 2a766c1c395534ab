"""Operators on sequences and optionals. LiteRT has neither: they must resolve when converting, to their elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import InvalidModel, NeedsStaticShape, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.scope import Held
from fidelite.lower.sequences import TensorSequence
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


def sequence_at(node: Node, index: int) -> TensorSequence:
    """The operand at `index`, which must be a sequence whose elements are known."""
    held = node.held[index] if index < len(node.held) else None
    if not isinstance(held, TensorSequence):
        raise UnsupportedType(f"operand {index} is a sequence whose length only the run time knows",
                              where=node.where(), remedy="give its elements to the model as inputs of their own")
    return held


def _position(node: Node, index: int, size: int, default: int) -> int:
    """A position operand in a sequence of `size`, counted from the front. Raises InvalidModel where it lies outside."""
    if node.optional(index) is None:
        return default
    position = node.ints_at(index, "the position")[0]
    if not -size <= position <= size:
        raise InvalidModel(f"position {position} lies outside a sequence of {size}", where=node.where(),
                           remedy="export the model again")
    return position + size if position < 0 else position


@lowers("SequenceConstruct", partial="sequences must not be inputs or outputs of the model")
def construct(node: Node, b: Builder) -> TensorSequence:
    return TensorSequence(tuple(node.inputs()))


@lowers("SequenceEmpty")
def empty(node: Node, b: Builder) -> TensorSequence:
    return TensorSequence(())


@lowers("SequenceInsert", partial="the position must be a constant")
def insert(node: Node, b: Builder) -> TensorSequence:
    items = list(sequence_at(node, 0).items)
    items.insert(_position(node, 2, len(items), len(items)), node.input(1))
    return TensorSequence(tuple(items))


@lowers("SequenceErase", partial="the position must be a constant")
def erase(node: Node, b: Builder) -> TensorSequence:
    items = list(sequence_at(node, 0).items)
    position = _position(node, 1, len(items), len(items) - 1)
    if not 0 <= position < len(items):
        raise InvalidModel(f"it takes element {position} out of a sequence of {len(items)}", where=node.where(),
                           remedy="export the model again")
    del items[position]
    return TensorSequence(tuple(items))


@lowers("SequenceAt", partial="the position must be a constant")
def at(node: Node, b: Builder) -> Tensor:
    items = sequence_at(node, 0).items
    position = _position(node, 1, len(items), len(items))
    if not 0 <= position < len(items):
        raise InvalidModel(f"it asks for element {position} of a sequence of {len(items)}", where=node.where(),
                           remedy="export the model again")
    return items[position]


@lowers("SequenceLength")
def length(node: Node, b: Builder) -> Tensor:
    return b.constant(np.asarray(len(sequence_at(node, 0).items), np.int64))


@lowers("ConcatFromSequence")
def concat_from_sequence(node: Node, b: Builder) -> Tensor:
    items = sequence_at(node, 0).items
    if not items:
        raise InvalidModel("it joins the elements of an empty sequence", where=node.where(),
                           remedy="export the model again")
    rank, new = items[0].rank, bool(node.int_("new_axis", 0))
    axis = node.axis(rank + new)
    return b.concat([b.unsqueeze(t, [axis]) for t in items] if new else items, axis)


@lowers("SplitToSequence", partial="the axis must be static")
def split_to_sequence(node: Node, b: Builder) -> TensorSequence:
    x = node.input(0)
    axis = node.axis(x.rank, default=0)
    total = x.shape[axis]
    if not isinstance(total, int):
        raise NeedsStaticShape(f"a sequence of {total} parts is known only at run time", where=node.where(),
                               remedy="fix the input's dimensions: --shape NAME=1,3,512,512")
    if node.optional(1) is None:
        parts = b.split(x, [1] * total, axis)
        return TensorSequence(tuple(parts if node.int_("keepdims", 1) else [b.squeeze(p, [axis]) for p in parts]))
    sizes = node.ints_at(1, "the sizes")
    if node.input(1).rank == 0:
        size = sizes[0]
        sizes = [min(size, total - begin) for begin in range(0, total, size)]
    return TensorSequence(tuple(b.split(x, sizes, axis)))


@lowers("SequenceMap")
def sequence_map(node: Node, b: Builder) -> Sequence[Held]:
    """The body on each element; further operands are sequences of that length, or the same tensor for all."""
    body = node.graph("body")
    assert body is not None
    results: list[list[Tensor]] = [[] for _ in body.outputs]
    for index in range(len(sequence_at(node, 0).items)):
        given = [held.items[index] if isinstance(held, TensorSequence) else held for held in node.held]
        outputs = node.scope.inline(body, [g for g in given if g is not None], f":{index}")
        for found, output in zip(results, outputs, strict=True):
            if isinstance(output, TensorSequence):
                raise UnsupportedType("a sequence of sequences", where=node.where(), remedy="use tensors as elements")
            found.append(output)
    return [TensorSequence(tuple(found)) for found in results]


@lowers("Optional")
def optional(node: Node, b: Builder) -> Held:
    held = node.held[0] if node.held else None
    return TensorSequence((), absent=True) if held is None else held


def _absent(held: Held | None) -> bool:
    return held is None or (isinstance(held, TensorSequence) and held.absent)


@lowers("OptionalHasElement")
def optional_has_element(node: Node, b: Builder) -> Tensor:
    return b.constant(np.asarray(not _absent(node.held[0] if node.held else None)))


@lowers("OptionalGetElement")
def optional_get_element(node: Node, b: Builder) -> Held:
    held = node.held[0] if node.held else None
    if held is None or _absent(held):
        raise InvalidModel("it takes the element of an empty optional", where=node.where(),
                           remedy="export the model again")
    return held
