"""Dimensions: integers, or polynomials over symbols that only the run time knows.

Equality is what matters: two dimensions are equal if their canonical forms are. A form is a sum of integer
multiples of products of atoms; an atom is a named symbol, or a floor division or a minimum that does not simplify.
Forms are kept canonical by exact rules only: 2n // 2 = n, (2n + 1) // 2 = n, (n // 2) // 2 = n // 4,
max(a, b) = a + b - min(a, b), min(a, b) = b + min(a - b, 0).

Inputs' dimensions are at least 1, which decides most comparisons; sizes that only a computation gives (`Counted`)
may be 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Union

Monomial = tuple["str | Opaque", ...]
_MOST_STEPS = 64


class Counted(str):
    """A symbol for a size that the model computes, such as how many elements are not zero. It may be 0."""

    __slots__ = ()


class Opaque:
    """A quotient, or the minimum of a dimension and 0, that is not a polynomial; compared by its text."""

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
        return left // right if self.kind == "floordiv" else min(left, right)


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
                monomial = _joined(left, right)
                total[monomial] = total.get(monomial, 0) + a * b
        return _simplest(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - floor_divide(self, other) * other

    def __rmod__(self, other: Dim) -> Dim:
        return other - floor_divide(other, self) * self

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


def _joined(left: Monomial, right: Monomial) -> Monomial:
    return tuple(sorted(left + right, key=str))


def _simplest(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return SymbolicDim(kept)


def _atom(kind: str, left: Dim, right: Dim) -> SymbolicDim:
    return SymbolicDim({(Opaque(kind, left, right),): 1})


# -- division

def floor_divide(left: Dim, right: Dim) -> Dim:
    """left // right: exact where the divisor is a factor, else with what divides taken out of an opaque atom."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    exact = _exact_quotient(left, right)
    if exact is not None:
        return exact
    if not isinstance(right, int) or right == 0:
        return _atom("floordiv", left, right)
    if right < 0:
        return floor_divide(left * -1, -right)
    whole = _simplest({m: c // right for m, c in _terms(left)})
    rest = _simplest({m: c % right for m, c in _terms(left)})
    if isinstance(rest, int):  # below the divisor
        return whole
    inner, shift = rest - _constant(rest), _constant(rest)
    if isinstance(inner, SymbolicDim) and len(inner.terms) == 1 and inner.terms[0][1] == 1:
        (atoms, _), = inner.terms
        atom = atoms[0]
        if len(atoms) == 1 and isinstance(atom, Opaque) and atom.kind == "floordiv" and isinstance(atom.right, int):
            # (x // a + s) // b = (x + s a) // (a b), for a and b above 0
            return whole + floor_divide(atom.left + shift * atom.right, atom.right * right)
    return whole + _atom("floordiv", rest, right)


def _constant(dim: Dim) -> int:
    return next((c for m, c in _terms(dim) if not m), 0)


def _exact_quotient(left: Dim, right: Dim) -> Dim | None:
    """The polynomial q with q * right == left, or None. Long division by the leading term."""
    divisor = sorted(_terms(right), key=_order)[-1]
    if divisor[1] == 0:
        return None
    quotient: Dim = 0
    for _ in range(_MOST_STEPS):
        if left == 0:
            return quotient
        monomial, factor = sorted(_terms(left), key=_order)[-1]
        rest = list(monomial)
        if factor % divisor[1] or any(_missing(rest, atom) for atom in divisor[0]):
            return None
        part = _simplest({tuple(rest): factor // divisor[1]})
        quotient, left = quotient + part, left - part * right
    return None


def _order(term: tuple[Monomial, int]) -> tuple[int, list[str]]:
    """By degree, then by name: an order that multiplication keeps."""
    return len(term[0]), [str(atom) for atom in term[0]]


def _missing(names: list[str | Opaque], name: str | Opaque) -> bool:
    """Take `name` out of `names`; true if it is not there."""
    if name in names:
        names.remove(name)
        return False
    return True


# -- comparison

Bounds = tuple["int | None", "int | None"]


def bounds(dim: Dim, depth: int = 3) -> Bounds:
    """The least and the greatest value that is sure; None where there is no bound.

    `depth` limits how many quotients and minima are weighed against what they are made of.
    """
    low: int | None = 0
    high: int | None = 0
    for monomial, factor in _terms(dim):
        least, most = _product_bounds(monomial)
        if factor < 0:
            least, most = most, least
        low = None if low is None or least is None else low + factor * least
        high = None if high is None or most is None else high + factor * most
    for monomial, factor in _terms(dim) if depth else ():
        if len(monomial) == 1 and isinstance(atom := monomial[0], Opaque):
            rest = dim - SymbolicDim({monomial: factor})
            least, most = _without(atom, factor, rest, depth - 1)
            low = least if low is None else low if least is None else max(low, least)
            high = most if high is None else high if most is None else min(high, most)
    return low, high


def _without(atom: Opaque, factor: int, rest: Dim, depth: int) -> Bounds:
    """Bounds of factor * atom + rest, seen without the atom."""
    if atom.kind == "min" and factor < 0:  # -min(x, 0) = max(x, 0) - x
        low, high = bounds(rest + atom.left * factor, depth)
        least, most = bounds(atom.left, depth)
        least = 0 if least is None else max(least, 0)
        return (None if low is None else low - factor * least,
                None if high is None or most is None else high - factor * max(most, 0))
    if atom.kind == "min" and factor > 0:
        low, high = _without(atom, -factor, rest * -1, depth)
        return None if high is None else -high, None if low is None else -low
    if atom.kind == "floordiv" and isinstance(size := atom.right, int) and size:  # x - (k - 1) <= k (x // k) <= x
        low, high = bounds(rest * size + atom.left * factor, depth)
        slack = factor * (size - 1)
        low = None if low is None else -((max(slack, 0) - low) // size)
        return low, None if high is None else (high - min(slack, 0)) // size
    return None, None


def _product_bounds(monomial: Monomial) -> Bounds:
    """Of a product of atoms: tight where none may be negative."""
    low, high = 1, 1
    for atom in monomial:
        least, most = _atom_bounds(atom)
        if least is None or least < 0:
            return (least, most) if len(monomial) == 1 else (None, None)
        low, high = low * least, None if high is None or most is None else high * most
    return low, high


def _atom_bounds(atom: str | Opaque) -> Bounds:
    if isinstance(atom, str):
        return (0 if isinstance(atom, Counted) else 1), None
    low, high = bounds(atom.left)
    if atom.kind == "min":
        return (None if low is None else min(low, 0)), 0 if high is None else min(high, 0)
    if isinstance(atom.right, int) and atom.right:  # above 0
        return None if low is None else low // atom.right, None if high is None else high // atom.right
    least, _ = bounds(atom.right)
    sound = low is not None and low >= 0 and least is not None and least > 0
    return (0 if sound else None), high if sound else None


def minimum(left: Dim, right: Dim) -> Dim:
    difference = left - right
    low, high = bounds(difference)
    if high is not None and high <= 0:
        return left
    if low is not None and low >= 0:
        return right
    assert isinstance(difference, SymbolicDim)
    leading = sorted(difference.terms, key=_order)[-1]
    if leading[1] < 0:
        return left + _atom("min", difference * -1, 0)
    return right + _atom("min", difference, 0)


def maximum(left: Dim, right: Dim) -> Dim:
    return left + right - minimum(left, right)


def equal(left: Dim, right: Dim) -> bool | None:
    """Whether two dimensions are the same whatever the symbols are; None where that depends."""
    low, high = bounds(left - right)
    if low == high == 0:
        return True
    return False if (low is not None and low > 0) or (high is not None and high < 0) else None


def less(left: Dim, right: Dim) -> bool | None:
    """Whether left < right whatever the symbols are; None where that depends."""
    low, high = bounds(left - right)
    if high is not None and high < 0:
        return True
    return False if low is not None and low >= 0 else None


# -- values

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
