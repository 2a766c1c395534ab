"""Einsum: diagonals, sums over what nobody else needs, then products of two operands at a time from the left.

Each product is BATCH_MATMUL (or FULLY_CONNECTED) on operands that TRANSPOSE and RESHAPE bring into the order
batch, own, contracted; where nothing is contracted it is MUL.
"""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.errors import InvalidModel
from fidelite.lower.matmul import matrices
from fidelite.lower.node import Node
from fidelite.lower.reduction import reduced
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

Labels = tuple[str, ...]


@lowers("Einsum")
def einsum(node: Node, b: Builder) -> Tensor:
    operands = node.inputs()
    terms, result = parse(node, node.str_("equation"), [x.rank for x in operands])
    element = operands[0].element
    wide = ElementType.FLOAT32 if element.is_float else ElementType.INT64 if element.bits > 32 else element
    if element is ElementType.FLOAT64:
        b.narrowed.add("float64")
    parts = [_diagonals(b, b.bitcast(x, wide) if element is ElementType.UINT64 else b.cast(x, wide), labels)
             for x, labels in zip(operands, terms, strict=True)]
    left, own = parts[0]
    for position, (right, other) in enumerate(parts[1:], 1):
        needed = set(result).union(*(labels for _, labels in parts[position + 1:]))
        left, own = _product(b, (left, own), (right, other), needed)
    left, own = _summed(b, left, own, set(result))
    left = b.transpose(left, [own.index(label) for label in result])
    return b.bitcast(left, element) if element is ElementType.UINT64 else b.cast(left, element)


def parse(node: Node, equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's axes and of the result's. An ellipsis becomes ...1, ...2 from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != len(ranks):
        raise InvalidModel(f"the equation '{equation}' has {len(words)} terms for {len(ranks)} operands",
                           where=node.where(), remedy="export the model again")
    widths = [rank - len(word.replace("...", "")) for word, rank in zip(words, ranks, strict=True)]
    if any(width < 0 or (width and "..." not in word) for word, width in zip(words, widths, strict=True)):
        raise InvalidModel(f"the equation '{equation}' does not fit operands of rank {', '.join(map(str, ranks))}",
                           where=node.where(), remedy="export the model again")
    terms = [_labels(word, width) for word, width in zip(words, widths, strict=True)]
    if arrow:
        widest = max((w for w, word in zip(widths, words, strict=True) if "..." in word), default=0)
        return terms, _labels(right, widest)
    every = [label for term in terms for label in term]
    dots = max((tuple(label for label in term if label.startswith("...")) for term in terms), key=len)
    return terms, dots + tuple(sorted({label for label in every if every.count(label) == 1 and label not in dots}
                                      - {label for label in every if label.startswith("...")}))


def _labels(word: str, width: int) -> Labels:
    before, dots, after = word.partition("...")
    ellipsis = [f"...{i}" for i in range(width, 0, -1)] if dots else []
    return (*before, *ellipsis, *after)


def _diagonals(b: Builder, x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """Repeated labels become one: the two axes flattened at the end, and every (n + 1)-th element taken."""
    while repeated := next((label for label in labels if labels.count(label) > 1), None):
        first = labels.index(repeated)
        second = labels.index(repeated, first + 1)
        order = [a for a in range(x.rank) if a not in (first, second)] + [first, second]
        size = b.static_dim(x.shape[first], "a diagonal in Einsum")
        rows = [x.shape[a] for a in order[:-2]]
        flat = b.reshape(b.transpose(x, order), (*rows, size * size))
        indices = b.int32([i * (size + 1) for i in range(size)])
        x = b.gather(flat, indices, -1)
        labels = (*(labels[a] for a in order[:-2]), repeated)
    return x, labels


def _summed(b: Builder, x: Tensor, labels: Labels, needed: set[str]) -> tuple[Tensor, Labels]:
    """`x` summed over the labels that are not needed."""
    gone = [axis for axis, label in enumerate(labels) if label not in needed]
    if not gone:
        return x, labels
    return reduced(b, "SUM", x, gone, keep_dims=False), tuple(label for label in labels if label in needed)


def _without_units(b: Builder, x: Tensor, labels: Labels, other: dict[str, Dim]) -> tuple[Tensor, Labels]:
    """`x` without the unit axes that broadcast against the other operand's."""
    drop = [a for a, label in enumerate(labels) if x.shape[a] == 1 and other.get(label, 1) != 1]
    if not drop:
        return x, labels
    return b.squeeze(x, drop), tuple(label for a, label in enumerate(labels) if a not in drop)


def _product(b: Builder, left: tuple[Tensor, Labels], right: tuple[Tensor, Labels],
             needed: set[str]) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over the labels that they share and nobody needs any more."""
    sizes = [dict(zip(labels, x.shape, strict=True)) for x, labels in (left, right)]
    (x, xl), (y, yl) = (_without_units(b, *left, sizes[1]), _without_units(b, *right, sizes[0]))
    x, xl = _summed(b, x, xl, needed | set(yl))
    y, yl = _summed(b, y, yl, needed | set(xl))
    batch = [label for label in xl if label in yl and label in needed]
    inner = [label for label in xl if label in yl and label not in needed]
    rows = [label for label in xl if label not in yl]
    columns = [label for label in yl if label not in xl]
    dims: dict[str, Dim] = dict(zip(xl, x.shape, strict=True)) | dict(zip(yl, y.shape, strict=True))
    if not inner:
        return _outer(b, (x, xl), (y, yl), [*batch, *rows, *columns])

    def size(labels: Sequence[str]) -> Dim:
        return product(dims[label] for label in labels)

    lead = [size(batch)] if batch else []
    x = b.reshape(b.transpose(x, [xl.index(label) for label in (*batch, *rows, *inner)]),
                  (*lead, size(rows), size(inner)))
    y = b.reshape(b.transpose(y, [yl.index(label) for label in (*batch, *inner, *columns)]),
                  (*lead, size(inner), size(columns)))
    result = matrices(b, x, y)
    order = (*batch, *rows, *columns)
    return b.reshape(result, [dims[label] for label in order]), order


def _outer(b: Builder, left: tuple[Tensor, Labels], right: tuple[Tensor, Labels],
           order: Sequence[str]) -> tuple[Tensor, Labels]:
    """The product of every pair, by broadcasting."""
    factors: list[Tensor] = []
    for x, labels in (left, right):
        sorted_ = b.transpose(x, sorted(range(x.rank), key=lambda a, own=labels: order.index(own[a])))
        dims = dict(zip(labels, x.shape, strict=True))
        factors.append(b.reshape(sorted_, [dims.get(label, 1) for label in order]))
    return b.mul(factors[0], factors[1]), tuple(order)
