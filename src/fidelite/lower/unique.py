"""Unique elements of a tensor, and unique slices along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType

_I32 = ElementType.INT32
_WIDER = {ElementType.FLOAT16: ElementType.FLOAT32, ElementType.BFLOAT16: ElementType.FLOAT32,
          ElementType.UINT16: ElementType.INT32, ElementType.UINT32: ElementType.INT64,
          ElementType.BOOL: ElementType.UINT8}
_ORDERED = (ElementType.FLOAT64, ElementType.UINT64)
"""Types whose order int64 has too (`Builder.ordered`)."""


@lowers("Unique", partial="dynamic shapes")
def unique(node: Node, b: Builder) -> list[Tensor | None]:
    """Of slices along an axis: the unique ones among the numbers that their order gives them."""
    x = node.input(0)
    axis = node.int_("axis", None)
    in_order, wants = bool(node.int_("sorted", 1)), (node.wants(1), node.wants(2), node.wants(3))
    if axis is None or x.rank == 1:
        return unique_elements(x, b, in_order=in_order, wants=wants)
    axis = node.normalized(axis, x.rank)
    count = b.static(x, "unique slices")[axis]
    if not b.size(x):
        raise UnsupportedType("unique slices of an empty tensor are not defined", remedy="leave the axis out")
    order = [axis, *(a for a in range(x.rank) if a != axis)]
    slices = b.reshape(b.transpose(x, order), (count, product(x.shape) // count))
    results = unique_elements(_places(b, slices, count), b, in_order=in_order, wants=(True, *wants[1:]))
    first = results[1]
    assert first is not None
    return [b.gather(x, b.cast(first, _I32), axis), *results[1:]]


def _places(b: Builder, slices: Tensor, count: int) -> Tensor:
    """For each of the slices [count, size] how many others come before it in lexicographic order: int32 [count].

    One slice comes before another where it is less at the first element in which they differ.
    """
    wide = b.cast(slices, _WIDER[slices.element]) if slices.element in _WIDER else slices
    one, other = b.unsqueeze(wide, [0]), b.unsqueeze(wide, [1])  # [i, j]: slice j, slice i
    differ = b.cast(b.compare("NOT_EQUAL", one, other), _I32)
    seen = b.cumsum(differ, 2, exclusive=True)
    first = b.logical("LOGICAL_AND", b.compare("LESS", one, other), b.compare("EQUAL", seen, b.scalar(0, _I32)))
    before = b.reduce("REDUCE_ANY", first, [2], keep_dims=False)
    return b.reduce("SUM", b.cast(before, _I32), [1], keep_dims=False)


def unique_elements(x: Tensor, b: Builder, *, in_order: bool, wants: Sequence[bool]) -> list[Tensor | None]:
    """The unique elements of x; for each of them its first place in x (flattened); for each of x's its place among
    them; how often each comes. Those three where they are wanted, as int64.

    LiteRT's UNIQUE gives elements in the order in which they come, and for each operand's element its place there:
    elements in order need a sorted operand.
    """
    count, element = int(b.size(x)), x.element
    if element in _ORDERED:
        x = b.ordered(x)
    elif element not in (kernel_types("UNIQUE") or ()):
        if element not in _WIDER:
            raise UnsupportedType(f"LiteRT's UNIQUE has no kernel for {element.name}, nor for a wider type",
                                  remedy="use float32 or int32 in the model")
        x = b.cast(x, _WIDER[element])
    if not count:
        empty = np.zeros(0, np.int64)
        return [b.constant(np.zeros(0, element.dtype)), *(b.constant(empty) for _ in range(3))]
    x, order = b.reshape(x, (product(x.shape),)), None
    if in_order:
        values, order = b.top_k(x, count)
        x, order = b.reverse(values, [0]), b.reverse(order, [0])
    found, places = b.emit("UNIQUE", [x], [(x.element, (count,)), (ElementType.INT32, (count,))],
                           {"idxOutType": ElementType.INT32.value})
    found = b.sized_at_run_time(found, [None])
    steps = b.constant(np.arange(count, dtype=np.int32))
    origin = steps if order is None else order
    target = b.reshape(places, (count, 1))
    values = b.from_ordered(found, element) if element in _ORDERED else b.cast(found, element)
    results: list[Tensor | None] = [values, None, None, None]
    if wants[0]:
        first = b.scatter(b.constant(np.full(count, count, np.int32)), target, origin, "min")
        results[1] = b.slice(first, [0], found.shape)
    if wants[1]:
        results[2] = places if order is None else b.scatter(steps, b.reshape(order, (count, 1)), places)
    if wants[2]:
        counts = b.scatter(b.constant(np.zeros(count, np.int32)), target, b.constant(np.ones(count, np.int32)), "add")
        results[3] = b.slice(counts, [0], found.shape)
    return [results[0], *(None if r is None else b.cast(r, ElementType.INT64) for r in results[1:])]
