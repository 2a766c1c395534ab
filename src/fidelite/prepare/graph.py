"""Make an ONNX model simpler without changing what it computes: inline functions, lift constants, drop dead nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def prepare(model: onnx_ir.Model) -> onnx_ir.Model:
    """Simplify `model` in place and return it."""
    if model.functions:
        from onnx_ir.passes.common import InlinePass

        InlinePass()(model)
    drop_dead_nodes(model.graph)
    return model


def drop_dead_nodes(graph: onnx_ir.Graph) -> int:
    """Remove nodes whose results nobody reads; returns how many. Linear: one walk from the outputs."""
    alive: set[onnx_ir.Node] = set()
    pending = [v.producer() for v in graph.outputs]
    while pending:
        node = pending.pop()
        if node is None or node in alive:
            continue
        alive.add(node)
        pending += [v.producer() for v in node.inputs if v is not None]
        for attribute in node.attributes.values():
            for inner in _graphs(attribute):
                pending += [v.producer() for n in inner.all_nodes() for v in n.inputs if v is not None]
                pending += [v.producer() for v in inner.outputs]
    dead = [node for node in graph if node not in alive]
    for node in reversed(dead):
        graph.remove(node, safe=True)
    return len(dead)


def _graphs(attribute: onnx_ir.Attr) -> list[onnx_ir.Graph]:
    if attribute.type.name == "GRAPH":
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type.name == "GRAPHS" else []
