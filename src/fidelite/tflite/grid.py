"""Constants whose values lie on a grid: integers that were stored with a scale and a zero point.

A quantized model's weights come as integers behind a `Dequantize` step, so that lowerings, the layout and folding see
ordinary float constants. `grid_of` looks through what was done to them since, and gives the integers back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from fidelite.tflite.constant import Constant, IntShape, Permute, Reshape, Scale
from fidelite.tflite.graph import Quantization, Tensor
from fidelite.tflite.types import ElementType

ACTIVATIONS = frozenset({ElementType.INT8, ElementType.UINT8, ElementType.INT16})
"""Types in which kernels compute values that change."""


def along(values: Sequence[float] | Sequence[int], axis: int, rank: int, dtype: np.dtype | type) -> np.ndarray:
    """One value, or one for each index along `axis`, in a shape that broadcasts to `rank` dimensions."""
    array = np.asarray(values, dtype)
    if array.size == 1 or rank == 0:
        return array.reshape(())
    return array.reshape([-1 if i == axis else 1 for i in range(rank)])


@dataclass(frozen=True, slots=True)
class Grid:
    """How values are stored: the integer type, and what its numbers mean."""

    element: ElementType
    quantization: Quantization

    @staticmethod
    def of(element: ElementType, scale: float, zero_point: int = 0) -> Grid:
        """One scale and one zero point for the whole tensor."""
        return Grid(element, Quantization((scale,), (zero_point,)))

    @property
    def per_tensor(self) -> bool:
        return len(self.quantization.scale) == 1

    @property
    def scale(self) -> float:
        """Of a grid that is per tensor: its one scale."""
        return self.quantization.scale[0]

    @property
    def zero_point(self) -> int:
        """Of a grid that is per tensor: its one zero point."""
        return self.quantization.zero_point[0]

    @property
    def low(self) -> int:
        return integer_range(self.element)[0]

    @property
    def high(self) -> int:
        return integer_range(self.element)[1]

    def moved(self, axis: int) -> Grid:
        """This grid with its axis at `axis`."""
        return replace(self, quantization=replace(self.quantization, axis=axis))


def integer_range(element: ElementType) -> tuple[int, int]:
    """The smallest and the largest number of an integer type, those of 4 and 2 bits included."""
    if element.name.startswith("U"):
        return 0, (1 << element.bits) - 1
    return -(1 << (element.bits - 1)), (1 << (element.bits - 1)) - 1


@dataclass(frozen=True, slots=True)
class Dequantize:
    """(stored - zero_point) * scale, the difference in whole numbers, the product in float32 (ONNX's order).

    `shape` is that of the stored integers, so that `grid_of` can go back to them.
    """

    grid: Grid
    shape: IntShape

    def apply(self, array: np.ndarray) -> np.ndarray:
        facts = self.grid.quantization
        zero_point = along(facts.zero_point, facts.axis, array.ndim, np.int64)
        scale = along(facts.scale, facts.axis, array.ndim, np.float32)
        return (array.astype(np.int64) - zero_point).astype(np.float32) * scale

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return ElementType.FLOAT32, shape


@dataclass(frozen=True, slots=True)
class Quantize:
    """round(value / scale), half to even, plus the zero point, within the type's range (ONNX's QuantizeLinear).

    `narrow`: the lowest number is left out, so that the range is symmetric.
    """

    grid: Grid
    narrow: bool = False

    def apply(self, array: np.ndarray) -> np.ndarray:
        facts = self.grid.quantization
        scale = along(facts.scale, facts.axis, array.ndim, np.float32)
        zero_point = along(facts.zero_point, facts.axis, array.ndim, np.float64)
        steps = np.rint(array.astype(np.float32) / scale).astype(np.float64) + zero_point
        return np.clip(steps, self.grid.low + self.narrow, self.grid.high).astype(self.grid.element.dtype)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return self.grid.element, shape


@dataclass(frozen=True, slots=True)
class Shift:
    """Integers plus `by`, in another integer type that holds them: uint8 as int8, 128 lower."""

    by: int
    element: ElementType

    def apply(self, array: np.ndarray) -> np.ndarray:
        return (array.astype(np.int64) + self.by).astype(self.element.dtype)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return self.element, shape


def grid_of_tensor(tensor: Tensor) -> Grid | None:
    """The grid that a tensor of integers lies on, where it is one for the whole tensor."""
    facts = tensor.quantization
    if facts is None or len(facts.scale) != 1 or tensor.element not in ACTIVATIONS:
        return None
    return Grid(tensor.element, facts)


def dequantized(stored: Constant, grid: Grid) -> Constant:
    """The float32 values of integers on `grid`."""
    return stored.then(Dequantize(grid, stored.shape))


def on_grid(constant: Constant, grid: Grid, *, narrow: bool = False) -> Constant:
    """A float constant rounded to `grid`: still float32, and `grid_of` finds the integers."""
    return dequantized(constant.then(Quantize(grid, narrow)), grid)


def grid_of(constant: Constant) -> tuple[Constant, Grid] | None:
    """The integers that a float constant was stored as, and their grid: exactly what it is made of.

    None where it is made of none, or where what was done since did not leave one grid (a scale along another axis).
    """
    at = next((i for i in reversed(range(len(constant.steps))) if isinstance(constant.steps[i], Dequantize)), None)
    if at is None:
        return None
    first = constant.steps[at]
    assert isinstance(first, Dequantize)
    stored = replace(constant, element=first.grid.element, shape=first.shape, steps=constant.steps[:at])
    grid: Grid | None = first.grid
    for step in constant.steps[at + 1:]:
        if isinstance(step, Scale):
            grid = _scaled(grid, step)
        elif isinstance(step, Permute):
            grid = grid if grid.per_tensor else grid.moved(step.permutation.index(grid.quantization.axis))
            stored = stored.then(step)
        elif isinstance(step, Reshape):
            grid = _reshaped(grid, stored.shape, step.shape)
            stored = stored.then(step)
        else:
            return None
        if grid is None:
            return None
    return stored, grid


def _scaled(grid: Grid, step: Scale) -> Grid | None:
    """The grid of the scaled values. A factor that is not positive has no scale to go into."""
    facts = grid.quantization
    factors = np.asarray(step.factors, np.float32)
    if not np.all(factors > 0) or not np.isfinite(factors).all():
        return None
    if len(factors) > 1 and not grid.per_tensor and step.axis != facts.axis:
        return None
    scale = np.asarray(facts.scale, np.float32)
    scale = scale / factors if step.divide else scale * factors
    zero_point = np.broadcast_to(np.asarray(facts.zero_point), scale.shape)
    axis = facts.axis if len(factors) == 1 else step.axis
    return replace(grid, quantization=Quantization(tuple(map(float, scale)), tuple(map(int, zero_point)), axis))


def _reshaped(grid: Grid, old: IntShape, new: IntShape) -> Grid | None:
    """The grid after a RESHAPE: its axis must still be one axis."""
    if grid.per_tensor:
        return grid
    axis = moved_axis(grid.quantization.axis, old, new)
    return None if axis is None else grid.moved(axis)


def moved_axis(axis: int, old: Sequence[object], new: Sequence[object]) -> int | None:
    """Where `axis` of the shape `old` is found in `new`, the same elements in another shape; None where nowhere."""
    def known(dims: Sequence[object]) -> IntShape | None:
        return tuple(d for d in dims if isinstance(d, int)) if all(isinstance(d, int) for d in dims) else None

    before = known(old[:axis])
    for position, size in enumerate(new):
        leading = known(new[:position])
        if size == old[axis] and before is not None and leading is not None and prod(leading) == prod(before):
            return position
    return None
