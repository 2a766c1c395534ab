"""What a target says of a model (`fidelite.targets.profile.survey`), as sections of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fidelite.report import figures
from fidelite.report.document import Cell, Column, Lines, Part, Section, Table, Tone

_VERDICTS: Mapping[str, tuple[str, Tone]] = {
    "taken": ("yes", "good"), "fallback": ("runs elsewhere", "warn"), "refused": ("no", "bad"),
}
_MOST_NODES = 3


def verdict(data: Mapping[str, Any]) -> Cell:
    """The outcome in a few words."""
    refused = sum(f["level"] == "refused" for f in data["findings"])
    if not data["accepted"]:
        why = figures.count(refused, "reason") if refused else "it does not convert"
        return Cell(f"not for {data['title']}: {why}", "bad")
    left = sum(row["verdict"] == "fallback" for row in data["operators"])
    told = f"{figures.count(len(data['operators']), 'operator')} taken"
    if left:
        return Cell(f"for {data['title']}: {len(data['operators']) - left} of {told}, the rest runs elsewhere", "warn")
    return Cell(f"for {data['title']}: all of its {told}", "good")


def sections(data: Mapping[str, Any]) -> Iterator[Section]:
    """The table of operators, then each reason with its rule, source and remedy."""
    if data["operators"]:
        yield Section(f"Operators on {data['title']}", [_operators(data)], data["run_here"])
    if data["findings"]:
        yield Section("Why", list(_reasons(data["findings"])))


def _operators(data: Mapping[str, Any]) -> Table:
    reasons: dict[tuple[int, int], list[str]] = {}
    for f in data["findings"]:
        if f["operator"] is not None:
            reasons.setdefault((f["graph"], f["operator"]), []).append(f["rule"])
    groups: dict[tuple[str, str, str], int] = {}
    for row in data["operators"]:
        rules = ", ".join(dict.fromkeys(reasons.get((row["graph"], row["operator"]), [])))
        key = row["op"], row["verdict"], rules
        groups[key] = groups.get(key, 0) + 1
    rank = {"refused": 0, "fallback": 1, "taken": 2}
    rows: list[Sequence[str | Cell]] = [
        [op, str(count), Cell(*_VERDICTS[told]), Cell(rules, "dim")]
        for (op, told, rules), count in sorted(groups.items(), key=lambda i: (rank[i[0][1]], -i[1], i[0][0]))
    ]
    return Table([Column("operator"), Column("count", right=True), Column("taken"), Column("rule")], rows)


def _reasons(findings: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """Findings that say the same of different nodes are told once."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for f in findings:
        groups.setdefault((f["level"], f["rule"], f["op"], f["reason"], f["remedy"]), []).append(f)
    tones: Mapping[str, Tone] = {"refused": "bad", "fallback": "warn"}
    for (level, rule, op, reason, remedy), group in groups.items():
        names = [node for f in group for node in f["nodes"]]
        more = f" and {len(names) - _MOST_NODES} more" if len(names) > _MOST_NODES else ""
        where = f" ({', '.join(names[:_MOST_NODES])}{more})" if names else ""
        lines: list[str | Cell] = [Cell(f"{op + ': ' if op else ''}{reason}{where}", tones.get(level, ""))]
        lines.append(Cell(f"rule {rule}: {group[0]['text']} [{group[0]['source']}]", "dim"))
        if remedy:
            lines.append(f"-> {remedy}")
        yield Lines(lines)
