"""Builder methods for operators that work element by element, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fidelite.errors import UnsupportedType
from fidelite.tflite.builder.core import BuilderCore
from fidelite.tflite.constant import Apply
from fidelite.tflite.dims import Dim, Shape, SymbolicDim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types, max_rank
from fidelite.tflite.types import ElementType

_SIGN = np.iinfo(np.int64).min
_FLOAT64_OPS = {"ADD": "STABLEHLO_ADD", "SUB": "STABLEHLO_ADD", "MUL": "STABLEHLO_MULTIPLY"}


class ElementwiseBuilder(BuilderCore):
    """Unary, binary, comparison, logical and selecting operators. Types without a kernel are widened and cast back."""

    def unary(self, op: str, x: Tensor, **options: Any) -> Tensor:
        """`op` on each element, in `x`'s type (computed in a wider one where the kernel lacks it)."""
        wide = self.compute_type(op, x.element)
        result = self.one(op, [self.cast(x, wide)], wide, x.shape, **options)
        return self.cast(result, x.element)

    def binary(self, op: str, a: Tensor, b: Tensor, **options: Any) -> Tensor:
        """`op` on pairs of elements of one type, broadcast. uint64 sums and products are those of int64, as bits."""
        element = self._common(op, a, b)
        if element is ElementType.UINT64 and op in ("ADD", "SUB", "MUL"):
            signed = ElementType.INT64
            return self.bitcast(self.binary(op, self.bitcast(a, signed), self.bitcast(b, signed), **options), element)
        if element is ElementType.UINT64 and op in ("MAXIMUM", "MINIMUM"):
            best = self.binary(op, self.ordered(a), self.ordered(b))
            return self.from_ordered(best, element)
        if element is ElementType.FLOAT64 and op in _FLOAT64_OPS:
            return self._in_float64(op, a, b)
        wide = self.compute_type(op, element)
        result = self._broadcasting(op, [self.cast(a, wide), self.cast(b, wide)], wide, **options)
        return self.cast(result, element)

    def _in_float64(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        """float64 sums, differences, products and extremes, by the STABLEHLO kernels, which do not broadcast."""
        if op == "SUB":
            op, b = "ADD", self._in_float64("MUL", b, self.scalar(-1, b))
        shape = self.broadcast(a.shape, b.shape)
        operands = [self._spread(x, shape) for x in (a, b)]
        return self.emit_checked(_FLOAT64_OPS[op], operands, ElementType.FLOAT64, shape)

    def _spread(self, x: Tensor, shape: Shape) -> Tensor:
        if x.shape == shape:
            return x
        return self.one("BROADCAST_TO", [x, self.shape_operand(shape)], x.element, shape)

    def compare(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        """A comparison: bool, broadcast. float64 is compared in float32."""
        element = self._common(op, a, b)
        if element is ElementType.UINT64:
            a, b = self.ordered(a), self.ordered(b)
            element = ElementType.INT64
        wide = self.compute_type(op, element)
        return self._broadcasting(op, [self.cast(a, wide), self.cast(b, wide)], ElementType.BOOL)

    def ordered(self, x: Tensor) -> Tensor:
        """uint64 or float64 as int64 in the same order (-0 and 0 alike; NaN beyond the infinities)."""
        signed = self.bitcast(x, ElementType.INT64)
        if x.element is ElementType.UINT64:  # the sign bit flipped
            return self.binary("ADD", signed, self.scalar(_SIGN, signed))
        return self._flipped(signed)

    def from_ordered(self, x: Tensor, element: ElementType) -> Tensor:
        """The inverse of `ordered`."""
        signed = self.binary("ADD", x, self.scalar(_SIGN, x)) if element is ElementType.UINT64 else self._flipped(x)
        return self.bitcast(signed, element)

    def _flipped(self, x: Tensor) -> Tensor:
        """Non-negative numbers as they are, negative ones in the opposite order: x < 0 to -2^63 - x."""
        negative = self.compare("LESS", x, self.scalar(0, x))
        return self.select(negative, self.binary("SUB", self.scalar(_SIGN, x), x), x)

    def _broadcasting(self, op: str, operands: Sequence[Tensor], element: ElementType, **options: Any) -> Tensor:
        """`op` on operands of broadcast shapes. Axes that broadcast alike are merged where the kernel's rank is too
        small for them."""
        shape = self.broadcast(*(x.shape for x in operands))
        if len(shape) <= max_rank(op) or len({x.shape for x in operands}) == 1:
            return self.emit_checked(op, operands, element, shape, **options)
        merged, shapes = merge_axes(shape, [x.shape for x in operands])
        self.check_rank(op, len(merged))
        pieces = [self.reshape(x, s) for x, s in zip(operands, shapes, strict=True)]
        return self.reshape(self.emit_checked(op, pieces, element, merged, **options), shape)

    def emit_checked(self, op: str, operands: Sequence[Tensor], element: ElementType, shape: Shape,
                     **options: Any) -> Tensor:
        """As `one`, without its limit on the rank of the first operand."""
        types = kernel_types(op)
        typed = operands[-1]
        if types is not None and typed.element not in types:
            raise UnsupportedType(f"LiteRT's {op} does not compute in {typed.element.name}",
                                  remedy=f"types it takes: {', '.join(sorted(t.name for t in types))}",
                                  details={"op": op, "type": typed.element.name})
        return self.emit(op, operands, [(element, shape)], options)[0]

    def reshape(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        """The same elements in another shape. Symbolic dimensions become -1 (one) or are computed (more).

        A view of a view is made from its root: LiteRT lets an operator write into its operand, and where that is a
        view of a view it does not see that the view in between is still needed.
        """
        target: Shape = tuple(shape)
        while x.producer is not None and x.producer.op == "RESHAPE" and x.shape != target:
            root = x.producer.inputs[0]
            assert root is not None
            x = root
        if target == x.shape:
            return x
        if x.constant is not None:
            return self.constant(x.constant.reshape([self.static_dim(d, "a constant's shape") for d in target]))
        if x.producer is not None and x.producer.op == "BITCAST":
            return self.bitcast(self._reshaped(self._unbitcast(x), target), x.element)
        return self._reshaped(x, target)

    def _reshaped(self, x: Tensor, target: Shape) -> Tensor:
        self.check_rank("RESHAPE", len(target))
        symbolic = [d for d in target if isinstance(d, SymbolicDim)]
        if not symbolic or (len(symbolic) == 1 and 0 not in target):
            sizes = [-1 if isinstance(d, SymbolicDim) else d for d in target]
            return self.one("RESHAPE", [x, self.int32(sizes)], x.element, target, newShape=sizes)
        dearest = max(symbolic, key=lambda d: len(str(d)))  # may stay -1: the others say what it is
        at = target.index(dearest)
        operand = self.shape_operand([-1 if i == at and 0 not in target else d for i, d in enumerate(target)])
        return self.one("RESHAPE", [x, operand], x.element, target)

    @staticmethod
    def _unbitcast(x: Tensor) -> Tensor:
        """What `x` is a bitcast of, or `x`."""
        while x.producer is not None and x.producer.op == "BITCAST":
            root = x.producer.inputs[0]
            assert root is not None
            x = root
        return x

    def bitcast(self, x: Tensor, element: ElementType) -> Tensor:
        """The same bits as another element type of the same width. As in `reshape`, not a view of a shared view."""
        x = x if x.element is element else self._unbitcast(x)
        if x.element is element:
            return x
        if x.constant is not None:
            dtype = element.dtype
            return self.constant(x.constant.then(Apply(("bits", element), lambda a: a.view(dtype), element)))
        if x.producer is not None and x.producer.op == "RESHAPE" and x.users:
            root = x.producer.inputs[0]
            assert root is not None
            x = self._reshaped(root, x.shape)
        return self.one("BITCAST", [x], element, x.shape)

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
        return self._broadcasting("SELECT_V2", [condition, a, b], element)

    def logical(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        """LOGICAL_AND or LOGICAL_OR of booleans, broadcast."""
        return self._broadcasting(op, [a, b], ElementType.BOOL)

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


def merge_axes(shape: Shape, operands: Sequence[Shape]) -> tuple[Shape, list[Shape]]:
    """The broadcast `shape` and its operands' shapes with fewer axes: unit axes of the result are dropped, and
    neighbours merged along which the same operands broadcast (where that is known when converting)."""
    padded = [(1,) * (len(shape) - len(s)) + tuple(s) for s in operands]
    kept = [i for i, dim in enumerate(shape) if dim != 1]
    groups: list[list[int]] = []
    patterns = {i: tuple(s[i] == 1 for s in padded) for i in kept}
    known = {i for i in kept if all(s[i] in (1, shape[i]) for s in padded)}
    for axis in kept:
        if groups and patterns[groups[-1][-1]] == patterns[axis] and {groups[-1][-1], axis} <= known:
            groups[-1].append(axis)
        else:
            groups.append([axis])

    def joined(dims: Sequence[Dim]) -> Shape:
        return tuple(product(dims[i] for i in group) for group in groups)

    return joined(shape), [joined(s) for s in padded]
