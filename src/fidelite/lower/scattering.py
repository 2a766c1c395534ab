"""Scatter and its kin: elements put at computed places."""

from __future__ import annotations

from math import prod

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.indices import flat_places, from_front
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.staged import Staged
from fidelite.tflite.builder import Builder
from fidelite.tflite.builder.indexing import SCATTER_REGIONS
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor


@lowers("Scatter", "ScatterElements", until=15)
def scatter_elements(node: Node, b: Builder) -> Tensor:
    return _scatter_elements(node, b, "none")


@lowers("ScatterElements", since=16)
def scatter_elements_reducing(node: Node, b: Builder) -> Tensor:
    """Schema 16 adds add and mul, 18 max and min."""
    return _scatter_elements(node, b, _reduction(node))


def _reduction(node: Node) -> str:
    reduction = node.str_("reduction", "none")
    if reduction not in SCATTER_REGIONS:
        raise UnsupportedAttribute(f"its reduction '{reduction}' is unknown",
                                   remedy="ONNX knows none, add, mul, max and min")
    return reduction


def _scatter_elements(node: Node, b: Builder, reduction: str) -> Tensor:
    """out[indices[i, j, k], j, k] = updates[i, j, k] for axis 0, and so on, on x flattened."""
    x, indices, updates = node.input(0), node.input(1), node.input(2)
    axis = node.axis(x.rank, default=0)
    if 0 in indices.shape:
        return x
    places = flat_places(from_front(indices, [x.shape[axis]], b), x.shape, axis, b)
    count, total = product(indices.shape), product(x.shape)
    result = b.scatter(b.reshape(x, (total,)), b.reshape(places, (count, 1)), b.reshape(updates, (count,)), reduction)
    return b.reshape(result, x.shape)


@lowers("ScatterND", until=15)
def scatter_nd(node: Node, b: Builder) -> Tensor:
    return _scatter_nd(node, b, "none")


@lowers("ScatterND", since=16)
def scatter_nd_reducing(node: Node, b: Builder) -> Tensor:
    """Schema 16 adds add and mul, 18 max and min."""
    return _scatter_nd(node, b, _reduction(node))


def _scatter_nd(node: Node, b: Builder, reduction: str) -> Tensor:
    x, indices, updates = node.input(0), node.input(1), node.input(2)
    if 0 in indices.shape[:-1] or 0 in updates.shape:
        return x
    depth = b.static_dim(indices.shape[-1], "the depth of ScatterND's indices")
    places = from_front(indices, x.shape[:depth], b)
    if reduction == "none" and (box := _box(places)) is not None:
        begin, size = box
        shape: tuple[Dim, ...] = (*size, *updates.shape[indices.rank - 1:])
        # LiteRT asks already when it plans the model, at whatever size a dynamic axis has then.
        if all(isinstance(have, int) or want in (have, 1) for have, want in zip(x.shape, shape, strict=True)):
            return b.update_slice(x, b.reshape(updates, shape), [*begin, *[0] * (x.rank - depth)])
    return b.scatter(x, places, updates, reduction)


@lowers("TensorScatter", partial="dynamic shapes")
def tensor_scatter(node: Node, b: Builder) -> Tensor:
    """cache[batch, ..., index of the batch + i, ...] = update[batch, ..., i, ...], in circles where that is asked for:
    on both seen as [batch, axes before, sequence, axes behind]."""
    cache, update, first = node.input(0), node.input(1), node.optional(2)
    axis, circular = node.axis(cache.rank, default=-2), node.str_("mode", "linear") == "circular"
    shape, count = b.static(cache, "TensorScatter"), b.static(update, "TensorScatter")[axis]
    if axis == 0:
        raise InvalidModel("its axis is that of the batch", remedy="export the model again")
    if first is None:
        return b.update_slice(cache, update, [0] * cache.rank)
    batch, before, behind = shape[0], prod(shape[1:axis]), prod(shape[axis + 1:])
    s = Staged(b)
    at = s.binary("ADD", s.reshape(s.int32(s.known(first)), (batch, 1, 1, 1)),
                  np.arange(count, dtype=np.int32).reshape(1, 1, count, 1))
    if circular:
        at = s.binary("FLOOR_MOD", at, np.asarray(shape[axis], np.int32))
    grid = np.stack(list(np.indices((batch, before, count), np.int32)[:2]), -1)
    spread = s.binary("ADD", at, np.zeros((batch, before, count, 1), np.int32))
    places = b.concat([b.constant(grid), s.tensor(spread)], 3)
    result = b.scatter(b.reshape(cache, (batch, before, shape[axis], behind)), places,
                       b.reshape(update, (batch, before, count, behind)))
    return b.reshape(result, cache.shape)


def _box(places: Tensor) -> tuple[list[int], list[int]] | None:
    """First corner and size of the box that constant `places` are, all of it and in row-major order; else None."""
    if places.constant is None:
        return None
    values = places.constant.numpy()
    flat = values.reshape(-1, values.shape[-1])
    begin, size = flat.min(0), flat.max(0) - flat.min(0) + 1
    if int(np.prod(size, dtype=np.int64)) != len(flat):
        return None
    grid = np.stack([c.reshape(-1) for c in np.indices(size)], 1) + begin
    return ([int(v) for v in begin], [int(v) for v in size]) if np.array_equal(grid, flat) else None
