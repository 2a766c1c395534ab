"""Unique elements of a vector."""

from __future__ import annotations

import numpy as np

from fidelite.errors import UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types
from fidelite.tflite.types import ElementType

_WIDER = {ElementType.FLOAT16: ElementType.FLOAT32, ElementType.BFLOAT16: ElementType.FLOAT32,
          ElementType.UINT16: ElementType.INT32, ElementType.UINT32: ElementType.INT64,
          ElementType.BOOL: ElementType.UINT8}


@lowers("Unique", partial="an axis of more than one dimension; float64 and uint64; dynamic shapes")
def unique(node: Node, b: Builder) -> list[Tensor | None]:
    """LiteRT's UNIQUE gives elements in the order in which they come, and for each operand's element its place there:
    elements in order need a sorted operand."""
    x = node.input(0)
    axis = node.int_("axis", None)
    if axis is not None and x.rank != 1:
        raise UnsupportedAttribute("LiteRT finds unique elements, not unique slices along an axis",
                                   remedy="leave the axis out where the elements are meant")
    count = int(b.size(x))
    element = x.element
    if element not in (kernel_types("UNIQUE") or ()):
        if element not in _WIDER:
            raise UnsupportedType(f"LiteRT's UNIQUE has no kernel for {element.name}, nor for a wider type",
                                  remedy="use float32 or int32 in the model")
        x = b.cast(x, _WIDER[element])
    if not count:
        empty = np.zeros(0, np.int64)
        return [b.constant(np.zeros(0, element.dtype)), *(b.constant(empty) for _ in range(3))]
    x, order = b.reshape(x, (product(x.shape),)), None
    if node.int_("sorted", 1):
        values, order = b.top_k(x, count)
        x, order = b.reverse(values, [0]), b.reverse(order, [0])
    found, places = b.emit("UNIQUE", [x], [(x.element, (count,)), (ElementType.INT32, (count,))],
                           {"idxOutType": ElementType.INT32.value})
    found = b.sized_at_run_time(found, [None])
    steps = b.constant(np.arange(count, dtype=np.int32))
    origin = steps if order is None else order
    target = b.reshape(places, (count, 1))
    results: list[Tensor | None] = [b.cast(found, element), None, None, None]
    if node.wants(1):
        first = b.scatter(b.constant(np.full(count, count, np.int32)), target, origin, "min")
        results[1] = b.slice(first, [0], found.shape)
    if node.wants(2):
        results[2] = places if order is None else b.scatter(steps, b.reshape(order, (count, 1)), places)
    if node.wants(3):
        counts = b.scatter(b.constant(np.zeros(count, np.int32)), target, b.constant(np.ones(count, np.int32)), "add")
        results[3] = b.slice(counts, [0], found.shape)
    return [results[0], *(None if r is None else b.cast(r, ElementType.INT64) for r in results[1:])]
