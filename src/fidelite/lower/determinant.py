"""Det of small matrices, by expansion along the rows."""

from __future__ import annotations

from itertools import combinations

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor

LARGEST = 4


@lowers("Det", partial=f"matrices larger than {LARGEST} x {LARGEST}")
def det(node: Node, b: Builder) -> Tensor:
    """The minors of the first i + 1 rows follow from those of the first i: det = sum_j +-x[i, j] * minor without j."""
    x = node.input(0)
    size = b.static_dim(x.shape[-1], "the size of a matrix")
    if not 1 <= size <= LARGEST:
        raise UnsupportedAttribute(f"its matrices are {size} x {size}, and larger than {LARGEST} x {LARGEST} needs "
                                   "pivots, which LiteRT cannot choose", remedy="compute it outside of the model")
    flat = b.reshape(b.float32(x), (product(x.shape[:-2]), size * size))
    entries = b.split(flat, [1] * size * size, 1)
    minors: dict[tuple[int, ...], Tensor] = {(j,): entries[j] for j in range(size)}
    for i in range(1, size):
        larger: dict[tuple[int, ...], Tensor] = {}
        for chosen in combinations(range(size), i + 1):
            total: Tensor | None = None
            for k in reversed(range(i + 1)):
                term = b.mul(entries[i * size + chosen[k]], minors[chosen[:k] + chosen[k + 1:]])
                total = term if total is None else b.sub(total, term) if (i + k) % 2 else b.add(total, term)
            assert total is not None
            larger[chosen] = total
        minors = larger
    (result,) = minors.values()
    return b.cast(b.reshape(result, x.shape[:-2]), x.element)
