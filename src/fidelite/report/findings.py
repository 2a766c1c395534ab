"""Errors and notices, as their `to_json` gives them, as findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fidelite.report.document import Finding

_MOST_NODES = 3


def place(where: Mapping[str, Any]) -> str:
    """`node 'a', Conv (opset 18), from model.py:12`."""
    parts: list[str] = []
    if node := where.get("node"):
        parts.append(f"node '{node}'")
    if op := where.get("op"):
        name = f"{where['domain']}::{op}" if where.get("domain") else str(op)
        parts.append(f"{name} (opset {where['opset']})" if where.get("opset") is not None else name)
    if source := where.get("source"):
        parts.append(f"from {source}")
    return ", ".join(parts)


def of_error(data: Mapping[str, Any]) -> Finding:
    """An error's finding."""
    return Finding("error", data["code"], data["reason"], data.get("remedy", ""), place(data.get("where", {})))


def of_notice(data: Mapping[str, Any]) -> Finding:
    """A notice's or warning's finding."""
    level = "warning" if data.get("level") == "warning" else "notice"
    where = place({"node": data.get("node", "")})
    return Finding(level, data["code"], data["text"], data.get("remedy", ""), where)


def of_notices(rows: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Warnings first."""
    found = [of_notice(row) for row in rows]
    return sorted(found, key=lambda f: f.level != "warning")


def of_errors(rows: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Errors' findings; those that differ by their node only become one that names the nodes."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        where = row.get("where", {})
        key = (row["code"], row["reason"], row.get("remedy", ""), where.get("op", ""), where.get("domain", ""))
        groups.setdefault(key, []).append(row)
    return [_together(group) for group in groups.values()]


def _together(group: Sequence[Mapping[str, Any]]) -> Finding:
    first = of_error(group[0])
    if len(group) == 1:
        return first
    where = group[0].get("where", {})
    names = [f"'{row['where']['node']}'" for row in group[:_MOST_NODES] if row.get("where", {}).get("node")]
    more = f" and {len(group) - _MOST_NODES} more" if len(group) > _MOST_NODES else ""
    op = place({key: where.get(key) for key in ("op", "domain", "opset")})
    return replace(first, where=f"{op}, {len(group)} nodes: {', '.join(names)}{more}")


def without_repeats(rows: Sequence[Finding]) -> list[Finding]:
    """The findings, with a remedy that several share told once."""
    known: dict[str, str] = {}
    found: list[Finding] = []
    for row in rows:
        again = row.remedy in known and bool(row.remedy)
        found.append(replace(row, remedy=f"as for {known[row.remedy]}") if again else row)
        known.setdefault(row.remedy, row.code)
    return found
