"""Matrix products: MatMul and Gemm. Constant right-hand sides become FULLY_CONNECTED's weights, else BATCH_MATMUL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.lower.functions import times
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.builder.elementwise import merge_axes
from fidelite.tflite.constant import Apply, Scale
from fidelite.tflite.dims import Dim, is_static, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import max_rank
from fidelite.tflite.types import ElementType


@lowers("MatMul")
def matmul(node: Node, b: Builder) -> Tensor:
    return multiplied(b, node.input(0), node.input(1))


def multiplied(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """numpy's matmul: [..., M, K] times [..., K, N], leading dimensions broadcast; a vector is a row or a column."""
    left, right = x, y
    if x.rank == 1:
        x = b.unsqueeze(x, [0])
    if y.rank == 1:
        y = b.unsqueeze(y, [1])
    result = matrices(b, x, y)
    if left.rank == 1 or right.rank == 1:
        dims = [d for d, drop in zip(result.shape[-2:], (left.rank == 1, right.rank == 1), strict=True) if not drop]
        result = b.reshape(result, (*result.shape[:-2], *dims))
    return result


def matrices(b: Builder, x: Tensor, y: Tensor, *, adj_x: bool = False, adj_y: bool = False) -> Tensor:
    """The product of matrices of rank 2 or more, in their type; `adj` transposes an operand's last two axes."""
    if not x.element.is_float:
        return _integer_product(b, _adjoint(b, x, adj_x), _adjoint(b, y, adj_y))
    element = x.element
    x, y = b.float32(x), b.float32(y)
    shape = _product_shape(b, x, y, adj_x, adj_y)
    inner = x.shape[-2] if adj_x else x.shape[-1]
    if is_static(shape) and (0 in shape or inner == 0):
        return b.constant(np.zeros([int(d) for d in shape], element.dtype))  # type: ignore[arg-type]
    if y.constant is not None and y.rank > 2 and product(y.shape[:-2]) == 1 and y.rank <= x.rank:
        y = b.reshape(y, y.shape[-2:])
    if y.constant is not None and y.rank == 2:
        weights = y if adj_y else b.transpose(y, (1, 0))
        return b.cast(linear(b, _adjoint(b, x, adj_x), weights, None), element)
    return b.cast(_batched(b, x, y, shape, adj_x, adj_y), element)


def _product_shape(b: Builder, x: Tensor, y: Tensor, adj_x: bool, adj_y: bool) -> tuple[Dim, ...]:
    """The product's shape. Raises NeedsStaticShape where one operand only says how many terms are summed: LiteRT
    plans with unit dimensions before it is told better, and refuses those that do not fit."""
    inner = (x.shape[-2 if adj_x else -1], y.shape[-1 if adj_y else -2])
    if any(isinstance(d, int) for d in inner):
        for dim in inner:
            b.static_dim(dim, "the dimension that a matrix product sums over")
    batch = b.broadcast(x.shape[:-2], y.shape[:-2]) if x.rank > 2 or y.rank > 2 else ()
    return (*batch, x.shape[-1] if adj_x else x.shape[-2], y.shape[-2] if adj_y else y.shape[-1])


def _adjoint(b: Builder, x: Tensor, swap: bool) -> Tensor:
    return b.transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2)) if swap else x


def linear(b: Builder, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., I] times the transposed constant weights [O, I], plus bias [O]."""
    if x.rank <= max_rank("FULLY_CONNECTED"):
        return b.fully_connected(x, weights, bias)
    flat = b.reshape(x, (product(x.shape[:-1]), x.shape[-1]))
    return b.reshape(b.fully_connected(flat, weights, bias), (*x.shape[:-1], weights.shape[0]))


def _batched(b: Builder, x: Tensor, y: Tensor, shape: Sequence[Dim], adj_x: bool, adj_y: bool) -> Tensor:
    """BATCH_MATMUL; leading axes are merged where there are too many for it."""
    x, y = _few_axes(b, x, y)
    return b.reshape(b.batch_matmul(x, y, adj_x=adj_x, adj_y=adj_y), shape)


def _few_axes(b: Builder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Stacks of matrices with as few leading axes as BATCH_MATMUL takes: neighbours merged, or all after stretching."""
    most = max_rank("BATCH_MATMUL") - 2
    if max(x.rank, y.rank) - 2 <= most:
        return x, y
    batch = b.broadcast(x.shape[:-2], y.shape[:-2])
    merged, (left, right) = merge_axes(batch, [x.shape[:-2], y.shape[:-2]])
    if len(merged) > most:
        x, y = b.broadcast_to(x, batch + x.shape[-2:]), b.broadcast_to(y, batch + y.shape[-2:])
        left = right = (product(batch),)
    return b.reshape(x, left + x.shape[-2:]), b.reshape(y, right + y.shape[-2:])


