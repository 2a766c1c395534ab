"""Cases for convolutions, products, pools and resizes, and for operators that call graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Tensor
from fidelite.tflite.ops import SAME, VALID
from fidelite.tflite.types import ElementType
from tests.extras.tensorflow.support import Case, numbers

F = np.float32


def network_cases() -> Iterator[Case]:
    yield from _convolutions()
    yield from _products()
    yield from _windows()
    yield from _called()


def _weights(b: Builder, *shape: int) -> Tensor:
    return b.constant(numbers(F, shape, 11, -1, 1))


def _convolutions() -> Iterator[Case]:
    x = numbers(F, (2, 9, 8, 6))
    for padding in (SAME, VALID):
        for strides, dilations in (((1, 1), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (2, 3)), ((2, 2), (2, 1))):
            how = {"strides": strides, "dilations": dilations, "padding": padding}
            note = f"{'same' if padding == SAME else 'valid'}-{strides}-{dilations}".replace(" ", "")
            yield Case("CONV_2D", note, lambda b, y, h=how: b.conv_2d(
                y, _weights(b, 4, 3, 2, 6), _weights(b, 4), **h), [x])
            yield Case("CONV_2D", f"grouped-{note}", lambda b, y, h=how: b.conv_2d(
                y, _weights(b, 4, 3, 2, 3), _weights(b, 4), **h), [x])
            yield Case("DEPTHWISE_CONV_2D", note, lambda b, y, h=how: b.depthwise_conv_2d(
                y, _weights(b, 1, 3, 2, 12), _weights(b, 12), multiplier=2, **h), [x])
    yield Case("CONV_2D", "dynamic", lambda b, y: b.conv_2d(y, _weights(b, 4, 3, 2, 6), None), [x],
               shapes=[["n", "h", "w", 6]])
    yield Case("CONV_2D", "weights-fed", lambda b, y, w: b.conv_2d(y, w, _weights(b, 4)), [x, numbers(F, (4, 3, 2, 6))])
    for strides in ((2, 2), (3, 2)):
        shape = (2, 8 * strides[0] + 3, 7 * strides[1] + 2, 4)
        yield Case("TRANSPOSE_CONV", f"{strides}".replace(" ", ""), lambda b, y, s=shape, t=strides: b.transpose_conv(
            y, _weights(b, 4, 3, 2, 6), _weights(b, 4), s, strides=t), [x])
    y = numbers(F, (1, 5, 6, 7, 3))
    yield Case("CONV_3D", "", lambda b, v: b.conv_3d(v, _weights(b, 2, 3, 2, 3, 4), _weights(b, 4), strides=(1, 2, 1),
                                                     padding=SAME), [y])
    yield Case("CONV_3D_TRANSPOSE", "", lambda b, v: b.emit(
        "CONV_3D_TRANSPOSE", [b.int32([1, 11, 13, 15, 4]), _weights(b, 3, 3, 3, 4, 3), v, _weights(b, 4)],
        [(ElementType.FLOAT32, (1, 11, 13, 15, 4))],
        {"padding": VALID, "strideD": 2, "strideH": 2, "strideW": 2, "dilationDFactor": 1, "dilationHFactor": 1,
         "dilationWFactor": 1, "fusedActivationFunction": 0})[0], [y])


def _products() -> Iterator[Case]:
    for rank in (2, 3, 4):
        x = numbers(F, (2, 3, 4, 5)[4 - rank:])
        yield Case("FULLY_CONNECTED", f"rank-{rank}", lambda b, y: b.fully_connected(
            y, _weights(b, 6, 5), _weights(b, 6)), [x])
    yield Case("FULLY_CONNECTED", "no-bias", lambda b, y: b.fully_connected(y, _weights(b, 6, 5), None),
               [numbers(F, (4, 5))])
    a, c = numbers(F, (2, 1, 3, 4)), numbers(F, (3, 4, 5), 2)
    yield Case("BATCH_MATMUL", "broadcast", lambda b, y, z: b.batch_matmul(y, z), [a, c])
    yield Case("BATCH_MATMUL", "adjoint", lambda b, y, z: b.batch_matmul(y, z, adj_x=True, adj_y=True),
               [numbers(F, (2, 4, 3)), numbers(F, (2, 5, 4), 2)])
    yield Case("BATCH_MATMUL", "weights", lambda b, y: b.batch_matmul(y, _weights(b, 2, 4, 5)), [numbers(F, (2, 3, 4))])


def _windows() -> Iterator[Case]:
    x = numbers(F, (1, 9, 8, 3))
    for padding in (SAME, VALID):
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            yield Case(op, "same" if padding == SAME else "valid", lambda b, y, o=op, p=padding: b.pool_2d(
                o, y, kernel=(3, 2), strides=(2, 1), padding=p), [x])
    for dtype in (np.int8, np.uint8, np.int16):
        yield Case("MAX_POOL_2D", np.dtype(dtype).name, lambda b, y: b.pool_2d(
            "MAX_POOL_2D", y, kernel=(2, 2), strides=(2, 2)), [numbers(dtype, (1, 6, 8, 3))])
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        for note, how in (("", {}), ("corners", {"align_corners": True}), ("half", {"half_pixel_centers": True})):
            for size in ((18, 16), (5, 11)):
                yield Case(op, f"{note}-{size[0]}", lambda b, y, o=op, h=how, s=size: b.resize_2d(o, y, *s, **h), [x])
    yield Case("LOCAL_RESPONSE_NORMALIZATION", "", lambda b, y: b.one(
        "LOCAL_RESPONSE_NORMALIZATION", [y], y.element, y.shape, radius=1, bias=1.0, alpha=0.1, beta=0.75), [x])


def _graph(name: str, make: Any, *like: Tensor) -> Graph:
    graph = Graph(name)
    graph.inputs = [Tensor(f"{name}_{i}", t.element, t.shape) for i, t in enumerate(like)]
    made = make(Builder(graph), *graph.inputs)
    graph.outputs = [made] if isinstance(made, Tensor) else list(made)
    return graph


def _if(b: Builder, condition: Tensor, x: Tensor) -> list[Tensor]:
    then = _graph("then", lambda c, y: c.conv_2d(y, _weights(c, 4, 3, 3, 3), None), x)
    otherwise = _graph("else", lambda c, y: c.mul(c.slice(c.concat([y, y], 3), (0, 1, 1, 0), (1, 7, 6, 4)),
                                                  _weights(c, 4)), x)
    return b.if_(condition, then, otherwise, [x], [(x.element, (1, 7, 6, 4))])


def _while(b: Builder, count: Tensor, x: Tensor) -> list[Tensor]:
    """x times the weights, `count` times."""
    condition = _graph("condition", lambda c, n, y: c.compare("GREATER", n, c.scalar(0, n)), count, x)
    body = _graph("body", lambda c, n, y: [c.sub(n, c.scalar(1, n)), c.fully_connected(y, _weights(c, 5, 5), None)],
                  count, x)
    return b.while_(condition, body, [count, x], [(count.element, ()), (x.element, x.shape)])


def _called() -> Iterator[Case]:
    picture = numbers(F, (1, 9, 8, 3))
    for condition in (True, False):
        yield Case("IF", str(condition), _if, [np.array(condition), picture])
    for count in (0, 3):
        yield Case("WHILE", str(count), _while, [np.array(count, np.int32), numbers(F, (2, 5))])
