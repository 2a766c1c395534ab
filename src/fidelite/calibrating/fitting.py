"""Samples as users write them to a mapping from input names to arrays of the right type and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.errors import BadSample
from fidelite.runtime.protocol import dtype_of

if TYPE_CHECKING:
    from fidelite.runtime import Port

Array = np.ndarray[Any, Any]


def fitted(sample: Any, inputs: Sequence[Port], number: int) -> dict[str, Array]:
    """One sample: a mapping from input names, a list or tuple in the inputs' order, or, of one input, an array.

    Floats and whole numbers become the input's own type where no value is lost by it. Raises BadSample (F237).
    """
    names = [p.name for p in inputs]
    if isinstance(sample, Mapping):
        named: dict[str, Any] = {str(name): value for name, value in sample.items()}
        if set(named) != set(names):
            raise _misfit(number, f"it has {_list(named)}, and the inputs are {_list(names)}",
                          "yield a dict with an array for each input")
    else:
        values: list[Any] = list(sample) if isinstance(sample, list | tuple) else [sample]
        if len(values) != len(names):
            raise _misfit(number, f"it has {len(values)} arrays, and the model {len(names)} inputs: {_list(names)}",
                          "yield a list with an array for each input, or a dict with their names")
        named = dict(zip(names, values, strict=True))
    return {p.name: _fit(named[p.name], p, number) for p in inputs}


def _fit(value: Any, port: Port, number: int) -> Array:
    to_numpy = getattr(value, "numpy", None)  # tensors of TensorFlow and of PyTorch
    try:
        array = np.asarray(to_numpy() if callable(to_numpy) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _misfit(number, f"'{port.name}' is no array: {error}", "yield NumPy arrays") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != port.dtype:
        raise _misfit(number, f"'{port.name}' is of type {array.dtype}", f"yield arrays of {port.dtype}")
    fits = array.ndim == len(port.shape) and all(
        d == n for d, n in zip(port.shape, array.shape, strict=True) if isinstance(d, int))
    if not fits:
        raise _misfit(number, f"'{port.name}' has the shape {list(array.shape)}, and the input is {port}",
                      _shape_remedy(port, array.shape))
    return _converted(array, port, number)


def _converted(array: Array, port: Port, number: int) -> Array:
    wanted = dtype_of(port.dtype)
    if array.dtype == wanted:
        return array
    changed = array.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(changed, array):
        raise _misfit(number, f"'{port.name}' is {array.dtype}, and its values are lost in {port.dtype}",
                      f"array.astype('{port.dtype}')")
    return changed


def _shape_remedy(port: Port, shape: tuple[int, ...]) -> str:
    dims = tuple(port.shape)
    if len(dims) == len(shape) + 1:
        return "add the batch: array[None]"
    if len(dims) == 4 and len(shape) == 4 and (dims[0], dims[2], dims[3], dims[1]) == shape:
        return f"the model is channels-first: array.transpose(0, 3, 1, 2), or convert with --layout {port.name}=nhwc"
    if len(dims) == 4 and len(shape) == 4 and (dims[0], dims[3], dims[1], dims[2]) == shape:
        return "the model is channels-last: array.transpose(0, 2, 3, 1)"
    return f"yield arrays of {list(dims)}"


def stacks(given: Array | Mapping[Any, Any], inputs: Sequence[Port], what: str) -> list[dict[str, Array]]:
    """Samples from arrays with one more axis in front (or none: one sample). Raises BadSample (F237)."""
    if isinstance(given, Mapping):
        named: dict[str, Array] = {str(name): np.asarray(value) for name, value in given.items()}
    else:
        if len(inputs) != 1:
            raise BadSample(f"{what} is one array, and the model has {len(inputs)} inputs", code="F237",
                            remedy="give a dict with an array for each input")
        named = {inputs[0].name: given}
    ranks = {p.name: len(p.shape) for p in inputs}
    if set(named) != set(ranks):
        raise _misfit(0, f"it has {_list(named)}, and the inputs are {_list(ranks)}", "name the inputs so")
    many = {name for name, array in named.items() if array.ndim == ranks[name] + 1}
    if not many and len(inputs) == 1:
        # [N, ...] for an input [1, ...]: N samples, as `representative_dataset`s often hold them.
        port, array = inputs[0], named[inputs[0].name]
        if port.shape[:1] == (1,) and array.ndim == len(port.shape) and len(array) > 1:
            return [fitted([array[i : i + 1]], inputs, i) for i in range(len(array))]
    counts = {len(named[name]) for name in many}
    if len(counts) > 1:
        raise BadSample(f"{what} has a different number of samples for each input", code="F237",
                        remedy="give each array as many samples as the others")
    count = counts.pop() if counts else 1
    return [fitted({n: a[i] if n in many else a for n, a in named.items()}, inputs, i) for i in range(count)]


def _misfit(number: int, reason: str, remedy: str) -> BadSample:
    return BadSample(f"calibration sample {number} does not fit: {reason}", code="F237", remedy=remedy,
                     details={"sample": number})


def _list(names: Any) -> str:
    return ", ".join(f"'{n}'" for n in names) or "nothing"
