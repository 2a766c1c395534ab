"""Builder methods for operators that move, cut, join, gather and reduce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from fidelite.errors import InternalError, UnsupportedType
from fidelite.tflite.builder.elementwise import ElementwiseBuilder
from fidelite.tflite.dims import Dim, Shape, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types, max_rank
from fidelite.tflite.types import ElementType

_FAR = 2**31 - 1


class MovementBuilder(ElementwiseBuilder):
    """Shapes of results are inferred; a result that only the run time can size gets symbols."""

    # -- views

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """Axes in the order `permutation`; the identity and constants cost no operator."""
        order = tuple(int(p) for p in permutation)
        if sorted(order) != list(range(x.rank)):
            raise InternalError(f"{order} is no permutation of {x.rank} axes")
        if order == tuple(range(x.rank)):
            return x
        if x.constant is not None:
            return self.constant(x.constant.permute(order))
        shape = tuple(x.shape[p] for p in order)
        return self.one("TRANSPOSE", [x, self.int32(order)], x.element, shape)

    def squeeze(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        gone = {a % x.rank for a in axes}
        return self.reshape(x, [d for i, d in enumerate(x.shape) if i not in gone])

    def unsqueeze(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Unit dimensions put in, `axes` counted in the result's shape."""
        rank = x.rank + len(axes)
        new = {a % rank for a in axes}
        rest = iter(x.shape)
        return self.reshape(x, [1 if i in new else next(rest) for i in range(rank)])

    def expand_rank(self, x: Tensor, rank: int) -> Tensor:
        """Leading unit dimensions until `x` has `rank`."""
        return self.reshape(x, (1,) * (rank - x.rank) + x.shape) if rank > x.rank else x

    def broadcast_to(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        target: Shape = tuple(shape)
        if target == x.shape:
            return x
        return self.one("BROADCAST_TO", [x, self.shape_operand(target)], x.element, target)

    def tile(self, x: Tensor, repeats: Sequence[Dim]) -> Tensor:
        if all(r == 1 for r in repeats):
            return x
        shape = tuple(d * r for d, r in zip(x.shape, repeats, strict=True))
        return self.one("TILE", [x, self.shape_operand(repeats)], x.element, shape)

    # -- cutting and joining

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        axis %= first.rank
        size: Dim = 0
        for part in parts:
            size = size + part.shape[axis]
        shape = tuple(size if i == axis else self._agree([p.shape[i] for p in parts])
                      for i in range(first.rank))
        carrier = self.carrier("CONCATENATION", first.element)
        carried = [self.bitcast(p, carrier) for p in parts]
        if first.rank > max_rank("CONCATENATION"):
            flat = [self.reshape(p, _around(p.shape, axis)) for p in carried]
            result = self.one("CONCATENATION", flat, carrier, _around(shape, axis), axis=1)
            return self.bitcast(self.reshape(result, shape), first.element)
        return self.bitcast(self.one("CONCATENATION", carried, carrier, shape, axis=axis), first.element)

    @staticmethod
    def _agree(dims: Sequence[Dim]) -> Dim:
        """Dimensions that must be equal: the int among them if there is one."""
        return next((d for d in dims if isinstance(d, int)), dims[0])

    def split(self, x: Tensor, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
        """Pieces of the given sizes along `axis` (SPLIT where they are equal, else SLICEs)."""
        axis %= x.rank
        shapes = [tuple(size if i == axis else d for i, d in enumerate(x.shape)) for size in sizes]
        types = kernel_types("SPLIT")
        if (len(set(sizes)) == 1 and sizes[0] > 0 and types is not None and x.element in types
                and x.rank <= max_rank("SPLIT")):
            return self.emit("SPLIT", [self.int32(axis), x], [(x.element, s) for s in shapes],
                             {"numSplits": len(sizes)})
        begin, pieces = 0, list[Tensor]()
        for size in sizes:
            begins = [begin if i == axis else 0 for i in range(x.rank)]
            pieces.append(self.slice(x, begins, [size if i == axis else d for i, d in enumerate(x.shape)]))
            begin += size
        return tuple(pieces)

    def slice(self, x: Tensor, begin: Sequence[int], size: Sequence[Dim]) -> Tensor:
        """A box: `begin` and `size` per axis. A symbolic size that is not all the rest is computed at run time."""
        shape: Shape = tuple(size)
        if shape == x.shape and not any(begin):
            return x
        rest = [not isinstance(d, int) and x.shape[i] - begin[i] == d for i, d in enumerate(shape)]
        sizes = self.shape_operand([-1 if r else d for r, d in zip(rest, shape, strict=True)])
        return self.one("SLICE", [x, self.int32(list(begin)), sizes], x.element, shape)

    def strided_slice(self, x: Tensor, begin: Sequence[Dim], end: Sequence[Dim], strides: Sequence[int],
                      shape: Sequence[Dim], *, begin_mask: int = 0, end_mask: int = 0) -> Tensor:
        """STRIDED_SLICE, which clamps as numpy does; bit i of a mask lets axis i start at its first or end after
        its last element (seen in the stride's direction). `shape` is the result's, which the caller knows.

        XNNPACK reads a constant end of 0 as "to the end"; an end far below 0 gives the same nothing, and is read right.
        """
        end = [-_FAR if e == 0 and s > 0 and not end_mask >> i & 1 else e
               for i, (e, s) in enumerate(zip(end, strides, strict=True))]
        operands = [x, self.shape_operand(begin), self.shape_operand(end), self.int32(list(strides))]
        return self.one("STRIDED_SLICE", operands, x.element, tuple(shape), beginMask=begin_mask,
                        endMask=end_mask, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0)

    def pad(self, x: Tensor, before: Sequence[Dim], after: Sequence[Dim],
            value: Tensor | np.ndarray | float = 0) -> Tensor:
        """Constant padding by `before` and `after` elements per axis (none negative). PAD for 0, else PADV2."""
        if not any(before) and not any(after):
            return x
        padded = [i for i in range(x.rank) if before[i] != 0 or after[i] != 0]
        if x.rank > max_rank("PAD"):  # one axis after the other, seen as the middle one of three
            for i in padded:
                shape = tuple(d if a != i else d + before[i] + after[i] for a, d in enumerate(x.shape))
                x = self.pad(self.reshape(x, _around(x.shape, i)), (0, before[i], 0), (0, after[i], 0), value)
                x = self.reshape(x, shape)
            return x
        shape = tuple(d + b + a for d, b, a in zip(x.shape, before, after, strict=True))
        widths = self.shape_operand([w for pair in zip(before, after, strict=True) for w in pair])
        widths = self.reshape(widths, (x.rank, 2))
        if not isinstance(value, Tensor):
            value = self.constant(np.asarray(value).astype(x.element.dtype).reshape(()))
        zero = value.constant is not None and not np.any(value.constant.numpy()) and not _has_zero_point(x)
        carrier = self.carrier("PAD" if zero else "PADV2", x.element)
        operands = [self.bitcast(x, carrier), widths] + ([] if zero else [self.bitcast(value, carrier)])
        return self.bitcast(self.one("PAD" if zero else "PADV2", operands, carrier, shape), x.element)

    def mirror_pad(self, x: Tensor, before: Sequence[int], after: Sequence[int], *, symmetric: bool) -> Tensor:
        """Mirrored padding, without (reflect) or with (symmetric) the edge itself."""
        shape = tuple(d + b + a for d, b, a in zip(x.shape, before, after, strict=True))
        widths = self.constant(np.stack([np.asarray(before, np.int32), np.asarray(after, np.int32)], axis=1))
        return self.one("MIRROR_PAD", [x, widths], x.element, shape, mode=1 if symmetric else 0)

    def reverse(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        for axis in axes:  # the kernel takes several axes only in a row
            operand = self.int32([axis % x.rank])
            x = self.carried("REVERSE_V2", x, lambda y, o=operand: self.one("REVERSE_V2", [y, o], y.element, y.shape))
        return x

    # -- gathering

    def gather(self, x: Tensor, indices: Tensor, axis: int, batch_dims: int = 0) -> Tensor:
        """Slices of `x` along `axis`; indices must not be negative (LiteRT rejects them at run time)."""
        axis %= x.rank
        shape = x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis + 1:]
        return self.carried("GATHER", x, lambda y: self.one(
            "GATHER", [y, indices], y.element, shape, axis=axis, batchDims=batch_dims))

    def gather_nd(self, x: Tensor, indices: Tensor) -> Tensor:
        depth = self.static_dim(indices.shape[-1], "the index depth of GATHER_ND")
        shape = indices.shape[:-1] + x.shape[depth:]
        return self.carried("GATHER_ND", x, lambda y: self.one("GATHER_ND", [y, indices], y.element, shape))

    def scatter_nd(self, indices: Tensor, updates: Tensor, shape: Sequence[Dim]) -> Tensor:
        """Zeros of `shape` with `updates` ADDED at `indices` (int32)."""
        target: Shape = tuple(shape)
        wide = self.compute_type("SCATTER_ND", updates.element)
        result = self.one("SCATTER_ND", [indices, self.cast(updates, wide), self.shape_operand(target)], wide, target)
        return self.cast(result, updates.element)

    # -- movement in a type that the kernel has

    def carrier(self, op: str, element: ElementType) -> ElementType:
        """The type in which `op`, which only moves elements, moves those of `element`: itself, or an integer of the
        same width that stands for its bits. Raises UnsupportedType where `op` has none."""
        types = kernel_types(op)
        if types is None or element in types:
            return element
        for carrier in (ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.INT32, ElementType.INT64):
            if element is not ElementType.STRING and carrier in types and carrier.bits == element.bits:
                return carrier
        raise UnsupportedType(f"LiteRT's {op} has no kernel for {element.name}, nor for another type of its width",
                              remedy="use float32 or int32 in the model", details={"op": op, "type": element.name})

    def carried(self, op: str, x: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
        """`build(x)` in the type that carries `x`'s elements through `op`."""
        return self.bitcast(build(self.bitcast(x, self.carrier(op, x.element))), x.element)

    # -- shapes as values

    def shape_of(self, x: Tensor, element: ElementType = ElementType.INT64) -> Tensor:
        if x.is_static:
            return self.constant(np.asarray(x.static_shape, element.dtype))
        return self.one("SHAPE", [x], element, (x.rank,), outType=element.value)

    def fill(self, dims: Tensor, value: Tensor, shape: Shape) -> Tensor:
        """`value` (rank 0) everywhere; `dims` is an int32 or int64 vector that holds `shape`."""
        return self.emit("FILL", [dims, value], [(value.element, shape)])[0]

    # -- reductions and order

    def reduce(self, op: str, x: Tensor, axes: Sequence[int], *, keep_dims: bool) -> Tensor:
        """SUM, MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY or REDUCE_ALL over `axes`."""
        gone = {a % x.rank for a in axes} if x.rank else set[int]()
        shape = tuple(1 if i in gone else d for i, d in enumerate(x.shape) if keep_dims or i not in gone)
        if not gone:
            return x
        wide = self.compute_type(op, x.element)
        operand = self.int32(sorted(gone))
        return self.cast(self.one(op, [self.cast(x, wide), operand], wide, shape, keepDims=keep_dims), x.element)

    def arg(self, op: str, x: Tensor, axis: int, element: ElementType) -> Tensor:
        """ARG_MAX or ARG_MIN along `axis` (dropped): the FIRST index of the extreme, as int32 or int64."""
        axis %= x.rank
        wide = self.compute_type(op, x.element)
        shape = tuple(d for i, d in enumerate(x.shape) if i != axis)
        return self.one(op, [self.cast(x, wide), self.int32(axis)], element, shape, outputType=element.value)

    def cumsum(self, x: Tensor, axis: int, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
        wide = self.compute_type("CUMSUM", x.element)
        result = self.one("CUMSUM", [self.cast(x, wide), self.int32(axis % x.rank)], wide, x.shape,
                          exclusive=exclusive, reverse=reverse)
        return self.cast(result, x.element)

    def top_k(self, x: Tensor, k: Dim) -> tuple[Tensor, Tensor]:
        """The `k` largest along the last axis, descending, and their int32 indices (lower index first in ties)."""
        wide = self.compute_type("TOPK_V2", x.element)
        shape = (*x.shape[:-1], k)
        values, indices = self.emit("TOPK_V2", [self.cast(x, wide), self.size_operand(k)],
                                    [(wide, shape), (ElementType.INT32, shape)])
        return self.cast(values, x.element), indices

    def one_hot(self, indices: Tensor, depth: int, on: Tensor, off: Tensor, axis: int) -> Tensor:
        if indices.element not in (ElementType.INT32, ElementType.INT64):
            raise UnsupportedType(f"ONE_HOT takes int32 or int64 indices, not {indices.element.name}")
        axis %= indices.rank + 1
        shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
        return self.emit("ONE_HOT", [indices, self.int32(depth), on, off], [(on.element, shape)],
                         {"axis": -1 if axis == indices.rank else axis})[0]

    def size(self, x: Tensor) -> int:
        """The number of elements of a static tensor."""
        return prod(self.static(x, "a tensor's size"))


def _has_zero_point(x: Tensor) -> bool:
    """Whether PAD, which pads quantized tensors with their zero point, would not pad `x` with the integer 0."""
    return x.quantization is not None and any(x.quantization.zero_point)


def _around(shape: Shape, axis: int) -> Shape:
    """Three dimensions: those before `axis` as one, `axis`, and those behind it as one."""
    return (product(shape[:axis]), shape[axis], product(shape[axis + 1:]))
