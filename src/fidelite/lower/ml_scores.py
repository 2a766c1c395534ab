"""Linear models, support vectors and trees give scores; these become results, probabilities and labels here.

After ONNX Runtime's `ml_common.h`.
"""

from __future__ import annotations

import numpy as np

from fidelite.errors import UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


def transformed(b: Builder, scores: Tensor, name: str) -> Tensor:
    """float32 [N, E] after `post_transform`."""
    if name == "NONE":
        return scores
    if scores.shape[1] == 1:
        raise UnsupportedAttribute(f"the post_transform {name} of a single score differs from runtime to runtime",
                                   remedy="export with NONE, and put a Sigmoid behind")
    if name == "LOGISTIC":
        return b.logistic(scores)
    if name == "SOFTMAX":
        return b.softmax(scores)
    if name == "SOFTMAX_ZERO":  # a score of 0 stays 0, and counts for nothing
        largest = b.reduce("REDUCE_MAX", scores, [1], keep_dims=True)
        small = b.compare("LESS_EQUAL", b.unary("ABS", scores), b.scalar(1e-7, scores))
        powers = b.select(small, b.mul(scores, b.unary("EXP", b.unary("NEG", largest))),
                          b.unary("EXP", b.sub(scores, largest)))
        return b.div(powers, b.reduce("SUM", powers, [1], keep_dims=True))
    raise UnsupportedAttribute(f"the post_transform {name} has no lowering that is exact enough",
                               remedy="export with NONE, LOGISTIC, SOFTMAX or SOFTMAX_ZERO")


def labels_of(node: Node, b: Builder, places: Tensor, attribute: str = "classlabels_ints") -> Tensor:
    """int64 [N]: the labels at the places (int32)."""
    if not node.has(attribute):
        raise UnsupportedType("its labels are strings, which LiteRT does not have",
                              remedy="train with numbers for labels, or look the names up outside")
    return b.gather(b.constant(np.asarray(node.ints(attribute), np.int64)), places, 0)


def as_rows(b: Builder, x: Tensor) -> Tensor:
    """Features as float32 [N, C]; a vector is one row."""
    wide = b.float32(x)
    return b.reshape(wide, (1, *x.shape)) if x.rank == 1 else wide


def best(b: Builder, scores: Tensor) -> Tensor:
    return b.arg("ARG_MAX", scores, 1, ElementType.INT32)


