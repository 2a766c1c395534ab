"""Trilu and ReverseSequence: what stays and what turns depends on the place alone."""

from __future__ import annotations

import numpy as np

from fidelite.errors import ContradictoryModel
from fidelite.lower.filling import counting
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import is_static, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import max_rank
from fidelite.tflite.types import ElementType


@lowers("Trilu")
def trilu(node: Node, b: Builder) -> Tensor:
    """x where column - row >= k (upper) or <= k (lower), else 0, over the last two axes."""
    x, upper = node.input(0), bool(node.int_("upper", 1))
    given = node.optional(1)
    rows, columns = x.shape[-2:]
    if 0 in x.shape:
        return x
    if is_static((rows, columns)) and (given is None or given.constant is not None):
        k = 0 if given is None or given.constant is None else int(given.constant.numpy().reshape(-1)[0])
        distance = np.arange(int(columns)) - np.arange(int(rows))[:, None]  # type: ignore[arg-type]
        keep = b.constant(distance >= k if upper else distance <= k)
    else:
        distance = b.sub(counting(columns, b), b.reshape(counting(rows, b), (rows, 1)))
        if given is None:
            k = b.int32(0)
        else:  # a diagonal further off than int32 reaches keeps all or nothing, as the furthest one does
            k = b.minimum(b.maximum(given, b.scalar(-2**31, given)), b.scalar(2**31 - 1, given))
            k = b.reshape(b.cast(k, ElementType.INT32), ())
        keep = b.compare("GREATER_EQUAL" if upper else "LESS_EQUAL", distance, k)
    flat = b.reshape(x, (product(x.shape[:-2]), rows, columns)) if x.rank > max_rank("SELECT_V2") else x
    return b.reshape(b.select(keep, flat, b.scalar(0, x)), x.shape)


@lowers("ReverseSequence")
def reverse_sequence(node: Node, b: Builder) -> Tensor:
    x, lengths = node.input(0), node.input(1)
    time, batch = node.int_("time_axis", 0), node.int_("batch_axis", 1)
    if {time, batch} != {0, 1}:
        raise ContradictoryModel(f"its time axis {time} and batch axis {batch} must be 0 and 1",
                                 remedy="export the model again")
    if 0 in x.shape:  # LiteRT's kernel dies of it
        return x
    return b.carried("REVERSE_SEQUENCE", x, lambda y: b.one(
        "REVERSE_SEQUENCE", [y, lengths], y.element, y.shape, seqDim=time, batchDim=batch))
