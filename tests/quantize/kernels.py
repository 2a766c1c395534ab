"""One-operator models on grids, and what numpy makes of the same integers: float64 arithmetic, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Quantization, Tensor
from fidelite.tflite.grid import Grid, along, integer_range
from fidelite.tflite.types import ElementType
from tests.optimize.support import graph_of

Array = np.ndarray[Any, Any]
Build = Callable[[Builder, Sequence[Tensor]], Tensor]
_I8, _U8, _I16 = ElementType.INT8, ElementType.UINT8, ElementType.INT16


@dataclass(frozen=True)
class Case:
    """`build` makes the float operator, `reference` what it computes; ranges of operands and the result."""

    op: str
    shapes: Sequence[tuple[int, ...]]
    build: Build
    reference: Callable[..., Array]
    ranges: Sequence[tuple[float, float]]
    result: tuple[float, float]
    types: frozenset[ElementType] = frozenset({_I8, _U8, _I16})
    steps: Mapping[ElementType, int] = field(default_factory=dict[ElementType, int])
    """Steps by which a type's kernel may be off, where that is more than one."""


def grid_for(element: ElementType, low: float, high: float) -> Grid:
    """The grid that covers low..high: symmetric around 0 in int16."""
    first, last = integer_range(element)
    if element is _I16:
        return Grid.of(element, float(np.float32(max(-low, high) / last)))
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (last - first)))
    return Grid.of(element, scale, int(np.clip(round(first - low / scale), first, last)))


def dequantize(values: Array, grid: Grid) -> Array:
    facts = grid.quantization
    zero = along(facts.zero_point, facts.axis, values.ndim, np.float64)
    return (values.astype(np.float64) - zero) * along(facts.scale, facts.axis, values.ndim, np.float64)


def quantize(values: Array, grid: Grid) -> Array:
    """Steps, not clipped to integers yet: float64."""
    return np.clip(values / grid.scale + grid.zero_point, *integer_range(grid.element))


def rounded(b: Builder, x: Tensor, grid: Grid) -> Tensor:
    """`x` through QUANTIZE and DEQUANTIZE."""
    return b.dequantize(b.quantize(x, grid), grid)


def model_of(case: Case, element: ElementType) -> tuple[Model, list[Grid], Grid]:
    """Float operands, rounded, the operator, its result rounded; the grids of the operands and of the result."""
    grids = [grid_for(element, *r) for r in case.ranges]
    result = grid_for(element, *case.result)

    def build(b: Builder, first: Tensor) -> list[Tensor]:
        operands = [first]
        for i, shape in enumerate(case.shapes[1:], 1):
            operands.append(Tensor(f"x{i}", ElementType.FLOAT32, shape))
            b.graph.inputs.append(operands[-1])
        values = [rounded(b, x, grid) for x, grid in zip(operands, grids, strict=True)]
        return [rounded(b, case.build(b, values), result)]

    model = graph_of(build, case.shapes[0])
    model.signatures[0].inputs = [(t.name, t) for t in model.main.inputs]
    return model, grids, result


def per_channel(values: Array, axis: int) -> Grid:
    """int8 scales of weights along `axis`."""
    largest = np.max(np.abs(values), axis=tuple(a for a in range(values.ndim) if a != axis))
    scale = (largest / 127).astype(np.float32)
    return Grid(_I8, Quantization(tuple(float(s) for s in scale), (0,) * len(scale), axis))
