"""Arithmetic on values of which some are known when converting: those are computed at once, in float32 as LiteRT does.

A sampling grid or a list of regions is often a constant: what follows from it then costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

Array = np.ndarray[Any, Any]
Value = Tensor | Array
"""A tensor, or a number or array that is known. Floats are float32."""

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide, "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum, "FLOOR_MOD": np.mod}
_UNARY: dict[str, Callable[[Array], Array]] = {"FLOOR": np.floor, "CEIL": np.ceil, "ROUND": np.rint}
_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "LESS": np.less, "LESS_EQUAL": np.less_equal, "GREATER": np.greater, "GREATER_EQUAL": np.greater_equal}


class Staged:
    """Methods named as the Builder's."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def known(self, x: Tensor) -> Value:
        """`x`, or its content where that is known; floats in float32."""
        if x.element.is_float:
            x = self.b.float32(x)
        return x if x.constant is None else x.constant.numpy()

    def tensor(self, x: Value) -> Tensor:
        return x if isinstance(x, Tensor) else self.b.constant(np.ascontiguousarray(x).reshape(x.shape))

    def binary(self, op: str, x: Value | float, y: Value | float) -> Value:
        first, second = self._pair(x, y)
        if isinstance(first, Tensor) or isinstance(second, Tensor):
            return self.b.binary(op, self.tensor(first), self.tensor(second))
        with np.errstate(all="ignore"):
            return np.asarray(_BINARY[op](first, second))

    def compare(self, op: str, x: Value | float, y: Value | float) -> Value:
        first, second = self._pair(x, y)
        if isinstance(first, Tensor) or isinstance(second, Tensor):
            return self.b.compare(op, self.tensor(first), self.tensor(second))
        return np.asarray(_COMPARE[op](first, second))

    def either(self, x: Value, y: Value) -> Value:
        """Logical or."""
        if isinstance(x, Tensor) or isinstance(y, Tensor):
            return self.b.logical("LOGICAL_OR", self.tensor(x), self.tensor(y))
        return np.asarray(x | y)

    def select(self, condition: Value, x: Value | float, y: Value | float) -> Value:
        first, second = self._pair(x, y)
        if not any(isinstance(v, Tensor) for v in (condition, first, second)):
            return np.where(condition, first, second)  # type: ignore[arg-type]
        return self.b.select(self.tensor(condition), self.tensor(first), self.tensor(second))

    def unary(self, op: str, x: Value) -> Value:
        return self.b.unary(op, x) if isinstance(x, Tensor) else np.asarray(_UNARY[op](x))

    def clamp(self, x: Value, low: Value | float, high: Value | float) -> Value:
        """Between the two; NaN becomes `low`, so that it is a place too."""
        if isinstance(x, np.ndarray):
            x = np.where(np.isnan(x), np.float32(0), x)
        return self.binary("MINIMUM", self.binary("MAXIMUM", x, low), high)

    def reshape(self, x: Value, shape: Sequence[Dim]) -> Value:
        if isinstance(x, Tensor):
            return self.b.reshape(x, shape)
        return x.reshape([self.b.static_dim(d, "a constant's shape") for d in shape])

    def part(self, x: Value, index: int) -> Value:
        """Entry `index` of the last axis, which stays."""
        if isinstance(x, Tensor):
            return self.b.slice(x, [*[0] * (x.rank - 1), index], [*x.shape[:-1], 1])
        return x[..., index:index + 1]

    def int32(self, x: Value) -> Value:
        return self.b.cast(x, ElementType.INT32) if isinstance(x, Tensor) else x.astype(np.int32)

    def total(self, terms: Sequence[Value]) -> Value:
        """The sum, from the first term on."""
        result = terms[0]
        for term in terms[1:]:
            result = self.binary("ADD", result, term)
        return result

    def _pair(self, x: Value | float, y: Value | float) -> tuple[Value, Value]:
        """Plain numbers take the other's type."""
        dtype = next((v.element.dtype if isinstance(v, Tensor) else v.dtype
                      for v in (x, y) if isinstance(v, Tensor | np.ndarray)), np.dtype(np.float32))
        first, second = (v if isinstance(v, Tensor | np.ndarray) else np.asarray(v, dtype) for v in (x, y))
        return first, second
