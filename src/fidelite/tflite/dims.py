"""Dimensions: integers, or polynomials over symbols that only the run time knows.

Equality is what matters: two dimensions are equal if their canonical forms are. A form is a sum of integer
multiples of products of atoms; an atom is a named symbol, or a floor division, maximum or minimum that does not
simplify.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Union

Monomial = tuple["str | Opaque", ...]


class Opaque:
    """A quotient, maximum or minimum of dimensions that is not a polynomial; compared by its text."""

    __slots__ = ("kind", "left", "right", "text")

    def __init__(self, kind: str, left: Dim, right: Dim) -> None:
        self.kind, self.left, self.right = kind, left, right
        self.text = f"{kind}({left}, {right})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def evaluate(self, values: Mapping[str, int]) -> int:
        left, right = evaluate(self.left, values), evaluate(self.right, values)
        return {"floordiv": lambda: left // right, "max": lambda: max(left, right),
                "min": lambda: min(left, right), "mod": lambda: left % right}[self.kind]()


class SymbolicDim:
    """A dimension that is known only when the model runs. Immutable; supports + - * // % with ints."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: tuple[tuple[Monomial, int], ...] = tuple(
            sorted(((m, c) for m, c in terms.items() if c), key=lambda item: [str(a) for a in item[0]]))
        self._hash = hash(self.terms)

    @staticmethod
    def symbol(name: str) -> SymbolicDim:
        return SymbolicDim({(name,): 1})

    def atoms(self) -> Iterable[str | Opaque]:
        for monomial, _ in self.terms:
            yield from monomial

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicDim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        total = dict(self.terms)
        for monomial, factor in _terms(other):
            total[monomial] = total.get(monomial, 0) + factor
        return _simplest(total)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + (other * -1)

    def __rsub__(self, other: Dim) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=str))
                total[monomial] = total.get(monomial, 0) + a * b
        return _simplest(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - floor_divide(self, other) * other

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, factor in self.terms:
            names = "*".join(str(a) for a in monomial)
            parts.append(str(factor) if not names else names if factor == 1 else f"{factor}*{names}")
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__


Dim = Union[int, SymbolicDim]  # noqa: UP007 - used at run time before its parts are defined
Shape = tuple[Dim, ...]


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    return dim.terms if isinstance(dim, SymbolicDim) else (((), int(dim)),)


def _simplest(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return SymbolicDim(kept)


def floor_divide(left: Dim, right: Dim) -> Dim:
    """left // right, exact where every term divides or the divisor is a common factor; else an opaque atom."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if left == right:
        return 1
    divisor = list(_terms(right))
    if len(divisor) == 1:
        monomial, factor = divisor[0]
        quotient: dict[Monomial, int] = {}
        for names, value in _terms(left):
            rest = list(names)
            if value % factor or any(_missing(rest, name) for name in monomial):
                break
            quotient[tuple(rest)] = value // factor
        else:
            return _simplest(quotient)
    return SymbolicDim({(Opaque("floordiv", left, right),): 1})


def _missing(names: list[str | Opaque], name: str | Opaque) -> bool:
    """Take `name` out of `names`; true if it is not there."""
    if name in names:
        names.remove(name)
        return False
    return True


def maximum(left: Dim, right: Dim) -> Dim:
    return _choice("max", max, left, right)


def minimum(left: Dim, right: Dim) -> Dim:
    return _choice("min", min, left, right)


def _choice(kind: str, known: object, left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right) if kind == "max" else min(left, right)
    if left == right:
        return left
    return SymbolicDim({(Opaque(kind, left, right),): 1})


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number that `dim` stands for. Raises KeyError for a symbol without a value."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, factor in dim.terms:
        for atom in monomial:
            factor *= values[atom] if isinstance(atom, str) else atom.evaluate(values)
        total += factor
    return total


def product(dims: Iterable[Dim]) -> Dim:
    return reduce(lambda a, b: a * b, dims, 1)


def is_static(shape: Iterable[Dim]) -> bool:
    return all(isinstance(dim, int) for dim in shape)


def symbols(dims: Iterable[Dim]) -> set[str]:
    """The names of all symbols in `dims`, also inside opaque atoms."""
    found: set[str] = set()
    pending = [d for d in dims if isinstance(d, SymbolicDim)]
    while pending:
        for atom in pending.pop().atoms():
            if isinstance(atom, str):
                found.add(atom)
            else:
                pending += [d for d in (atom.left, atom.right) if isinstance(d, SymbolicDim)]
    return found
