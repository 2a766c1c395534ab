"""Names and edges of an ONNX graph, checked before it is turned into objects.

ONNX refers to values by name. Once names have become references a duplicate or a dangling name can no longer
be told, so the check reads the protobuf message. One walk over all nodes; linear in the size of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fidelite.errors import FideliteError, InvalidModel, Where
from fidelite.source.text import nearest, plural, some

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_SHOWN = 8
_AGAIN = "export the model again; a newer exporter may mend it"


@dataclass(slots=True)
class Structure:
    """What the walk found."""

    problems: list[FideliteError] = field(default_factory=list[FideliteError])
    unsorted: bool = False
    """Some node comes before one that makes its input, without a cycle: sorting mends it."""


def check_structure(proto: onnx.ModelProto) -> Structure:
    """Check versions, names and edges of the model, its subgraphs and its functions.

    Finds: an opset (F331) or IR version (F332) that the installed onnx does not know, an input that nothing
    makes (F333), a cycle (F334), two values of one name (F335), a value that two nodes make (F336), a graph
    without outputs (F337), an output that nothing makes (F338).
    """
    found = Structure()
    found.problems += check_versions(proto)
    graph = proto.graph
    if not graph.output:
        found.problems.append(
            InvalidModel("the graph has no outputs, so it computes nothing", code="F337", remedy=_AGAIN)
        )
    opsets = _opsets(proto.opset_import)
    _Scope(found, opsets).graph(graph, frozenset())
    for function in proto.functions:
        _Scope(found, _opsets(function.opset_import) or opsets).function(function)
    return found


def check_versions(proto: onnx.ModelProto) -> Iterator[FideliteError]:
    """F331 and F332: versions of operators and of the format that the installed onnx does not know."""
    import onnx

    if proto.ir_version > onnx.IR_VERSION:
        yield InvalidModel(
            f"the model has IR version {proto.ir_version}, and the installed onnx {onnx.__version__} knows "
            "up to "
            f"{onnx.IR_VERSION}",
            code="F332",
            remedy="pip install --upgrade onnx onnx-ir onnxruntime",
            details={"ir_version": proto.ir_version, "known": int(onnx.IR_VERSION)},
        )
    versions: dict[str, set[int]] = {}
    for entry in proto.opset_import:
        versions.setdefault(_plain(entry.domain), set()).add(entry.version)
    newest = onnx.defs.onnx_opset_version()
    for version in sorted(versions.get("", ())):
        if not 1 <= version <= newest:
            yield InvalidModel(
                f"the model asks for opset {version}, and the installed onnx {onnx.__version__} knows 1 to "
                f"{newest}",
                code="F331",
                remedy=f"export with opset_version={newest}, or: pip install --upgrade onnx onnx-ir "
                "onnxruntime",
                details={"opset": version, "known": newest},
            )
    for domain, asked in sorted(versions.items()):
        if len(asked) > 1:
            yield InvalidModel(
                f"the model asks for {len(asked)} versions of the operators of '{domain or 'ai.onnx'}' at "
                "once: "
                f"{', '.join(map(str, sorted(asked)))}",
                code="F331",
                remedy=_AGAIN,
                details={"domain": domain, "opsets": sorted(asked)},
            )
    if "" not in versions and any(_plain(node.domain) == "" for node in proto.graph.node):
        yield InvalidModel(
            "the model does not say which opset its operators are of",
            code="F331",
            remedy=_AGAIN,
            details={"opset": None, "known": newest},
        )


def _plain(domain: str) -> str:
    """`ai.onnx` is the long name of the default domain, which is written as the empty string."""
    return "" if domain == "ai.onnx" else domain


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {_plain(entry.domain): entry.version for entry in imports}


class _Scope:
    """The walk through one graph (or function) and what lies inside its nodes."""

    def __init__(self, found: Structure, opsets: dict[str, int]) -> None:
        self.found = found
        self.opsets = opsets

    def graph(self, graph: onnx.GraphProto, outer: frozenset[str]) -> set[str]:
        """Check `graph`; returns the names of the outer scope that it reads."""
        made = self._edge_names(graph)
        reads = self._nodes(graph.node, made, outer)
        for output in graph.output:
            if output.name not in made:
                self._add(
                    "F338",
                    f"nothing makes the graph's output '{output.name}'",
                    details={"output": output.name, "nearest": nearest(output.name, made)},
                )
        return reads

    def function(self, function: onnx.FunctionProto) -> None:
        self._nodes(function.node, dict.fromkeys(function.input, "input"), frozenset())

    def _edge_names(self, graph: onnx.GraphProto) -> dict[str, str]:
        """The names that a graph begins with, and what each is."""
        made: dict[str, str] = {}
        for kind, names in (
            ("input", [i.name for i in graph.input]),
            (
                "initializer",
                [i.name for i in graph.initializer] + [s.values.name for s in graph.sparse_initializer],
            ),
        ):
            seen: set[str] = set()
            for name in names:
                if name in seen:
                    self._add("F335", f"two {kind}s have the name '{name}'", details={"value": name})
                seen.add(name)
                made.setdefault(name, kind)
        return made

    def _nodes(
        self, nodes: Sequence[onnx.NodeProto], made: dict[str, str], outer: frozenset[str]
    ) -> set[str]:
        makers = self._makers(nodes, made)
        visible = frozenset(outer | made.keys()) if any(_subgraphs(n) for n in nodes) else outer
        done = {name for name, kind in made.items() if kind != "node"}
        needs: list[set[int]] = []
        free: set[str] = set()
        late = False
        for node in nodes:
            names = {name for name in node.input if name}
            for name in sorted(n for n in names if n not in made and n not in outer):
                self._dangling(node, name, made)
            for subgraph in _subgraphs(node):
                names |= self.graph(subgraph, visible)
            free.update(name for name in names if name not in made)
            needs.append({makers[name] for name in names if name in makers})
            late = late or any(name in makers and name not in done for name in names)
            done.update(node.output)
        if late:
            self._order(nodes, needs)
        return free

    def _makers(self, nodes: Sequence[onnx.NodeProto], made: dict[str, str]) -> dict[str, int]:
        """Which node makes a name. Adds them to `made`."""
        makers: dict[str, int] = {}
        for index, node in enumerate(nodes):
            for name in node.output:
                if not name:
                    continue
                if name in makers:
                    other = nodes[makers[name]]
                    self._add(
                        "F336",
                        f"it makes '{name}', which {_title(other)} makes already",
                        node,
                        {"value": name},
                    )
                elif name in made:
                    self._add(
                        "F335",
                        f"it makes '{name}', which is the name of an {made[name]} already",
                        node,
                        {"value": name},
                    )
                else:
                    makers[name] = index
        made.update(dict.fromkeys(makers, "node"))
        return makers

    def _dangling(self, node: onnx.NodeProto, name: str, made: dict[str, str]) -> None:
        near = nearest(name, made) if len(made) < 5000 else []
        hint = f"; the nearest name is '{near[0]}'" if near else ""
        self._add(
            "F333", f"its input '{name}' is made by nothing{hint}", node, {"value": name, "nearest": near}
        )

    def _order(self, nodes: Sequence[onnx.NodeProto], needs: list[set[int]]) -> None:
        """Tell a cycle (Kahn's algorithm leaves nodes over) from an order that sorting mends."""
        users: list[list[int]] = [[] for _ in nodes]
        waiting = [len(n) for n in needs]
        for index, makers in enumerate(needs):
            for maker in makers:
                users[maker].append(index)
        ready = [index for index, count in enumerate(waiting) if not count]
        while ready:
            for user in users[ready.pop()]:
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        left = {index for index, count in enumerate(waiting) if count}
        if not left:
            self.found.unsorted = True
            return
        cycle = [_name(nodes[index]) for index in _one_cycle(left, needs)]
        path = " -> ".join(cycle[:_SHOWN]) + (
            f" -> ... ({plural(len(cycle), 'node')})" if len(cycle) > _SHOWN else ""
        )
        self._add("F334", f"the graph has a cycle: {path} -> {cycle[0]}", details={"nodes": cycle})

    def _add(
        self,
        code: str,
        reason: str,
        node: onnx.NodeProto | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        where = Where() if node is None else where_of(node, self.opsets)
        self.found.problems.append(
            InvalidModel(reason, code=code, remedy=_AGAIN, where=where, details=details)
        )


def check_ir(model: ir.Model) -> list[FideliteError]:
    """The same for a model in memory, whose references may be right where its names are wrong."""
    problems: list[FideliteError] = []
    if not model.graph.outputs:
        problems.append(
            InvalidModel("the graph has no outputs, so it computes nothing", code="F337", remedy=_AGAIN)
        )
    opsets = model.opset_imports
    for graph in model.graphs():
        owners: dict[str, ir.Value] = {}
        values = [*graph.inputs, *graph.initializers.values(), *(o for node in graph for o in node.outputs)]
        for value in values:
            if value.name and owners.setdefault(value.name, value) is not value:
                problems.append(
                    InvalidModel(
                        f"two values have the name '{value.name}'",
                        code="F335",
                        remedy=_AGAIN,
                        details={"value": value.name},
                    )
                )
        for node in graph:
            for value in node.inputs:
                if value is None or value.producer() or value.is_graph_input() or value.is_initializer():
                    continue
                where = Where(
                    node.name or node.op_type, node.op_type, _plain(node.domain), opsets.get(node.domain)
                )
                problems.append(
                    InvalidModel(
                        f"its input '{value.name}' is made by nothing",
                        code="F333",
                        remedy=_AGAIN,
                        where=where,
                        details={"value": value.name},
                    )
                )
    for value in model.graph.outputs:
        if not (value.producer() or value.is_graph_input() or value.is_initializer()):
            problems.append(
                InvalidModel(
                    f"nothing makes the graph's output '{value.name}'",
                    code="F338",
                    remedy=_AGAIN,
                    details={"output": value.name},
                )
            )
    return problems


def _one_cycle(left: set[int], needs: list[set[int]]) -> list[int]:
    """A cycle among `left`, of which each node waits for another one; in the direction of the data."""
    at = min(left)
    seen: dict[int, int] = {}
    path: list[int] = []
    while at not in seen:
        seen[at] = len(path)
        path.append(at)
        at = min(needs[at] & left)
    return path[seen[at] :][::-1]


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    graphs: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graphs.append(attribute.g)
        graphs.extend(attribute.graphs)
    return graphs


def _name(node: onnx.NodeProto) -> str:
    return node.name or next((o for o in node.output if o), node.op_type)


def _title(node: onnx.NodeProto) -> str:
    return f"node {some([_name(node)])}"


def where_of(node: onnx.NodeProto, opsets: dict[str, int]) -> Where:
    """The place of a node that is still a protobuf message."""
    domain = _plain(node.domain)
    return Where(node=_name(node), op=node.op_type, domain=domain, opset=opsets.get(domain))
