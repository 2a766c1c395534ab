"""Bisect: faults are planted by mutating each family of operators, and the node behind each must be named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fidelite
from fidelite.errors import Mismatch
from fidelite.lower import registry
from fidelite.options import Precision
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.onnx_runtime import OnnxSession
from fidelite.source.tflite_file import read_tflite
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.verification import Verified
from fidelite.write.flatbuffer import write_model
from tests.lower.support import shared_worker
from tests.optimize.classics import Net


def network() -> onnx.ModelProto:
    """A bit of everything; each node is called after its place."""
    n = Net((1, 3, 8, 8))
    stem = n.add("Relu", n.conv("x", 3, 8))  # n0, n1
    pooled = n.add("MaxPool", stem, kernel_shape=[2, 2], strides=[2, 2])  # n2
    inner = n.add("Relu", n.conv(pooled, 8, 8))  # n3, n4
    total = n.add("Add", n.conv(inner, 8, 8, 1), pooled)  # n5, n6
    joined = n.add("Concat", total, n.add("Sigmoid", total), axis=1)  # n7, n8
    mean = n.add("ReduceMean", joined, n.i(2, 3), keepdims=0)  # n9
    scaled = n.add("Mul", mean, n.w(16))  # n10
    logits = n.add("Gemm", scaled, n.w(5, 16), n.w(5), transB=1)  # n11
    return n.model(n.add("Softmax", logits, axis=-1), joined)  # n12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bisect")
    source, result = folder / "net.onnx", folder / "net.tflite"
    onnx.save(network(), source)
    fidelite.convert(source, layout={"x": "nhwc"}).save(result)
    return source, result


def operators(model: Model, op: str) -> list[Operator]:
    return [o for o in model.main.operators if o.op == op]


def scaled(tensor: Tensor | None, factor: float) -> None:
    assert tensor is not None
    assert tensor.constant is not None
    tensor.constant = Constant.of(np.asarray(tensor.constant.numpy() * factor, tensor.element.dtype))


def first_conv(model: Model) -> None:
    scaled(operators(model, "CONV_2D")[0].inputs[1], 1.1)


def fused_activation(model: Model) -> None:
    operators(model, "CONV_2D")[1].options["fusedActivationFunction"] = 0


def bias(model: Model) -> None:
    scaled(operators(model, "CONV_2D")[2].inputs[2], 1.5)


def pool(model: Model) -> None:
    operators(model, "MAX_POOL_2D")[0].op = "AVERAGE_POOL_2D"


def residual(model: Model) -> None:
    operators(model, "ADD")[0].op = "SUB"


def gate(model: Model) -> None:
    operators(model, "LOGISTIC")[0].op = "TANH"


def concat(model: Model) -> None:
    operator = operators(model, "CONCATENATION")[0]
    model.main.set_inputs(operator, operator.inputs[::-1])


def reduction(model: Model) -> None:
    operators(model, "MEAN")[0].op = "REDUCE_MAX"


def factor(model: Model) -> None:
    scaled(operators(model, "FULLY_CONNECTED")[0].inputs[1], 0.9)


def last(model: Model) -> None:
    operators(model, "SOFTMAX")[0].options["beta"] = 2.0


def moved(model: Model) -> None:
    """A TRANSPOSE that layout put before n7, in the wrong order."""
    operand = operators(model, "TRANSPOSE")[-1].inputs[1]
    assert operand is not None
    operand.constant = Constant.of(np.asarray([0, 3, 2, 1], np.int32))


FAULTS: list[tuple[Callable[[Model], None], str]] = [
    (first_conv, "n0"), (pool, "n2"), (fused_activation, "n3"), (bias, "n5"), (residual, "n6"), (gate, "n7"),
    (concat, "n8"), (reduction, "n9"), (factor, "n11"), (last, "n12"), (moved, "n7")]


def mutated(file: Path, mutate: Callable[[Model], None], folder: Path) -> Path:
    model = read_tflite(file)
    mutate(model)
    path = folder / "wrong.tflite"
    with path.open("wb") as stream:
        write_model(model, stream)
    return path


def bisected(source: Path, result: Path) -> Verified:
    return fidelite.verify(source, result, bisect=True)


@pytest.mark.parametrize(("mutate", "node"), FAULTS, ids=[m.__name__ for m, _ in FAULTS])
def test_the_node_is_named(mutate: Callable[[Model], None], node: str, files: tuple[Path, Path],
                           tmp_path: Path) -> None:
    found = bisected(files[0], mutated(files[1], mutate, tmp_path))
    assert not found.proven
    assert found.divergence is not None
    assert node in found.divergence.nodes, found.divergence
    assert len(found.divergence.nodes) <= 3
    assert found.divergence.comparison is not None
    assert str(found.divergence)
    assert [f.name for f in found.files] == ["wrong.cut.onnx", "wrong.cut.tflite"]


def test_the_cut_models_run_and_differ(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = bisected(files[0], mutated(files[1], residual, tmp_path))
    onnx_file, tflite_file = found.files
    step = found.divergence.step if found.divergence else None
    assert step is not None
    rng = np.random.default_rng(0)
    with OnnxSession(onnx_file) as session:
        feeds = {p.name: rng.standard_normal([int(d) for d in p.shape if d is not None]).astype(np.float32)
                 for p in session.inputs}
        (want,) = session.run(feeds).values()
    moved_feeds = {t.name: np.ascontiguousarray(feeds[t.origin.value].transpose(t.origin.permutation or None))
                   if t.origin and t.origin.permutation else feeds[t.origin.value if t.origin else t.name]
                   for t in step.feeds}
    with LiteRtSession(tflite_file, worker=shared_worker()) as session:
        assert {p.name for p in session.inputs} == set(moved_feeds)
        (have,) = session.run(moved_feeds).values()
    origin = step.target.origin
    assert origin is not None
    want = want.transpose(origin.permutation) if origin.permutation else want
    assert want.shape == have.shape
    assert np.max(np.abs(want - have)) > 0.1


def test_a_sound_file_has_no_divergence(files: tuple[Path, Path]) -> None:
    found = bisected(*files)
    assert found.proven
    assert found.bisected
    assert found.divergence is None
    assert not found.files


@pytest.mark.parametrize("precision", ["float16", "dynamic-int8"])
def test_rounded_weights_are_no_divergence(precision: Precision, files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    fidelite.convert(files[0], precision=precision).save(path)
    assert bisected(files[0], path).divergence is None


def test_a_step_that_crashes_is_named(tmp_path: Path) -> None:
    n = Net((1, 3, 4, 4))
    a = n.add("Relu", "x")
    b = n.add("Gather", a, n.i(2, 0, 2), axis=1)
    source, result = tmp_path / "net.onnx", tmp_path / "net.tflite"
    onnx.save(n.model(n.add("Sigmoid", b)), source)
    fidelite.convert(source).save(result)
    def out_of_range(found: Model) -> None:
        operand = operators(found, "GATHER")[0].inputs[1]
        assert operand is not None
        operand.constant = Constant.of(np.asarray([2, 0, 9], operand.element.dtype))

    wrong = mutated(result, out_of_range, tmp_path)
    from fidelite.check.bisect import Bisection
    from fidelite.edge import Edge
    from fidelite.manifest import restore_values
    broken = read_tflite(wrong)
    assert restore_values(broken)
    sample = {"x": np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)}
    found = Bisection(broken, source, Edge(), {"x", "v0", "v1", "v2"}).run(sample)
    assert found is not None
    assert found.nodes == ("n1",)
    assert found.crash
    assert "fail" in str(found)


def test_a_foreign_file_without_a_manifest(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Values are told by the tensors' names."""
    def foreign(model: Model) -> None:
        model.metadata.clear()
        residual(model)

    found = bisected(files[0], mutated(files[1], foreign, tmp_path))
    assert [n.code for n in found.notices] == ["N510"]
    assert not found.proven
    assert found.divergence is not None