def _integer_product(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The sum over k of x[..., m, k, 1] * y[..., 1, k, n], modulo the type's range."""
    element, shape = x.element, _product_shape(b, x, y, False, False)
    wide = ElementType.INT64 if element.bits >= 32 and element is not ElementType.INT32 else ElementType.INT32
    unsigned = element is ElementType.UINT64
    x, y = _few_axes(b, *((b.bitcast(z, wide) if unsigned else b.cast(z, wide)) for z in (x, y)))
    terms = b.mul(b.unsqueeze(x, [-1]), b.unsqueeze(y, [-3]))
    total = b.reshape(b.reduce("SUM", terms, [terms.rank - 2], keep_dims=False), shape)
    return b.bitcast(total, element) if unsigned else b.cast(total, element)


@lowers("Gemm")
def gemm(node: Node, b: Builder) -> Tensor:
    """alpha A' B' + beta C, C broadcast to the product's shape."""
    x, y, c = node.input(0), node.input(1), node.optional(2)
    alpha, beta = node.float_("alpha", 1.0), node.float_("beta", 1.0)
    adj_x, adj_y = bool(node.int_("transA", 0)), bool(node.int_("transB", 0))
    if not x.element.is_float:
        return _integer_gemm(b, x, y, c, (alpha, beta), (adj_x, adj_y))
    element = x.element
    x, y = b.float32(x), b.float32(y)
    if c is not None:
        c = _scaled(b, b.float32(c), beta)
    rows, columns = _product_shape(b, x, y, adj_x, adj_y)
    inner = y.shape[1] if adj_y else y.shape[0]
    if y.constant is None or 0 in (rows, columns, inner):
        result = times(b, matrices(b, x, y, adj_x=adj_x, adj_y=adj_y), alpha)
    else:
        weights = _scaled(b, y if adj_y else b.transpose(y, (1, 0)), alpha)
        bias = _row(b, c, int(columns)) if c is not None and isinstance(columns, int) else None
        result = linear(b, _adjoint(b, x, adj_x), weights, bias)
        c = None if bias is not None else c
    return b.cast(result if c is None else b.add(result, c), element)


def _scaled(b: Builder, x: Tensor, factor: float) -> Tensor:
    """x * factor, folded into constants when they are written."""
    if x.constant is None or factor == 1.0:
        return times(b, x, factor)
    return b.constant(x.constant.then(Scale(0, (factor,))))


def _row(b: Builder, c: Tensor, columns: int) -> Tensor | None:
    """The constant `c` as a vector of `columns` elements where all rows have the same; else None."""
    if c.constant is None or (c.rank == 2 and c.shape[0] != 1) or c.rank > 2:
        return None
    if c.shape == (columns,):
        return c
    return b.constant(c.constant.then(Apply(
        ("row", columns), lambda array: np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (columns,))),
        shape=(columns,))))


def _integer_gemm(b: Builder, x: Tensor, y: Tensor, c: Tensor | None, scales: tuple[float, float],
                  adjoint: tuple[bool, bool]) -> Tensor:
    from fidelite.errors import UnsupportedAttribute

    if not all(scale.is_integer() for scale in scales):
        raise UnsupportedAttribute("Gemm of integers with an alpha or beta that is no integer",
                                   remedy="use a float type")
    alpha, beta = (int(scale) for scale in scales)
    result = matrices(b, x, y, adj_x=adjoint[0], adj_y=adjoint[1])
    result = result if alpha == 1 else b.mul(result, b.scalar(alpha, result))
    if c is None:
        return result
    return b.add(result, c if beta == 1 else b.mul(c, b.scalar(beta, c)))
