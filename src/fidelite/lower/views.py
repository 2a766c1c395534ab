"""Reshape and its kin, which keep every element where it is, repetition, and the shapes themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import ContradictoryModel, NeedsConstant, NeedsStaticShape, UnsupportedAttribute
from fidelite.lower.filling import filled, known_length
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.scope import Held
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, is_static, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_EXPORT_AGAIN = "export the model again; if an input's shape was changed, export with that shape"


@lowers("Identity")
def identity(node: Node, b: Builder) -> Held:
    held = node.held[0]
    return node.input(0) if held is None else held


@lowers("Transpose")
def transpose(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    order = node.ints("perm", None)
    order = tuple(reversed(range(x.rank))) if order is None else order
    if sorted(order) != list(range(x.rank)):
        raise ContradictoryModel(f"its perm {list(order)} is no order of the {x.rank} axes of '{x.name}'",
                                 remedy="export the model again")
    return b.transpose(x, order)


# -- Reshape

@lowers("Reshape", since=5, until=13)
def reshape(node: Node, b: Builder) -> Tensor:
    return _reshape(node, b, zero_copies=True)


@lowers("Reshape", since=14)
def reshape_allowzero(node: Node, b: Builder) -> Tensor:
    return _reshape(node, b, zero_copies=not node.int_("allowzero", 0))


def _reshape(node: Node, b: Builder, *, zero_copies: bool) -> Tensor:
    x, target = node.input(0), node.known_dims(1)
    if target is None:
        return _reshape_at_run_time(node, b, zero_copies=zero_copies)
    dims: list[Dim] = []
    for axis, dim in enumerate(target):
        if dim == 0 and zero_copies:
            if axis >= x.rank:
                raise ContradictoryModel(f"the 0 at position {axis} of its shape copies a dimension that "
                                         f"'{x.name}' does not have", remedy="export the model again")
            dim = x.shape[axis]
        dims.append(dim)
    if -1 in dims:
        at = dims.index(-1)
        dims[at] = _remaining(x, [d for i, d in enumerate(dims) if i != at])
    have, want = product(x.shape), product(dims)
    if have != want and isinstance(have, int) and isinstance(want, int):
        raise ContradictoryModel(f"it makes {dims} ({want} elements) of '{x.name}', which has {have}",
                                 remedy=_EXPORT_AGAIN)
    return b.reshape(x, dims)


def _remaining(x: Tensor, others: Sequence[Dim]) -> Dim:
    """The dimension that -1 stands for: what is left of `x`'s elements."""
    rest, total = product(others), product(x.shape)
    if rest == 0 or (isinstance(rest, int) and isinstance(total, int) and total % rest):
        raise ContradictoryModel(f"the {total} elements of '{x.name}' cannot be divided by the other "
                                 f"dimensions {list(others)} to find the -1", remedy="export the model again")
    return total // rest


def _reshape_at_run_time(node: Node, b: Builder, *, zero_copies: bool) -> Tensor:
    """RESHAPE reads its shape when it runs; -1 means there what it means in ONNX, zeros are replaced."""
    x, shape = node.input(0), node.input(1)
    count = known_length(shape)
    operand = b.cast(shape, ElementType.INT32)
    if zero_copies and count:
        own = b.shape_operand([*x.shape, *([0] * count)][:count])
        operand = b.select(b.compare("EQUAL", operand, b.scalar(0, operand)), own, operand)
    result = b.one("RESHAPE", [x, operand], x.element, (0,) * count)
    return b.sized_at_run_time(result, [None] * count)


# -- views by axes

@lowers("Flatten")
def flatten(node: Node, b: Builder) -> Tensor:
    """[prod(shape[:axis]), prod(shape[axis:])]; axis may equal the rank."""
    x = node.input(0)
    axis = node.int_("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise ContradictoryModel(f"its axis {axis} is out of range for the {x.rank} dimensions of '{x.name}'",
                                 remedy="export the model again")
    axis = axis + x.rank if axis < 0 else axis
    return b.reshape(x, (product(x.shape[:axis]), product(x.shape[axis:])))


@lowers("Squeeze", until=12)
def squeeze_attribute(node: Node, b: Builder) -> Tensor:
    return _squeeze(node.input(0), node.ints("axes", None), node, b)


