"""Which ONNX operators convert, in which schema versions: `fidelite.ops`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OpSupport:
    """A lowering: the operator, the schema versions it serves (both included), and what of it is refused."""

    op: str
    domain: str
    since: int
    until: int | None
    """None: up to the newest schema that was checked."""
    refused: str

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "domain": self.domain or "ai.onnx", "since": self.since, "until": self.until,
                "refused": self.refused}


def ops() -> list[OpSupport]:
    """Every operator that has a lowering, by domain and name, one entry per meaning it has had."""
    from fidelite.lower import families
    from fidelite.lower.registry import NEWEST_IN_DOMAIN, REGISTRY

    families.load()
    return [
        OpSupport(row.op, row.domain, row.since,
                  None if row.until >= NEWEST_IN_DOMAIN.get(row.domain, 1 << 30) else row.until, row.partial)
        for row in REGISTRY
    ]


def newest_opset() -> int:
    """The newest opset of the standard's own domain that was checked."""
    from fidelite.lower.registry import NEWEST_OPSET

    return NEWEST_OPSET
