"""Builder methods for operators that work element by element, with numpy's broadcasting."""

from __future__ import annotations

from typing import Any

from fidelite.errors import UnsupportedType
from fidelite.tflite.builder.core import BuilderCore
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


class ElementwiseBuilder(BuilderCore):
    """Unary, binary, comparison, logical and selecting operators. Types without a kernel are widened and cast back."""

    def unary(self, op: str, x: Tensor, **options: Any) -> Tensor:
        """`op` on each element, in `x`'s type (computed in a wider one where the kernel lacks it)."""
        wide = self.compute_type(op, x.element)
        result = self.one(op, [self.cast(x, wide)], wide, x.shape, **options)
        return self.cast(result, x.element)

    def binary(self, op: str, a: Tensor, b: Tensor, **options: Any) -> Tensor:
        """`op` on pairs of elements of one type, broadcast."""
        element = self._common(op, a, b)
        wide = self.compute_type(op, element)
        shape = self.broadcast(a.shape, b.shape)
        self.check_rank(op, len(shape))
        result = self.one(op, [self.cast(a, wide), self.cast(b, wide)], wide, shape, **options)
        return self.cast(result, element)

    def compare(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        """A comparison: bool, broadcast."""
        wide = self.compute_type(op, self._common(op, a, b))
        shape = self.broadcast(a.shape, b.shape)
        self.check_rank(op, len(shape))
        return self.one(op, [self.cast(a, wide), self.cast(b, wide)], ElementType.BOOL, shape)

    def _common(self, op: str, a: Tensor, b: Tensor) -> ElementType:
        if a.element is not b.element:
            raise UnsupportedType(f"{op} needs operands of one type, and got {a.element.name} and {b.element.name}",
                                  remedy="cast one of them in the model")
        return a.element

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return self.binary("ADD", a, b)

    def sub(self, a: Tensor, b: Tensor) -> Tensor:
        return self.binary("SUB", a, b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return self.binary("MUL", a, b)

    def div(self, a: Tensor, b: Tensor) -> Tensor:
        """Division; integer division truncates (LiteRT's int32 kernel), and there is none for int64."""
        return self.binary("DIV", a, b)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return self.binary("MAXIMUM", a, b)

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        return self.binary("MINIMUM", a, b)

    def relu(self, x: Tensor) -> Tensor:
        return self.unary("RELU", x)

    def logistic(self, x: Tensor) -> Tensor:
        return self.unary("LOGISTIC", x)

    def leaky_relu(self, x: Tensor, alpha: float) -> Tensor:
        return self.unary("LEAKY_RELU", x, alpha=float(alpha))

    def gelu(self, x: Tensor, *, approximate: bool) -> Tensor:
        """GELU with erf, or with its tanh approximation."""
        return self.unary("GELU", x, approximate=approximate)

    def select(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """`a` where `condition` holds, else `b`; all three broadcast."""
        element = self._common("SELECT_V2", a, b)
        shape = self.broadcast(condition.shape, a.shape, b.shape)
        self.check_rank("SELECT_V2", len(shape))
        return self.one("SELECT_V2", [condition, a, b], element, shape)

    def logical_not(self, x: Tensor) -> Tensor:
        return self.one("LOGICAL_NOT", [x], ElementType.BOOL, x.shape)

    def prelu(self, x: Tensor, alpha: Tensor) -> Tensor:
        """x where x >= 0, else alpha * x; alpha broadcasts to x's shape."""
        wide = self.compute_type("PRELU", x.element)
        result = self.one("PRELU", [self.cast(x, wide), self.cast(alpha, wide)], wide, x.shape)
        return self.cast(result, x.element)

    def rescale(self, x: Tensor, scale: float, shift: float) -> Tensor:
        """x * scale + shift, leaving out what does nothing."""
        if scale != 1.0:
            x = self.mul(x, self.scalar(scale, x))
        return self.add(x, self.scalar(shift, x)) if shift != 0.0 else x
