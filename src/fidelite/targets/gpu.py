"""LiteRT's GPU delegate: which operators it takes, and which models it would refuse or compute wrong.

The rules are those of the delegate that LiteRT ships for Android and iOS (`gpu_rules.py`). No GPU was at hand: this is
what its source says.
"""

from __future__ import annotations

from collections.abc import Iterator

from fidelite.targets import gpu_rules as rules
from fidelite.targets.gpu_operators import CHECKS, Verdict
from fidelite.targets.profile import Finding, Profile, found_at
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.types import SHORT_NAMES
from fidelite.tflite.versions import op_version


def check(model: Model) -> list[Finding]:
    """Every operator of the main graph against the rules; then how the graph falls into parts."""
    found = list(_dynamic(model))
    declined: set[int] = set()
    for i, operator in enumerate(model.main.operators):
        verdicts = list(_operator(operator, model.main))
        # What is declined never reaches the parser.
        fallbacks = [v for v in verdicts if v[3] == "fallback"]
        if fallbacks:
            declined.add(i)
        for rule, reason, remedy, level in fallbacks or verdicts:
            found.append(found_at(rule, model, 0, i, reason, remedy=remedy, level=level))
    for g in range(1, len(model.graphs)):
        for i in range(len(model.graphs[g])):
            found.append(found_at(rules.OPERATOR, model, g, i,
                                  "lies in the body of a loop or branch, which the CPU runs", level="fallback"))
    found += _parts(model.main, declined)
    return found


def _dynamic(model: Model) -> Iterator[Finding]:
    for tensor in model.main.inputs:
        if not tensor.is_static:
            shape = ",".join(str(d) if isinstance(d, int) else "1" for d in tensor.shape)
            yield Finding(rules.STATIC, f"the input '{tensor.name}' has open dimensions", tensor=tensor.name,
                          remedy=f"fix them: --shape {tensor.name}={shape}")


def _operator(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    op = operator.op
    if op not in rules.NEWEST:
        yield rules.OPERATOR, f"{op} has no parser in the delegate", "", "fallback"
        return
    if (version := op_version(operator)) > rules.NEWEST[op]:
        yield rules.VERSION, f"{op} is of version {version}, and the parser knows {rules.NEWEST[op]}", "", "fallback"
    tensors = [t for t in (*operator.inputs, *operator.outputs) if t is not None]
    if any(t.rank >= 5 for t in tensors):
        rank = max(t.rank for t in tensors)
        yield rules.RANK, f"{op} has an operand or a result of {rank} axes", "", "fallback"
    yield from _types(operator)
    if all(t.is_static for t in tensors):
        for one in CHECKS.get(op, ()):
            yield from one(operator, graph)
        runtime = [t for t in tensors if not t.is_constant]
        if any(t.rank == 0 for t in runtime):
            yield (rules.SCALAR, f"{op} computes with a value of rank 0",
                   "give that value one axis in the network", "refused")


def _types(operator: Operator) -> Iterator[Verdict]:
    def wrong(tensors: Iterator[Tensor], allowed: frozenset[str]) -> set[str]:
        return {SHORT_NAMES.get(t.element, t.element.name.lower()) for t in tensors} - allowed

    op = operator.op
    told = wrong((t for t in operator.inputs if t is not None and not t.is_constant),
                 rules.ALLOWED_IN.get(op, rules.DEFAULT_TYPES))
    told |= wrong(iter(operator.outputs), rules.ALLOWED_OUT.get(op, rules.DEFAULT_TYPES))
    if told:
        yield rules.TYPE, f"{op} computes with {', '.join(sorted(told))}", "", "fallback"


def _parts(graph: Graph, declined: set[int]) -> Iterator[Finding]:
    """How many runs of operators the delegate would get, where it is more than one."""
    parts = partitions(graph, declined)
    if not parts:
        yield Finding(rules.PARTITIONS, "no operator would run on the GPU", level="note")
    elif len(parts) > 1:
        sizes = sorted(parts, reverse=True)
        yield Finding(rules.PARTITIONS, f"the operators for the GPU fall into {len(parts)} parts of "
                      f"{', '.join(map(str, sizes[:6]))}{', ...' if len(sizes) > 6 else ''} operators; by default only "
                      "the largest runs there", level="note",
                      remedy="raise max_delegated_partitions, or cut off what stays on the CPU: --outputs NAME")


def partitions(graph: Graph, declined: set[int]) -> list[int]:
    """Sizes of the parts that go to the delegate: as TFLite cuts a graph, the two kinds of parts take turns, and each
    takes every operator whose operands are there."""
    operators = graph.operators
    left = dict.fromkeys(range(len(operators)))
    made: set[Tensor] = set()
    sizes: list[int] = []
    delegated, idle = 0 not in declined, 0
    while left and idle < 2:
        taken = 0
        for i in tuple(left):
            operator = operators[i]
            ready = all(t is None or t.producer is None or t in made for t in operator.inputs)
            if ready and (i not in declined) == delegated:
                made.update(operator.outputs)
                del left[i]
                taken += 1
        if taken and delegated:
            sizes.append(taken)
        idle = 0 if taken else idle + 1
        delegated = not delegated
    return sizes


PROFILE = Profile(
    name="gpu",
    title="LiteRT's GPU delegate",
    rules=rules.RULES,
    check=check,
    run_here="not run on a GPU: held against the delegate's source, and its float16 simulated on the CPU",
    error="F473",
    warning="W473",
    notice="N473",
)