@lowers("Squeeze", since=13, partial="axes that are not constant need a declared result shape")
def squeeze(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    if node.optional(1) is None:
        return _squeeze(x, None, node, b)
    if node.input(1).constant is None:
        return b.reshape(x, _declared(node))
    return _squeeze(x, node.ints_at(1, "axes"), node, b)


def _squeeze(x: Tensor, axes: Sequence[int] | None, node: Node, b: Builder) -> Tensor:
    if axes is None:
        gone = [i for i, d in enumerate(x.shape) if d == 1]
        if not x.is_static:
            raise NeedsStaticShape(f"Squeeze without axes drops every dimension of 1, and '{x.name}' has some that "
                                   "are known only when the model runs",
                                   remedy="fix the input's dimensions: --shape NAME=1,3,512,512")
    else:
        gone = [node.normalized(a, x.rank) for a in axes] if x.rank else []
    if wrong := [i for i in gone if isinstance(x.shape[i], int) and x.shape[i] != 1]:
        raise ContradictoryModel(f"it drops axis {wrong[0]} of '{x.name}', which has {x.shape[wrong[0]]} entries",
                                 remedy=_EXPORT_AGAIN)
    return b.reshape(x, [d for i, d in enumerate(x.shape) if i not in gone])


@lowers("Unsqueeze", until=12)
def unsqueeze_attribute(node: Node, b: Builder) -> Tensor:
    return _unsqueeze(node.input(0), node.ints("axes"), node, b)


@lowers("Unsqueeze", since=13, partial="axes that are not constant need a declared result shape")
def unsqueeze(node: Node, b: Builder) -> Tensor:
    if node.input(1).constant is None:
        return b.reshape(node.input(0), _declared(node))
    return _unsqueeze(node.input(0), node.ints_at(1, "axes"), node, b)


def _unsqueeze(x: Tensor, axes: Sequence[int], node: Node, b: Builder) -> Tensor:
    rank = x.rank + len(axes)
    new = {node.normalized(a, rank) for a in axes}
    if len(new) != len(axes):
        raise ContradictoryModel(f"its axes {list(axes)} name one axis twice", remedy=_EXPORT_AGAIN)
    return b.unsqueeze(x, sorted(new)) if new else x


def _declared(node: Node) -> tuple[int, ...]:
    """The shape that the model declares for the result. A view's elements stay in order: its shape says all."""
    dims = node.declared_shape()
    if dims is None:
        raise NeedsConstant("its axes must be known when converting, and the model computes them",
                            remedy="make the axes an initializer in the model")
    return tuple(dims)


# -- repetition

@lowers("Expand")
def expand(node: Node, b: Builder) -> Tensor:
    x, dims = node.input(0), node.known_dims(1)
    if dims is not None:
        return b.broadcast_to(x, b.broadcast(x.shape, tuple(dims)))
    shape = node.input(1)
    count = known_length(shape)
    rank = max(count, x.rank)
    target = b.cast(shape, ElementType.INT32)
    if x.rank:
        target = b.one("BROADCAST_ARGS", [b.shape_operand(x.shape), target], ElementType.INT32, (rank,))
    # A dimension above 1 stays what it is, since broadcasting can only stretch ones.
    known = [None] * (rank - x.rank) + [d if isinstance(d, int) and d > 1 else None for d in x.shape]
    result = b.one("BROADCAST_TO", [x, target], x.element, (0,) * rank)
    return b.sized_at_run_time(result, known)


@lowers("Tile", since=6)
def tile(node: Node, b: Builder) -> Tensor:
    x, repeats = node.input(0), node.known_dims(1)
    if x.rank == 0:
        return x
    if repeats is not None:
        return b.tile(x, repeats)
    result = b.one("TILE", [x, b.cast(node.input(1), ElementType.INT32)], x.element, x.shape)
    return b.sized_at_run_time(result, [None] * x.rank)


# -- Dropout does nothing in inference

@lowers("Dropout", since=7, until=11, partial="the mask, which these schema versions leave open in inference")
def dropout(node: Node, b: Builder) -> list[Tensor | None]:
    return [node.input(0), None]


@lowers("Dropout", since=12, partial="training_mode must be constant and false")
def dropout_with_mode(node: Node, b: Builder) -> list[Tensor | None]:
    x = node.input(0)
    mode = node.optional_constant(2, "training_mode")
    if mode is not None and mode.reshape(-1)[0]:
        ratio = node.optional_constant(1, "ratio")
        if ratio is None or ratio.reshape(-1)[0]:
            raise UnsupportedAttribute("Dropout in training mode draws random numbers",
                                       remedy="call model.eval() before exporting the model")
    return [x, filled(b, x.shape, np.asarray(True)) if node.wants(1) else None]


# -- shapes as values

@lowers("Shape", until=13)
def shape_of(node: Node, b: Builder) -> Tensor:
    return _dims(node.input(0), 0, None, b)


@lowers("Shape", since=15)
def shape_between(node: Node, b: Builder) -> Tensor:
    return _dims(node.input(0), node.int_("start", 0), node.int_("end", None), b)


def _dims(x: Tensor, start: int, end: int | None, b: Builder) -> Tensor:
    """x.shape[start:end] as int64: Python's rules for negative and large bounds are ONNX's."""
    chosen = x.shape[start:end]
    if is_static(chosen):
        return b.constant(np.asarray(chosen, np.int64))
    first = range(x.rank)[start:end].start
    return b.slice(b.shape_of(x), [first], [len(chosen)])


@lowers("Size")
def size(node: Node, b: Builder) -> Tensor:
    total = product(node.input(0).shape)
    if isinstance(total, int):
        return b.constant(np.asarray(total, np.int64))
    return b.reshape(b.cast(b.shape_operand([total]), ElementType.INT64), ())
