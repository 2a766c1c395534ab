"""Builder methods for values on a grid: QUANTIZE and DEQUANTIZE, and the same by plain arithmetic."""

from __future__ import annotations

import numpy as np

from fidelite.tflite.builder.network import NetworkBuilder
from fidelite.tflite.constant import Cast
from fidelite.tflite.graph import Tensor
from fidelite.tflite.grid import Grid, along, dequantized, integer_range
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType

_QUANTIZES = frozenset({ElementType.INT8, ElementType.UINT8, ElementType.INT16})
_PER_AXIS = frozenset({ElementType.INT8, ElementType.UINT8})
_BLIND = frozenset({"CAST", "DEQUANTIZE"})
"""Operators that do not mind whether the integers they read have a grid."""


class QuantizingBuilder(NetworkBuilder):
    """A tensor of integers on a grid says so (`Tensor.quantization`); the same integers without one are numbers."""

    def quantize(self, x: Tensor, grid: Grid) -> Tensor:
        """float32 `x` rounded to `grid`: QUANTIZE where LiteRT's kernel takes it, else arithmetic."""
        if not grid.per_tensor or grid.element not in _QUANTIZES:
            rank = x.rank
            facts = grid.quantization
            return self.quantize_exactly(x, self.constant(along(facts.scale, facts.axis, rank, np.float32)),
                                         self.constant(along(facts.zero_point, facts.axis, rank, np.float32)),
                                         grid.element)
        result = self.emit("QUANTIZE", [x], [(grid.element, x.shape)])[0]
        result.quantization = grid.quantization
        return result

    def quantize_exactly(self, x: Tensor, scale: Tensor, zero_point: Tensor | None, element: ElementType) -> Tensor:
        """round(x / scale), half to even, plus the zero point, within the range of `element`: plain arithmetic.

        QUANTIZE multiplies by 1 / scale, and rounds halves in one way or another. All operands are float32, and
        broadcast to `x`'s shape.
        """
        return self.cast(self.grid_steps(self.div(x, scale), zero_point, *integer_range(element)), element)

    def grid_steps(self, steps: Tensor, zero_point: Tensor | None, low: int, high: int) -> Tensor:
        """float32 `steps` of a grid as the whole numbers in low..high nearest to them, still in float32."""
        rounded = self.unary("ROUND", steps)
        if zero_point is not None and not (zero_point.constant is not None and not np.any(zero_point.constant.numpy())):
            rounded = self.add(rounded, zero_point)
        return self.minimum(self.maximum(rounded, self.scalar(low, rounded)), self.scalar(high, rounded))

    def dequantize(self, x: Tensor, grid: Grid) -> Tensor:
        """Integers on `grid` as float32: a deferred constant, DEQUANTIZE, or arithmetic, which all give the same."""
        if x.constant is not None:  # 4-bit integers may come in a type that carries them
            return self.constant(dequantized(x.constant.then(Cast(grid.element)), grid))
        if self._has_kernel(grid) and self.claim(x, grid):
            return self.emit("DEQUANTIZE", [x], [(ElementType.FLOAT32, x.shape)])[0]
        facts = grid.quantization
        zero_point = along(facts.zero_point, facts.axis, x.rank, np.float32)
        return self.dequantize_exactly(x, self.constant(along(facts.scale, facts.axis, x.rank, np.float32)),
                                       self.constant(zero_point) if zero_point.any() else None)

    def dequantize_exactly(self, x: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
        """(x - zero point) * scale in float32. `scale` and `zero_point` are float32 and broadcast to `x`'s shape."""
        value = self.cast(x, ElementType.FLOAT32)
        return self.mul(value if zero_point is None else self.sub(value, zero_point), scale)

    @staticmethod
    def _has_kernel(grid: Grid) -> bool:
        """Whether DEQUANTIZE takes the grid: int16 only without a zero point, per axis only 8 bits."""
        if grid.element is ElementType.INT16:
            return grid.per_tensor and not any(grid.quantization.zero_point)
        return grid.element in _PER_AXIS

    def claim(self, x: Tensor, grid: Grid) -> bool:
        """Say that the integers `x` lie on `grid`, so that kernels may know it. False where they lie on another, or
        are read already by an operator to which it matters."""
        if x.quantization is not None or x.element is not grid.element:
            return x.quantization == grid.quantization
        chain = self._movements(x, grid.per_tensor)
        if chain is None:
            return False
        for tensor in chain:
            tensor.quantization = grid.quantization
        return True

    @staticmethod
    def _movements(x: Tensor, per_tensor: bool) -> list[Tensor] | None:
        """`x` and the tensors that it was moved from, back to an input or a CAST; None where that cannot be."""
        chain, reader = [x], None
        while True:
            tensor = chain[-1]
            if any(u.op not in _BLIND and u is not reader for u in tensor.users) or tensor.quantization is not None:
                return None
            maker = tensor.producer
            if maker is None or maker.op == "CAST":
                return chain
            row = row_of(maker.op)
            if row is None or row.kind is not Kind.MOVES or not per_tensor or maker.op in ("PAD", "SPACE_TO_BATCH_ND"):
                return None
            quantities = row.quantities(maker)
            if len(quantities) != 1 or len(maker.outputs) != 1:
                return None
            chain.append(quantities[0])
            reader = maker
