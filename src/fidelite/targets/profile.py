"""What a target is: rules with their sources, and a check that names each operator or tensor that breaks one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fidelite.errors import Notice, TargetError, Where
from fidelite.options import ConvertOptions
from fidelite.tflite.graph import Model
from fidelite.tflite.versions import op_version

Level = Literal["refused", "fallback", "note"]
"""refused: the target cannot run the model; fallback: another processor runs that operator; note: to know."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a target asks. `source` says where it is published, or how it was found."""

    name: str
    text: str
    source: str
    depends_on_precision: bool = False
    """Whether another precision may change the answer: such a rule is not asked before the model is quantized."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where a model breaks a rule: in operator number `operator` of graph `graph`, or at a tensor."""

    rule: Rule
    reason: str
    remedy: str = ""
    level: Level = "refused"
    graph: int = 0
    operator: int | None = None
    op: str = ""
    tensor: str = ""
    nodes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"rule": self.rule.name, "text": self.rule.text, "source": self.rule.source, "reason": self.reason,
                "remedy": self.remedy, "level": self.level, "graph": self.graph, "operator": self.operator,
                "op": self.op, "tensor": self.tensor, "nodes": list(self.nodes)}


def _nothing(options: ConvertOptions) -> list[Finding]:
    return []


@dataclass(frozen=True, slots=True)
class Profile:
    """What a target takes.

    `check` looks at a finished model and changes nothing; `before` looks at the options, before any work is done.
    `elements` says what becomes of an element type of inputs and outputs (numpy's names; those not named stay), with a
    cast inside the graph. `run_here` says in a sentence how far the target was tried without the device. `error`,
    `warning` and `notice` are the codes under which findings of the levels refused, fallback and note are told.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    check: Callable[[Model], list[Finding]]
    run_here: str
    before: Callable[[ConvertOptions], list[Finding]] = _nothing
    elements: Mapping[str, str] = field(default_factory=dict[str, str])
    error: str = "F470"
    warning: str = "W470"
    notice: str = "N470"


def found_at(rule: Rule, model: Model, graph: int, index: int, reason: str, *, remedy: str = "",
             level: Level = "refused", tensor: str = "") -> Finding:
    """A finding about operator number `index` of a graph, with its name and the nodes that it came from."""
    operator = model.graphs[graph].operators[index]
    return Finding(rule, reason, remedy, level, graph, index, operator.op, tensor, operator.nodes)


def errors_of(profile: Profile, findings: Sequence[Finding]) -> list[TargetError]:
    """A TargetError for each finding of the level "refused"."""
    return [TargetError(f"{f.reason} ({profile.title}: {f.rule.text})", remedy=f.remedy, code=profile.error,
                        where=Where(node=", ".join(f.nodes), op=f.op),
                        details={"target": profile.name, **f.to_json()})
            for f in findings if f.level == "refused"]


def notices_of(profile: Profile, findings: Sequence[Finding]) -> list[Notice]:
    """The other findings as notices; those with the same rule and reason are one."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for f in findings:
        if f.level != "refused":
            groups.setdefault((f.level, f.rule.name, f.reason), []).append(f)
    found: list[Notice] = []
    for (level, _, reason), group in groups.items():
        nodes = [node for f in group for node in f.nodes]
        op = ", ".join(dict.fromkeys(f.op for f in group if f.op))
        count = f" ({len(group)} times)" if len(group) > 1 else ""
        told = "runs elsewhere: " if level == "fallback" else ""
        falls = level == "fallback"
        found.append(Notice(profile.warning if falls else profile.notice,
                            f"{profile.name}: {op}{' ' if op else ''}{told}{reason}{count}", group[0].remedy,
                            Where(node=nodes[0] if nodes else ""), "warning" if falls else "notice"))
    return found


def survey(profile: Profile, model: Model, findings: Sequence[Finding]) -> dict[str, Any]:
    """What a target says of a model, operator by operator, as plain data (JSON types)."""
    worst: dict[tuple[int, int], Level] = {}
    order: tuple[Level, ...] = ("note", "fallback", "refused")
    for f in findings:
        if f.operator is not None:
            place = f.graph, f.operator
            worst[place] = order[max(order.index(worst.get(place, "note")), order.index(f.level))]
    told = {"refused": "refused", "fallback": "fallback", "note": "taken"}
    operators = [{"graph": g, "operator": i, "op": op.op, "version": op_version(op), "nodes": list(op.nodes),
                  "verdict": told[worst.get((g, i), "note")]}
                 for g, graph in enumerate(model.graphs) for i, op in enumerate(graph.operators)]
    return {
        "target": profile.name,
        "title": profile.title,
        "run_here": profile.run_here,
        "accepted": not any(f.level == "refused" for f in findings),
        "operators": operators,
        "findings": [f.to_json() for f in findings],
    }
