"""Convert whole models and compare them with ONNX Runtime; apply one pass and check what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir

import fidelite
from fidelite.edge import plan_edge
from fidelite.lower.driver import lower_model
from fidelite.lower.edge import apply_edge
from fidelite.optimize.layout.problem import transpose_cost
from fidelite.optimize.passes import Log, Pass, run_passes
from fidelite.options import LayoutName
from fidelite.pipeline import Conversion, options_of
from fidelite.prepare.fold import fold
from fidelite.prepare.graph import prepare
from fidelite.runtime.litert import LiteRtSession
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Shape
from fidelite.tflite.graph import Graph, Model, Signature, Tensor
from fidelite.tflite.types import ElementType
from fidelite.tflite.verifier import check_model
from tests.lower.support import Array, run_onnx, shared_worker, tflite_bytes

LAYOUTS = ("source", "in", "out", "both")


def ops_of(model: Model) -> Counter[str]:
    """How often each operator occurs."""
    return Counter(operator.op for graph in model.graphs for operator in graph.operators)


def op_list(model: Model) -> list[str]:
    """The main graph's operators in running order."""
    return [operator.op for operator in model.main.operators]


def transposes_of(model: Model) -> list[float]:
    """What each TRANSPOSE costs."""
    return [transpose_cost(o.outputs[0]) for g in model.graphs for o in g.operators if o.op == "TRANSPOSE"]


def layout_of(model: onnx.ModelProto, which: str) -> dict[str, LayoutName]:
    """`--layout` options that put the picture-like inputs, outputs or both channels last."""
    ports = [*(model.graph.input if which in ("in", "both") else ()),
             *(model.graph.output if which in ("out", "both") else ())]
    return {p.name: "nhwc" for p in ports if 3 <= len(p.type.tensor_type.shape.dim) <= 5}


def unoptimised(model: onnx.ModelProto, layout: Mapping[str, LayoutName]) -> Model:
    """The model as lowering and its edge give it, before any pass."""
    lowered = lower_model(prepare(onnx_ir.from_proto(model)), fold=fold).model
    edge = plan_edge(options_of({"layout": layout}), {t.name: t.shape for t in lowered.main.inputs},
                     {t.name: t.shape for t in lowered.main.outputs})
    apply_edge(lowered, edge)
    return lowered


def run(content: bytes, feeds: Mapping[str, Array], *, xnnpack: bool) -> dict[str, Array]:
    with LiteRtSession(content, worker=shared_worker(), xnnpack=xnnpack) as session:
        return session.run(feeds)


def feeds_for(result: Conversion, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the result must be fed where the source is fed `feeds`."""
    moved: dict[str, Array] = {}
    for name, array in feeds.items():
        edge = result.edge.inputs.get(name)
        order = edge.permutation if edge is not None else ()
        moved[name] = np.ascontiguousarray(array.transpose(np.argsort(order))) if order else array
    return moved


def differences(model: onnx.ModelProto, result: Conversion, feeds: Mapping[str, Array], *,
                xnnpack: bool, share: float = 2e-4) -> list[str]:
    """In what the result differs from ONNX Runtime: names, order, types, shapes, values (`share` of the largest)."""
    wanted = dict(result.edge.from_source(run_onnx(model, feeds)))
    found = run(result.bytes, feeds_for(result, feeds), xnnpack=xnnpack)
    if list(wanted) != list(found):
        return [f"outputs {list(found)}, not {list(wanted)}"]
    return [f"{name}: {what}" for name, want in wanted.items() if (what := _difference(want, found[name], share))]


def _difference(want: Array, have: Array, share: float) -> str:
    if want.shape != have.shape or want.dtype != have.dtype:
        return f"{have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
    if want.dtype.kind in "biu":
        return "" if np.array_equal(want, have) else f"{int(np.sum(want != have))} integers differ"
    if not np.array_equal(np.isfinite(want), np.isfinite(have)):
        return "other values are not finite"
    finite = np.isfinite(want)
    error = float(np.max(np.abs(want[finite].astype(np.float64) - have[finite]), initial=0.0))
    scale = float(np.max(np.abs(want[finite]), initial=0.0))
    return "" if error <= share * scale + 1e-6 else f"error {error:.3g} where values reach {scale:.3g}"


def check_network(model: onnx.ModelProto, feeds: Mapping[str, Array], layouts: Sequence[str] = LAYOUTS) -> list[str]:
    """Faults of the whole pipeline on `model` under each layout; empty where there are none."""
    faults: list[str] = []
    for which in layouts:
        layout = layout_of(model, which)
        result = fidelite.convert(model, verify=False, layout=layout)
        before, after = transposes_of(unoptimised(model, layout)), transposes_of(result.model)
        if len(after) > len(before) and sum(after) >= sum(before):  # more are well only where they move less
            faults.append(f"{which}: {len(after)} TRANSPOSEs, and {len(before)} before")
        for xnnpack in (False, True):
            faults += [f"{which}, xnnpack={xnnpack}: {d}" for d in differences(model, result, feeds, xnnpack=xnnpack)]
    return faults


def graph_of(build: Callable[[Builder, Tensor], Sequence[Tensor]], shape: Shape = (1, 4, 5, 6),
             element: ElementType = ElementType.FLOAT32) -> Model:
    """A model whose outputs `build(builder, x)` makes from one input."""
    graph = Graph()
    x = Tensor("x", element, shape)
    graph.inputs.append(x)
    b = Builder(graph)
    b.made_by = "test"
    for i, tensor in enumerate(build(b, x)):
        tensor.name = f"y{i}"
        graph.outputs.append(tensor)
    return Model([graph], [Signature("serving_default", graph, [("x", x)], [(t.name, t) for t in graph.outputs])])


def check_pass(passes: Sequence[Pass], build: Callable[[Builder, Tensor], Sequence[Tensor]], expected: str,
               shape: Shape = (1, 4, 5, 6), element: ElementType = ElementType.FLOAT32) -> Model:
    """Apply `passes` to a model: it must stay valid and compute the same, a second run must change nothing, and its
    operators must be those `expected` (in running order)."""
    before, model = graph_of(build, shape, element), graph_of(build, shape, element)
    run_passes(model, passes)
    check_model(model)
    assert [t.name for t in model.main.outputs] == [t.name for t in before.main.outputs]
    assert [t.shape for t in model.main.outputs] == [t.shape for t in before.main.outputs]
    assert op_list(model) == expected.split(), "\n".join(map(repr, model.main.operators))
    again = Log()
    run_passes(model, passes, again)
    assert not again.changes, f"not idempotent: {again.changes}"
    rng = np.random.default_rng(0)
    sizes = [d if isinstance(d, int) else 3 for d in shape]
    x = rng.standard_normal(sizes) * 3
    feeds: dict[str, Array] = {"x": x.astype(element.dtype)}
    for xnnpack in (False, True):
        wanted, found = (run(tflite_bytes(m), feeds, xnnpack=xnnpack) for m in (before, model))
        for name, want in wanted.items():
            assert not (what := _difference(want, found[name], 1e-5)), f"{name} (xnnpack={xnnpack}): {what}"
    return model


def refuses(passes: Sequence[Pass], build: Callable[[Builder, Tensor], Sequence[Tensor]],
            shape: Shape = (1, 4, 5, 6), element: ElementType = ElementType.FLOAT32) -> None:
    """`passes` must leave the model as it is."""
    model = graph_of(build, shape, element)
    log = Log(explain=True)
    before = list(map(repr, model.main.operators))
    run_passes(model, passes, log)
    assert not log.changes
    assert list(map(repr, model.main.operators)) == before