def test_a_wrong_lowering_is_never_published(files: tuple[Path, Path], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from fidelite.lower import families
    families.load()
    rows = dict(registry.REGISTRY._rows)  # pyright: ignore[reportPrivateUsage]
    wrong = registry.Lowering("Relu", "", 1, 1 << 30, lambda node, b: b.unary("ABS", node.input(0)), "")
    monkeypatch.setattr(registry.REGISTRY, "_rows", {**rows, ("", "Relu"): [wrong]})
    with pytest.raises(Mismatch) as caught:
        fidelite.convert(files[0]).save(tmp_path / "out.tflite")
    assert not list(tmp_path.iterdir())
    evidence = caught.value.evidence
    assert evidence.verification is not None  # type: ignore[attr-defined]
    path = tmp_path / "wrong.tflite"
    path.write_bytes(evidence.bytes)  # type: ignore[attr-defined]
    found = bisected(files[0], path).divergence
    assert found is not None
    assert "n1" in found.nodes


def test_bodies_scalars_and_constants_without_elements(tmp_path: Path) -> None:
    """An If of the model's own, a scalar input, a RESHAPE to (): bisect takes them apart as anything else."""
    def branch(name: str, op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["half"], [name])], name, [],
                                 [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])])

    nodes = [
        helper.make_node("Mul", ["x", "x"], ["half"], name="n0"),
        helper.make_node("Equal", ["rate", "known"], ["same"], name="n1"),
        helper.make_node("If", ["same"], ["chosen"], name="n2", then_branch=branch("a", "Sqrt"),
                         else_branch=branch("b", "Exp")),
        helper.make_node("Cast", ["rate"], ["factor"], name="n3", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["chosen", "factor"], ["y"], name="n4")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
                     helper.make_tensor_value_info("rate", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.asarray(2), "known")])
    source, wrong = tmp_path / "net.onnx", tmp_path / "wrong.tflite"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), source)
    result = fidelite.convert(source)
    assert fidelite.verify(source, result.save(tmp_path / "net.tflite"), bisect=True).divergence is None
    branch_of = next(g for g in result.model.graphs if any(o.op == "EXP" for o in g.operators))
    next(o for o in branch_of.operators if o.op == "EXP").op = "SQRT"
    with wrong.open("wb") as stream:
        write_model(result.model, stream)
    found = fidelite.verify(source, wrong, bisect=True).divergence
    assert found is not None
    assert "n2" in found.nodes
