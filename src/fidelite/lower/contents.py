"""What small tensors hold when they are computed from dynamic shapes: numbers and symbols.

Shape -> Gather -> Mul -> Concat -> Reshape is how exporters write "keep the batch". Evaluating those nodes on object
arrays of `Dim`s (and of ratios, where sizes are scaled) tells a Reshape its target as (batch, 128, 4096) although
only the run time knows the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir

from fidelite.lower import ratios
from fidelite.lower.node import Node
from fidelite.lower.ratios import Number, Unknown
from fidelite.tflite.dims import Dim, is_static, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_MAX_ELEMENTS = 256
_INTEGERS = (ElementType.INT64, ElementType.INT32)
_FLOATS = (ElementType.FLOAT32, ElementType.FLOAT64)
_TYPES = {onnx_ir.DataType.INT64: ElementType.INT64, onnx_ir.DataType.INT32: ElementType.INT32,
          onnx_ir.DataType.BOOL: ElementType.BOOL, onnx_ir.DataType.FLOAT: ElementType.FLOAT32,
          onnx_ir.DataType.DOUBLE: ElementType.FLOAT64}
Array = np.ndarray[Any, Any]
_Known = Sequence[Array | None]
_Rule = Callable[[Node, _Known], "Array | list[Array]"]


def contents_of(node: Node, operands: Sequence[Tensor | None],
                contents: Mapping[Tensor, Array]) -> tuple[ElementType, list[Array]] | None:
    """The element type and the values of the node's results, where it computes on shapes; else None.

    Values are object arrays of ints, bools, Dims and, for floats, Ratios.
    """
    if node.domain or node.op not in _RULES:
        return None
    reads_shape = node.op in ("Shape", "Size")
    if not reads_shape and not any(t is not None and t in contents for t in operands):
        return None
    try:
        known = [None if t is None else _sizes(t) if reads_shape else _value(t, contents) for t in operands]
        results = _RULES[node.op](node, known)
        element = _element(node, operands)
    except Unknown:
        return None
    found = results if isinstance(results, list) else [results]
    return None if any(a.size > _MAX_ELEMENTS for a in found) else (element, found)


def _value(tensor: Tensor, contents: Mapping[Tensor, Array]) -> Array:
    """What a tensor holds. Raises Unknown."""
    if tensor in contents:
        return contents[tensor]
    constant = tensor.constant
    if constant is None or constant.size > _MAX_ELEMENTS:
        raise Unknown
    if tensor.element in _FLOATS:
        return _mapped(lambda v: ratios.of_float(float(v)), constant.numpy())
    if tensor.element not in (*_INTEGERS, ElementType.BOOL):
        raise Unknown
    return _mapped(bool if tensor.element is ElementType.BOOL else int, constant.numpy())


def _sizes(tensor: Tensor) -> Array:
    return _vector(tensor.shape)


def _vector(dims: Sequence[Any]) -> Array:
    result = np.empty(len(dims), object)
    for i, dim in enumerate(dims):
        result[i] = dim
    return result


def _mapped(function: Callable[..., Any], *arrays: Array) -> Array:
    """`function` of the elements, broadcast."""
    spread = np.broadcast_arrays(*arrays)
    result = np.empty(spread[0].shape, object)
    for index in np.ndindex(result.shape):
        result[index] = function(*(a[index] for a in spread))
    return result


def _element(node: Node, operands: Sequence[Tensor | None]) -> ElementType:
    """The element type of the results."""
    if node.op in ("Shape", "Size"):
        return ElementType.INT64
    if node.op == "Cast":
        return _target(node)
    if node.op in _COMPARISONS or node.op in ("Not", "And", "Or"):
        return ElementType.BOOL
    first = operands[1 if node.op == "Where" else 0]
    assert first is not None
    return first.element


def _target(node: Node) -> ElementType:
    """What Cast casts to. Raises Unknown for types that sizes do not fit in."""
    element = _TYPES.get(onnx_ir.DataType(node.int_("to")))
    if element is None:
        raise Unknown
    return element


def _given(known: _Known, index: int) -> Array:
    value = known[index] if index < len(known) else None
    if value is None:
        raise Unknown
    return value


def _ints(known: _Known, index: int) -> list[int]:
    """An operand that must hold plain integers. Raises Unknown."""
    values = list(_given(known, index).reshape(-1))
    if not all(isinstance(v, int) for v in values):
        raise Unknown
    return values


def _is_float(node: Node) -> bool:
    return node.input(0).element in _FLOATS


# -- element by element

def _elementwise(function: Callable[..., Any]) -> _Rule:
    def rule(node: Node, known: _Known) -> Array:
        return _mapped(function, *(_given(known, i) for i in range(len(known))))
    return rule


def _folded(function: Callable[[Number, Number], Number]) -> _Rule:
    """An operator of one or more operands."""
    def rule(node: Node, known: _Known) -> Array:
        total = _given(known, 0)
        for i in range(1, len(known)):
            total = _mapped(function, total, _given(known, i))
        return total
    return rule


def _div(node: Node, known: _Known) -> Array:
    function = ratios.divide if _is_float(node) else ratios.divide_integers
    return _mapped(function, _given(known, 0), _given(known, 1))


def _mod(node: Node, known: _Known) -> Array:
    if node.int_("fmod", 0) or _is_float(node):
        raise Unknown
    return _mapped(ratios.modulo, _given(known, 0), _given(known, 1))


def _cast(node: Node, known: _Known) -> Array:
    target = _target(node)
    if target is ElementType.BOOL:
        return _mapped(lambda v: not ratios.is_equal(v, 0), _given(known, 0))
    if target in _FLOATS:
        return _mapped(lambda v: int(v) if isinstance(v, bool) else v, _given(known, 0))
    return _mapped(lambda v: int(v) if isinstance(v, bool) else ratios.truncate(v), _given(known, 0))


def _where(node: Node, known: _Known) -> Array:
    return _mapped(lambda c, a, b: a if c else b, _given(known, 0), _given(known, 1), _given(known, 2))


def _clip(node: Node, known: _Known) -> Array:
    result = _given(known, 0)
    for index, function in ((1, ratios.largest), (2, ratios.smallest)):
        if index < len(known) and known[index] is not None:
            result = _mapped(function, result, _given(known, index))
    return result


def _not(value: bool) -> bool:
    return not value


def _equal(a: Any, b: Any) -> bool:
    return a == b if isinstance(a, bool) else ratios.is_equal(a, b)


# -- by place

def _shape(node: Node, known: _Known) -> Array:
    return _given(known, 0)[slice(node.int_("start", 0), node.int_("end", None))]


def _size(node: Node, known: _Known) -> Array:
    return _vector([product(_given(known, 0))]).reshape(())


def _gather(node: Node, known: _Known) -> Array:
    data, indices = _given(known, 0), np.asarray(_ints(known, 1), np.int64).reshape(_given(known, 1).shape)
    axis = node.int_("axis", 0)
    size = data.shape[axis]
    if indices.size and not (indices.min() >= -size and indices.max() < size):
        raise Unknown
    return np.asarray(np.take(data, indices, axis=axis), object)


def _concat(node: Node, known: _Known) -> Array:
    return np.concatenate([_given(known, i) for i in range(len(known))], axis=node.int_("axis"))


def _split(node: Node, known: _Known) -> list[Array]:
    data, axis = _given(known, 0), node.int_("axis", 0)
    count = node.output_count
    sizes = _ints(known, 1) if len(known) > 1 and known[1] is not None else node.ints("split", None)
    if sizes is None:
        part = -(-data.shape[axis] // count)
        sizes = [part] * (count - 1)
    return np.split(data, np.cumsum(sizes)[:count - 1], axis=axis)


def _same(node: Node, known: _Known) -> Array:
    return _given(known, 0)


def _axes(node: Node, known: _Known) -> tuple[int, ...] | None:
    if len(known) > 1 and known[1] is not None:
        return tuple(_ints(known, 1))
    return node.ints("axes", None)


def _squeeze(node: Node, known: _Known) -> Array:
    return np.squeeze(_given(known, 0), _axes(node, known))


def _unsqueeze(node: Node, known: _Known) -> Array:
    axes = _axes(node, known)
    if axes is None:
        raise Unknown
    return np.expand_dims(_given(known, 0), axes)


def _reshape(node: Node, known: _Known) -> Array:
    data, shape = _given(known, 0), _ints(known, 1)
    copies = not node.int_("allowzero", 0)
    return data.reshape([data.shape[i] if d == 0 and copies else d for i, d in enumerate(shape)])


def _expand(node: Node, known: _Known) -> Array:
    data = _given(known, 0)
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(_ints(known, 1))))


def _tile(node: Node, known: _Known) -> Array:
    return np.tile(_given(known, 0), _ints(known, 1))


def _transpose(node: Node, known: _Known) -> Array:
    return np.transpose(_given(known, 0), node.ints("perm", None))


def _slice(node: Node, known: _Known) -> Array:
    data = _given(known, 0)
    if len(known) < 3:
        starts, ends = list(node.ints("starts")), list(node.ints("ends"))
        axes, steps = node.ints("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = _ints(known, 1), _ints(known, 2)
        axes = _ints(known, 3) if len(known) > 3 and known[3] is not None else range(len(starts))
        steps = _ints(known, 4) if len(known) > 4 and known[4] is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis]
        if step < 0:  # a start before the first element counts as the first
            start, end = max(start, -size), -size - 1 if end in (2**31 - 1, 2**63 - 1) else end
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return data[tuple(index)]


def _range(node: Node, known: _Known) -> Array:
    start, limit, delta = (_given(known, i).reshape(-1)[0] for i in range(3))
    if _is_float(node) or not isinstance(delta, int) or delta == 0:
        raise Unknown
    count = -((start - limit) // delta)
    if not isinstance(count, int) or count > _MAX_ELEMENTS:
        raise Unknown
    return _vector([start + i * delta for i in range(count)])


def _reduced(function: Callable[[Number, Number], Number]) -> _Rule:
    """A reduction of a vector to one number."""
    def rule(node: Node, known: _Known) -> Array:
        data, axes = _given(known, 0), _axes(node, known)
        if data.ndim != 1 or not data.size or (axes is not None and tuple(axes) not in ((0,), (-1,))) or (
                axes is not None and not axes):
            raise Unknown
        total = data[0]
        for value in data[1:]:
            total = function(total, value)
        return _vector([total]).reshape((1,) if node.int_("keepdims", 1) else ())
    return rule


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equal": _equal, "Less": ratios.is_less, "Greater": lambda a, b: ratios.is_less(b, a),
    "LessOrEqual": lambda a, b: not ratios.is_less(b, a), "GreaterOrEqual": lambda a, b: not ratios.is_less(a, b),
}
_RULES: dict[str, _Rule] = {
    "Shape": _shape, "Size": _size, "Gather": _gather, "Concat": _concat, "Split": _split, "Identity": _same,
    "Cast": _cast, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Expand": _expand, "Tile": _tile,
    "Transpose": _transpose, "Slice": _slice, "Range": _range,
    "Add": _elementwise(ratios.add), "Sub": _elementwise(ratios.sub), "Mul": _elementwise(ratios.mul), "Div": _div,
    "Mod": _mod, "Max": _folded(ratios.largest), "Min": _folded(ratios.smallest), "Sum": _folded(ratios.add),
    "Neg": _elementwise(lambda v: ratios.mul(v, -1)),
    "Abs": _elementwise(lambda v: ratios.largest(v, ratios.mul(v, -1))),
    "Floor": _elementwise(ratios.floor), "Ceil": _elementwise(ratios.ceil), "Clip": _clip, "Where": _where,
    "Not": _elementwise(_not), "And": _elementwise(lambda a, b: a and b), "Or": _elementwise(lambda a, b: a or b),
    "ReduceProd": _reduced(ratios.mul), "ReduceSum": _reduced(ratios.add), "ReduceMax": _reduced(ratios.largest),
    "ReduceMin": _reduced(ratios.smallest),
    **{op: _elementwise(function) for op, function in _COMPARISONS.items()},
}


def dims_of(values: Array) -> list[Dim] | None:
    """The values as dimensions; None where one of them is a fraction."""
    found = list(values.reshape(-1))
    return None if any(isinstance(v, ratios.Ratio) for v in found) else found


def plain(values: Array) -> bool:
    """Whether all values are known numbers."""
    dims = dims_of(values)
    return dims is not None and is_static(dims)
