"""Tensors made from little: Constant, ConstantOfShape, Range, EyeLike."""

from __future__ import annotations

import numpy as np
import onnx_ir

from fidelite.errors import NeedsConstant, UnsupportedAttribute, UnsupportedType
from fidelite.lower.driver import onnx_element_type
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, Shape, is_static, maximum
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


def filled(b: Builder, shape: Shape, value: np.ndarray) -> Tensor:
    """`value` (rank 0) everywhere."""
    if is_static(shape):
        constant = np.broadcast_to(value, [int(d) for d in shape])  # type: ignore[arg-type]
        return b.constant(np.ascontiguousarray(constant).reshape(constant.shape))
    return b.fill(b.shape_operand(shape), b.constant(value.reshape(())), shape)


def known_length(shape: Tensor) -> int:
    """How many dimensions a run-time `shape` has. Raises NeedsConstant where even that is not known."""
    count = shape.shape[0]
    if not isinstance(count, int):
        raise NeedsConstant("the number of dimensions it makes is known only when the model runs",
                            remedy="fix the input's dimensions: --shape NAME=1,3,512,512")
    return count


@lowers("Constant")
def constant(node: Node, b: Builder) -> Tensor:
    """Constants are folded; what comes here is of a type that TFLite does not have."""
    raise UnsupportedType("it holds values of a type that TFLite does not compute with",
                          remedy="use float32, float16, an integer or a boolean type")


@lowers("ConstantOfShape")
def constant_of_shape(node: Node, b: Builder) -> Tensor:
    given = node.tensor("value")
    value = np.zeros((), np.float32) if given is None else np.asarray(given).reshape(())
    dims = node.known_dims(0)
    if dims is not None:
        return filled(b, tuple(dims), value)
    shape = node.input(0)
    count = known_length(shape)
    return b.sized_at_run_time(b.fill(shape, b.constant(value), (0,) * count), [None] * count)


@lowers("Range", partial="float64, unless all operands are constants")
def range_(node: Node, b: Builder) -> Tensor:
    """start + i * delta for 0 <= i < max(0, ceil((limit - start) / delta)).

    Floats are computed in float32 (schema 27's stash_type), and by adding delta again and again, as ONNX Runtime does.
    """
    if node.int_("stash_type", 1) != 1:
        raise UnsupportedAttribute("it counts in another type than float32", remedy="use stash_type 1")
    start, limit, delta = (b.reshape(node.input(i), ()) for i in range(3))
    element = start.element
    if element.is_integer:
        wide = element if element in (ElementType.INT32, ElementType.INT64) else ElementType.INT32
        steps = _steps(b.cast(start, wide), b.cast(limit, wide), b.cast(delta, wide), b)
        known = [node.known_dims(i) for i in range(3)]
        dims: list[Dim | None] = [None]
        first, last, step = (d[0] if d else None for d in known)
        if first is not None and last is not None and isinstance(step, int) and step:
            dims = [maximum(0, -((first - last) // step))]
        return b.cast(b.sized_at_run_time(steps, dims), element)
    wide = element if element is ElementType.FLOAT64 else ElementType.FLOAT32
    if wide is ElementType.FLOAT64:
        raise UnsupportedType("LiteRT cannot count steps in float64",
                              remedy="use float32 or int64 in the model")
    steps = _steps(b.cast(start, wide), b.cast(limit, wide), b.cast(delta, wide), b)
    return b.cast(b.sized_at_run_time(steps, [None]), element)


def counting(size: Dim, b: Builder) -> Tensor:
    """0, 1, ... size - 1 as int32."""
    if isinstance(size, int):
        return b.int32(list(range(size)))
    count = b.reshape(b.shape_operand([size]), ())
    return b.one("RANGE", [b.int32(0), count, b.int32(1)], ElementType.INT32, (size,))


def _steps(start: Tensor, limit: Tensor, delta: Tensor, b: Builder) -> Tensor:
    """RANGE, which refuses limits on the wrong side of `start`, where ONNX makes no element."""
    if delta.constant is not None:
        ahead = b.compare("GREATER" if delta.constant.numpy() > 0 else "LESS", limit, start)
    else:
        rising = b.compare("GREATER", delta, b.scalar(0, delta))
        ahead = b.compare("EQUAL", b.compare("GREATER", limit, start), rising)
    limit = b.select(ahead, limit, start)  # and not MAXIMUM, which XNNPACK rounds to 0 near it
    return b.one("RANGE", [start, limit, delta], start.element, (0,))


@lowers("EyeLike")
def eye_like(node: Node, b: Builder) -> Tensor:
    """1 where column - row = k, else 0."""
    x, k = node.input(0), node.int_("k", 0)
    code = node.int_("dtype", None)
    element = x.element if code is None else onnx_element_type(onnx_ir.DataType(code))
    if x.is_static:
        rows, columns = x.static_shape
        return b.constant(np.eye(rows, columns, k).astype(element.dtype))
    row, column = (counting(d, b) for d in x.shape)
    target = b.add(b.reshape(row, (x.shape[0], 1)), b.int32(k))
    on_it = b.compare("EQUAL", target, b.reshape(column, (1, x.shape[1])))
    return b.select(on_it, b.scalar(1, element), b.scalar(0, element))
