"""Which lowering serves which ONNX operator in which schema version.

    @lowers("Softmax", since=13)
    def softmax(node: Node, b: Builder) -> Tensor: ...

`since` and `until` are ONNX schema versions (`onnx.defs`' since_version), both included: two meanings of an operator
are two functions. A schema version newer than `NEWEST_OPSET` is refused, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fidelite.lower.node import Node
    from fidelite.lower.sequences import TensorSequence
    from fidelite.tflite.builder import Builder
    from fidelite.tflite.graph import Tensor

    Results = Tensor | TensorSequence | None | Sequence[Tensor | TensorSequence | None]
    Function = Callable[[Node, Builder], Results]

F = TypeVar("F", bound="Function")

NEWEST_OPSET = 28
"""The newest opset of the default domain whose schemas were checked against these lowerings."""
NEWEST_IN_DOMAIN = {"": NEWEST_OPSET, "ai.onnx.ml": 5, "com.microsoft": 1}


@dataclass(frozen=True, slots=True)
class Lowering:
    op: str
    domain: str
    since: int
    until: int
    function: Function
    partial: str
    """What of the operator is refused, for the table of ops; empty: nothing."""


class Registry:
    """Lowerings by domain and operator. The house's own are added once; a user's own take their places."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[Lowering]] = {}

    def add(self, row: Lowering) -> None:
        rows = self._rows.setdefault((row.domain, row.op), [])
        for other in rows:
            if row.since <= other.until and other.since <= row.until:
                raise ValueError(f"two lowerings of {row.op} serve schema version {max(row.since, other.since)}")
        rows.append(row)

    def replace(self, row: Lowering) -> None:
        """A user's own lowering takes the place of the house's."""
        self._rows[row.domain, row.op] = [row]

    def find(self, domain: str, op: str, version: int) -> Lowering | None:
        """The lowering that serves a schema version; its family is imported when it is first asked for."""
        _import_family(domain, op)
        for row in self._rows.get((domain, op), ()):
            if row.since <= version <= row.until:
                return row
        return None

    def knows(self, domain: str, op: str) -> bool:
        _import_family(domain, op)
        return (domain, op) in self._rows

    def __iter__(self) -> Iterator[Lowering]:
        for key in sorted(self._rows):
            yield from sorted(self._rows[key], key=lambda row: row.since)


REGISTRY = Registry()


def _import_family(domain: str, op: str) -> None:
    from fidelite.lower import families

    families.load_for(domain, op)


def converts(domain: str, op: str, version: int) -> bool:
    """Whether an operator has a lowering in this schema version."""
    return REGISTRY.find(domain, op, version) is not None


def lowers(*ops: str, since: int = 1, until: int | None = None, domain: str = "",
           partial: str = "") -> Callable[[F], F]:
    """Register a function as the lowering of `ops` for schema versions since..until (both included)."""

    def register(function: F) -> F:
        last = NEWEST_IN_DOMAIN.get(domain, 1 << 30) if until is None else until
        for op in ops:
            REGISTRY.add(Lowering(op, domain, since, last, function, partial))
        return function

    return register


def lowers_own(name: str, *, since: int = 1) -> Callable[[F], F]:
    """`@fidelite.lowers("my.domain::MyOp")`: a user's own operator, or one that takes the place of the house's."""
    domain, _, op = name.rpartition("::")
    _import_family(domain, op)  # first, so that the house's own cannot come later and clash

    def register(function: F) -> F:
        REGISTRY.replace(Lowering(op, domain, since, 1 << 30, function, ""))
        return function

    return register
