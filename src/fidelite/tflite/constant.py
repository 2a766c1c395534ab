"""Constants as deferred expressions: where the bytes lie, and what is to be done to them when they are written.

Nothing is evaluated before the writer (or a fold) asks, one tensor at a time, so that the memory a conversion needs
is that of its largest tensor where the source maps its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import numpy as np

from fidelite.tflite.types import ElementType

IntShape = tuple[int, ...]
_CONTENT_KEY_BYTES = 1024


class Step(Protocol):
    """One thing done to an array. Steps are frozen dataclasses, so equal steps compare equal."""

    def apply(self, array: np.ndarray) -> np.ndarray: ...

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]: ...


@dataclass(frozen=True, slots=True)
class Permute:
    permutation: IntShape

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(self.permutation)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return element, tuple(shape[axis] for axis in self.permutation)


@dataclass(frozen=True, slots=True)
class Reshape:
    shape: IntShape

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self.shape)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return element, self.shape


@dataclass(frozen=True, slots=True)
class Cast:
    element: ElementType

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array.astype(self.element.dtype, copy=False)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return self.element, shape


@dataclass(frozen=True, slots=True)
class Apply:
    """Any element-preserving or shape-changing function, named by `key` so that equal steps can be told.

    The result's type and shape are those of the input unless given.
    """

    key: Hashable
    function: Callable[[np.ndarray], np.ndarray]
    element: ElementType | None = None
    shape: IntShape | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apply) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def apply(self, array: np.ndarray) -> np.ndarray:
        return self.function(array)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return self.element or element, shape if self.shape is None else self.shape


@dataclass(frozen=True, slots=True)
class Scale:
    """Times (or divided by) `factors`: one number, or one for each index along `axis`."""

    axis: int
    factors: tuple[float, ...]
    divide: bool = False

    def apply(self, array: np.ndarray) -> np.ndarray:
        shape = [1] * array.ndim
        if array.ndim:
            shape[self.axis] = len(self.factors)
        aligned = np.asarray(self.factors, array.dtype).reshape(shape)
        return (array / aligned if self.divide else array * aligned).astype(array.dtype, copy=False)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return element, shape


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value known when converting: `load()` gives the stored array, `steps` lead from there to the value.

    `element` and `shape` (ints) describe the result. `key` names the stored bytes: two constants with equal keys and
    steps hold equal values.
    """

    element: ElementType
    shape: IntShape
    load: Callable[[], np.ndarray]
    key: Hashable
    steps: tuple[Step, ...] = ()

    @staticmethod
    def of(array: np.ndarray) -> Constant:
        """A constant of an array at hand."""
        array = np.asarray(array)
        key: Hashable = (
            (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
            if array.nbytes <= _CONTENT_KEY_BYTES else ("array", id(array)))
        return Constant(ElementType.of(array.dtype), array.shape, lambda: array, key)

    def numpy(self) -> np.ndarray:
        """The value. Evaluated anew each time; not to be written to."""
        array = self.load()
        for step in self.steps:
            array = step.apply(array)
        return array

    def then(self, step: Step) -> Constant:
        """This constant with one more step."""
        element, shape = step.result(self.element, self.shape)
        if element == self.element and shape == self.shape and isinstance(step, Reshape | Cast):
            return self
        return replace(self, element=element, shape=shape, steps=(*self.steps, step))

    def permute(self, permutation: Sequence[int]) -> Constant:
        order = tuple(permutation)
        return self if order == tuple(range(len(order))) else self.then(Permute(order))

    def reshape(self, shape: Sequence[int]) -> Constant:
        return self.then(Reshape(tuple(shape)))

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value in the file."""
        return (self.size * self.element.bits + 7) // 8

    @property
    def identity(self) -> Hashable:
        """Equal for constants that are known to hold the same value in the same type and shape."""
        return (self.key, self.steps, self.element, self.shape)
