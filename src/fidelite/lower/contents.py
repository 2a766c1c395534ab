"""What integer tensors hold when they are computed from dynamic shapes: ints and symbols.

Shape -> Gather -> Mul -> Concat -> Reshape is how exporters write "keep the batch". Evaluating those nodes on object
arrays of `Dim`s tells a Reshape its target as (batch, 128, 4096) although only the run time knows the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fidelite.lower.node import Node
from fidelite.tflite.dims import maximum, minimum
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_MAX_ELEMENTS = 256
_INTEGERS = (ElementType.INT64, ElementType.INT32)
_Known = Sequence[np.ndarray | None]


def contents_of(node: Node, operands: Sequence[Tensor | None], contents: Mapping[Tensor, np.ndarray],
                fold: Any, opset: int) -> dict[int, np.ndarray] | None:
    """Output position -> object array of Dims, where the node computes on shapes; else None."""
    if node.domain or node.op not in _RULES:
        return None
    if node.op != "Shape" and not any(t is not None and t in contents for t in operands):
        return None
    known: list[np.ndarray | None] = []
    for tensor in operands:
        if node.op == "Shape":
            known.append(None)
        elif tensor is None:
            known.append(None)
        elif tensor in contents:
            known.append(contents[tensor])
        elif tensor.constant is not None and tensor.element in _INTEGERS and tensor.constant.size <= _MAX_ELEMENTS:
            known.append(_objects(tensor.constant.numpy()))
        else:
            return None
    result = _RULES[node.op](node, known, operands)
    return None if result is None else {0: result}


def _objects(array: np.ndarray) -> np.ndarray:
    result = np.empty(array.shape, object)
    for index, value in np.ndenumerate(array):
        result[index] = int(value)
    return result


def _shape(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    tensor = operands[0]
    assert tensor is not None
    end = node.int_("end", tensor.rank)
    return _vector(list(tensor.shape[slice(node.int_("start", 0), end)]))


def _vector(dims: Sequence[Any]) -> np.ndarray:
    result = np.empty(len(dims), object)
    for i, dim in enumerate(dims):
        result[i] = dim
    return result


def _gather(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data, indices = known[0], known[1]
    assert data is not None and indices is not None
    if not all(isinstance(i, int) for i in indices.reshape(-1)):
        return None
    return np.asarray(np.take(data, indices.astype(np.int64), axis=node.int_("axis", 0)), object)


def _binary(function: Callable[[Any, Any], Any]) -> Any:
    def rule(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
        a, b = np.broadcast_arrays(known[0], known[1])
        result = np.empty(a.shape, object)
        for index in np.ndindex(a.shape):
            result[index] = function(a[index], b[index])
        return result
    return rule


def _quotient(a: Any, b: Any) -> Any:
    return a // b if not (isinstance(a, int) and isinstance(b, int)) or (a >= 0) == (b >= 0) else -(-a // b)


def _concat(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    return np.concatenate([k for k in known if k is not None], axis=node.int_("axis", 0))


def _same(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    if node.op == "Cast" and node.int_("to") not in (6, 7):
        return None
    return known[0]


def _axes(node: Node, known: _Known) -> list[int] | None:
    if len(known) > 1 and known[1] is not None:
        return [int(a) for a in known[1].reshape(-1)]
    return node.ints("axes", None)


def _squeeze(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data, axes = known[0], _axes(node, known)
    assert data is not None
    return np.squeeze(data) if axes is None else np.squeeze(data, tuple(axes))


def _unsqueeze(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data, axes = known[0], _axes(node, known)
    assert data is not None
    return None if axes is None else np.expand_dims(data, tuple(axes))


def _reshape(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data, shape = known[0], known[1]
    assert data is not None and shape is not None
    if not all(isinstance(d, int) for d in shape.reshape(-1)):
        return None
    return data.reshape([int(d) for d in shape])


def _slice(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data = known[0]
    assert data is not None
    if len(known) < 3 or any(k is not None and not all(isinstance(d, int) for d in k.reshape(-1)) for k in known[1:]):
        return None
    starts, ends = known[1], known[2]
    assert starts is not None and ends is not None
    axes = known[3].reshape(-1) if len(known) > 3 and known[3] is not None else range(len(starts))
    steps = known[4].reshape(-1) if len(known) > 4 and known[4] is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -data.shape[int(axis)] else int(end)
        index[int(axis)] = slice(int(start), stop, int(step))
    return data[tuple(index)]


def _reduce_prod(node: Node, known: _Known, operands: Sequence[Tensor | None]) -> np.ndarray | None:
    data = known[0]
    assert data is not None
    total: Any = 1
    for dim in data.reshape(-1):
        total = total * dim
    result = np.empty((1,) * data.ndim if node.int_("keepdims", 1) else (), object)
    result[...] = total
    return result if data.ndim == 1 else None


_RULES: dict[str, Any] = {
    "Shape": _shape, "Gather": _gather, "Concat": _concat, "Identity": _same, "Cast": _same, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Slice": _slice, "ReduceProd": _reduce_prod,
    "Add": _binary(lambda a, b: a + b), "Sub": _binary(lambda a, b: a - b), "Mul": _binary(lambda a, b: a * b),
    "Div": _binary(_quotient), "Max": _binary(maximum), "Min": _binary(minimum),
}
