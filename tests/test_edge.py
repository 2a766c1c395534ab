"""The model's edge: layouts, normalisation, argmax, outputs and shapes, each proven against the source."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.edge import Edge, ElementEdge, plan_edge
from fidelite.errors import FideliteError, TargetError, UsageError
from fidelite.lower.edge import apply_edge
from fidelite.options import ConvertOptions, LayoutName, Normalization
from fidelite.pipeline import Conversion, options_of
from fidelite.write.flatbuffer import write_model
from tests.lower.support import Array, run_onnx
from tests.optimize.classics import Net
from tests.optimize.support import differences, feeds_for, op_list, ops_of, run


def picture_net(channels: int = 3) -> tuple[Net, onnx.ModelProto]:
    """Two convolutions that pad with zeros, and an average that looks at the middle."""
    n = Net((1, channels, 8, 10))
    x = n.conv(n.add("Relu", n.conv("x", channels, 6)), 6, 5)
    return n, n.model(x, n.add("GlobalAveragePool", x))


def feeds_of(shape: tuple[int, ...], scale: float = 1.0) -> dict[str, Array]:
    return {"x": np.asarray(np.random.default_rng(2).random(shape) * scale, np.float32)}


@pytest.mark.parametrize("layout", [
    {"x": "nhwc"}, {"v2": "nhwc"}, {"x": "nhwc", "v2": "nhwc", "v3": "nhwc"}, {"x": "nchw", "v3": "source"}])
def test_layouts(layout: Mapping[str, LayoutName]) -> None:
    net, model = picture_net()
    result = fidelite.convert(model, layout=layout)
    assert result.verification is not None
    assert result.verification.proven
    for port, tensor in zip([*model.graph.input, *model.graph.output],
                            [*result.model.main.inputs, *result.model.main.outputs], strict=True):
        own = [d.dim_value for d in port.type.tensor_type.shape.dim]
        moved = [own[0], *own[2:], own[1]]
        assert list(tensor.shape) == (moved if layout.get(port.name) == "nhwc" else own)
        assert tensor.name == port.name
    assert not differences(model, result, net.feeds(), xnnpack=False)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5, 6)])
def test_layouts_of_other_ranks(shape: tuple[int, ...]) -> None:
    n = Net(shape)
    model = n.model(n.add("Relu", n.add("Mul", "x", n.w(3, *[1] * (len(shape) - 2)))))
    result = fidelite.convert(model, layout={"x": "nhwc", "v1": "nhwc"})
    assert ops_of(result.model)["TRANSPOSE"] == 0
    assert result.model.main.inputs[0].shape == (shape[0], *shape[2:], 3)


@pytest.mark.parametrize("layout", ["source", "nhwc"])
def test_imagenet(layout: LayoutName) -> None:
    """The factor folds into the convolution, the mean may not: the border would come out wrong."""
    _, model = picture_net()
    result = fidelite.convert(model, normalize={"": Normalization.imagenet()}, layout={"x": layout})
    ops = op_list(result.model)
    assert ops.count("SUB") == 1
    assert "MUL" not in ops
    assert result.verification is not None
    assert result.verification.proven
    pixels = feeds_of((1, 3, 8, 10), 255.0)["x"]
    mean, std = (np.asarray(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    want = run_onnx(model, {"x": ((pixels.astype(np.float64) / 255 - mean) / std).astype(np.float32)})
    have = run(result.bytes, feeds_for(result, {"x": pixels}), xnnpack=True)
    for name, expected in want.items():
        error = np.abs(have[name] - expected)
        assert error.shape == expected.shape
        assert float(error.max()) < 2e-4 * float(np.abs(expected).max())  # the border included


def test_normalisation_of_one_number() -> None:
    _, model = picture_net(channels=4)
    facts = Normalization((127.5,), (127.5,))
    result = fidelite.convert(model, normalize={"x": facts})
    assert op_list(result.model).count("SUB") == 1
    pixels = feeds_of((1, 4, 8, 10), 255.0)
    want = run_onnx(model, {"x": (pixels["x"] - np.float32(127.5)) / np.float32(127.5)})
    have = run(result.bytes, pixels, xnnpack=True)
    for name, expected in want.items():
        np.testing.assert_allclose(have[name], expected, atol=2e-4 * float(np.abs(expected).max()))


def test_a_normalisation_that_does_nothing_costs_nothing() -> None:
    _, model = picture_net()
    plain = fidelite.convert(model, verify=False)
    normalised = fidelite.convert(model, normalize={"x": Normalization()}, verify=False)
    assert op_list(normalised.model) == op_list(plain.model)


def test_to_source_and_from_source() -> None:
    edge = plan_edge(options_of({"normalize": {"x": Normalization((1.0, 2.0, 3.0), (2.0,), 0.5)},
                                 "layout": {"x": "nhwc", "y": "nhwc"}, "argmax": ["z"]}),
                     {"x": (1, 3, 4, 5)}, {"y": (1, 6, 2, 2), "z": (1, 7, 2, 2)})
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 3)).astype(np.float32)
    want = (x * 0.5 - np.asarray([1, 2, 3])) / 2
    np.testing.assert_allclose(edge.to_source({"x": x})["x"], want.transpose(0, 3, 1, 2), rtol=1e-6)
    y, z = (np.random.default_rng(1).standard_normal(s) for s in ((1, 6, 2, 2), (1, 7, 2, 2)))
    found = edge.from_source({"y": y, "z": z})
    np.testing.assert_array_equal(found["y"], y.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(found["z"], np.argmax(z, axis=1))
    assert found["z"].dtype == np.int32
    assert Edge.from_json(edge.to_json()) == edge


_WEB = {"int64": "int32", "bool": "int32", "float16": "float32", "uint8": "uint8"}


def _typed_model() -> onnx.ModelProto:
    """int64, bool and float16 on both sides: indices into a table, a choice between its rows and another's."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"]),
             helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
             helper.make_node("Where", ["keep", "rows", "wide"], ["mixed"]),
             helper.make_node("Cast", ["mixed"], ["half"], to=TensorProto.FLOAT16),
             helper.make_node("ArgMax", ["mixed"], ["best"], axis=1, keepdims=0),
             helper.make_node("Greater", ["mixed", "zero"], ["large"])]
    table = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    inputs = [helper.make_tensor_value_info(n, t, [5, 4][:r]) for n, t, r in
              (("ids", TensorProto.INT64, 1), ("keep", TensorProto.BOOL, 2), ("x", TensorProto.FLOAT16, 2))]
    outputs = [helper.make_tensor_value_info(n, t, s) for n, t, s in
               (("half", TensorProto.FLOAT16, [5, 4]), ("best", TensorProto.INT64, [5]),
                ("large", TensorProto.BOOL, [5, 4]))]
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in
               (("table", table), ("zero", np.zeros(1, np.float32)))]
    return helper.make_model(helper.make_graph(nodes, "typed", inputs, outputs, weights), ir_version=10,
                             opset_imports=[helper.make_opsetid("", 18)])


def test_element_types_of_the_file() -> None:
    """What the file takes and gives is of another type, and the same numbers as the source's."""
    from fidelite.check.hints import hints_of
    from fidelite.check.proof import Proof

    model = _typed_model()
    result = fidelite.convert(model, verify=False)
    inputs = {t.name: t.element.dtype.name for t in result.model.main.inputs}
    outputs = {t.name: t.element.dtype.name for t in result.model.main.outputs}
    edge = Edge().retyped(inputs, outputs, _WEB)
    assert Edge.from_json(edge.to_json()) == edge
    apply_edge(result.model, edge)
    graph = result.model.main
    assert {t.name: t.element.dtype.name for t in [*graph.inputs, *graph.outputs]} == {
        "ids": "int32", "keep": "int32", "x": "float32", "half": "float32", "best": "int32", "large": "int32"}
    assert (hints_of(result.source.model, edge)["keep"].low, hints_of(result.source.model, edge)["keep"].high) == (0, 1)
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.tflite"
        with path.open("wb") as stream:
            write_model(result.model, stream)
        proof = Proof(model.SerializeToString(), result.source.model, graph, edge)
        assert proof.run(path).proven


def test_types_come_after_layout_and_before_argmax() -> None:
    edge = plan_edge(options_of({"layout": {"x": "nhwc", "y": "nhwc"}, "argmax": ["z"]}),
                     {"x": (1, 3, 4, 5)}, {"y": (1, 6, 2, 2), "z": (1, 7, 2, 2)})
    edge = edge.retyped({"x": "bfloat16"}, {"y": "int64", "z": "float16"}, _WEB | {"bfloat16": "float32"})
    x = np.arange(60, dtype=np.float32).reshape(1, 4, 5, 3)
    assert edge.to_source({"x": x})["x"].dtype.name == "bfloat16"
    np.testing.assert_array_equal(edge.to_source({"x": x})["x"].astype(np.float32), x.transpose(0, 3, 1, 2))
    assert edge.outputs["z"].element is None
    y = np.arange(24).reshape(1, 6, 2, 2)
    found = edge.from_source({"y": y})["y"]
    assert (found.dtype, found.shape) == (np.int32, (1, 2, 2, 6))


def test_numbers_that_the_file_cannot_hold() -> None:
    edge = Edge().retyped({}, {"y": "int64"}, _WEB)
    for value in (2**31, -2**31 - 1):
        with pytest.raises(TargetError, match=f"holds {value}, which int32") as caught:
            edge.from_source({"y": np.asarray([0, value])})
        assert caught.value.code == "F491"
    assert edge.from_source({"y": np.asarray([2**31 - 1, -2**31])})["y"].tolist() == [2**31 - 1, -2**31]


def test_argmax_with_ties() -> None:
    """Where scores are equal, the first counts, and the proof knows ties from errors."""
    n = Net((1, 3, 6, 6))
    scores = n.conv("x", 3, 4, 1)
    model = n.model(n.add("Concat", scores, scores, n.add("Relu", scores), axis=1))
    result = fidelite.convert(model, argmax=("v2",))
    assert result.verification is not None
    assert result.verification.proven
    assert [t.shape for t in result.model.main.outputs] == [(1, 6, 6)]
    assert not differences(model, result, n.feeds(), xnnpack=True)
    assert ops_of(result.model)["TRANSPOSE"] <= 1


def test_argmax_beside_layout() -> None:
    net, model = picture_net()
    result = fidelite.convert(model, argmax=("v2",), layout={"x": "nhwc"})
    assert ops_of(result.model)["TRANSPOSE"] <= 1  # the other output has no extent
    assert not differences(model, result, net.feeds(), xnnpack=True)


def test_outputs_pruned_and_reordered() -> None:
    net, model = picture_net()
    result = fidelite.convert(model, outputs=("v3", "v2"))
    assert [t.name for t in result.model.main.outputs] == ["v3", "v2"]
    found = run(result.bytes, net.feeds(), xnnpack=True)
    want = run_onnx(model, net.feeds())
    for name in ("v2", "v3"):
        np.testing.assert_allclose(found[name], want[name], atol=1e-4)
    pruned = fidelite.convert(model, outputs=("v2",))
    assert [t.name for t in pruned.model.main.outputs] == ["v2"]
    assert "MEAN" not in ops_of(pruned.model)


def dynamic_net() -> onnx.ModelProto:
    n = Net((1, 3, 8, 10))
    model = n.model(n.add("Relu", n.conv("x", 3, 4)))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for axis, name in ((0, "N"), (2, "H"), (3, "W")):
        dims[axis].dim_param = name
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.ClearField("type")
    return onnx.shape_inference.infer_shapes(model)


def test_shapes() -> None:
    model = dynamic_net()
    free = fidelite.convert(model)
    assert sum(not isinstance(d, int) for d in free.model.main.inputs[0].shape) == 3
    fixed = fidelite.convert(model, shapes={"x": (2, 3, 6, 7)})
    assert fixed.model.main.inputs[0].shape == (2, 3, 6, 7)
    assert fixed.model.main.outputs[0].shape == (2, 4, 6, 7)
    for result in (free, fixed):
        assert not differences(model, result, feeds_of((2, 3, 6, 7)), xnnpack=False)


def codes(call: Any) -> set[str]:
    with pytest.raises(FideliteError) as caught:
        call()
    return {e.code for e in getattr(caught.value, "errors", [caught.value])}


@pytest.mark.parametrize(("options", "code"), [
    ({"outputs": ["nothing"]}, "F205"),
    ({"no_such_option": 1}, "F205"),
    ({"precision": "float8"}, "F205"),
    ({"target": "toaster"}, "F205"),
    ({"layout": {"y": "nhwc"}}, "F207"),
    ({"normalize": {"v2": Normalization.imagenet()}}, "F207"),
    ({"argmax": ["x"]}, "F207"),
    ({"layout": {"x": "nwhc"}}, "F208"),
    ({"layout": {"flat": "nhwc"}}, "F208"),
    ({"normalize": {"x": Normalization((1.0, 2.0), (1.0,))}}, "F209"),
    ({"normalize": {"x": Normalization((1.0, 2.0, 3.0), (1.0, 2.0))}}, "F209"),
    ({"normalize": {"x": Normalization((1.0,), (0.0,))}}, "F209"),
    ({"approximate": ("anything",)}, "F281"),
    ({"precision": "int8"}, "F239"),
    ({"precision": "weight-int4"}, "F461"),
])
def test_options_that_do_not_fit(options: dict[str, Any], code: str) -> None:
    net, _ = picture_net()
    model = net.model("v2", net.add("Flatten", "v2"))
    model.graph.output[1].name = model.graph.node[-1].output[0] = "flat"
    assert codes(lambda: fidelite.convert(model, verify=False, **options)) == {code}


def test_an_argmax_of_a_vector() -> None:
    n = Net((4,))
    model = n.model(n.add("Relu", "x"))
    assert codes(lambda: fidelite.convert(model, verify=False, argmax=("v0",))) == {"F208"}


def test_which_input_is_the_picture() -> None:
    with pytest.raises(UsageError) as caught:
        plan_edge(ConvertOptions(normalize={"": Normalization.imagenet()}), {"a": (1, 3, 4, 4), "b": (1, 3, 4, 4)}, {})
    assert caught.value.code == "F209"
    with pytest.raises(UsageError):
        plan_edge(ConvertOptions(normalize={"": Normalization.imagenet()}), {"a": (1, 3)}, {})


def test_only_floats_are_normalised() -> None:
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.INT32, [1, 3, 4, 4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert codes(lambda: fidelite.convert(model, normalize={"x": Normalization.imagenet()})) == {"F209"}


def test_weights_that_float16_cannot_hold() -> None:
    n = Net((1, 3, 8, 8))
    for values in (np.full((16, 3, 3, 3), 1e6, np.float32), np.full((16, 3, 3, 3), np.nan, np.float32)):
        m = Net(n.shape)
        model = m.model(m.add("Conv", "x", m.constant(values)))
        assert codes(lambda model=model: fidelite.convert(model, precision="float16", verify=False)) == {"F462"}


def test_an_edge_is_part_of_the_result() -> None:
    _, model = picture_net()
    result: Conversion = fidelite.convert(model, layout={"x": "nhwc"}, verify=False)
    assert not result.edge.is_plain
    assert Edge.from_json(result.manifest["edge"]) == result.edge


@pytest.mark.parametrize(("source", "target", "types"), [
    (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, ("float32", "float32")),
    (TensorProto.INT4, TensorProto.UINT4, ("int8", "uint8")),
    (TensorProto.FLOAT4E2M1, TensorProto.INT4, ("float32", "int8"))])
def test_types_that_others_carry(source: int, target: int, types: tuple[str, str], tmp_path: Path) -> None:
    """The file carries the same values in a type that LiteRT has: said, kept in the manifest, and proven."""
    nodes = [helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
             helper.make_node("Neg", ["wide"], ["negative"]),
             helper.make_node("Cast", ["negative"], ["y"], to=target)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", source, [3, 21])],
                              [helper.make_tensor_value_info("y", target, [3, 21])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=12)
    onnx.save(model, tmp_path / "small.onnx")
    result = fidelite.convert(tmp_path / "small.onnx")
    assert [n.code for n in result.notices] == ["W431", "W431"]
    assert [t.element.dtype.name for t in (*result.model.main.inputs, *result.model.main.outputs)] == list(types)
    edge = Edge.from_json(result.manifest["edge"])
    names = [helper.tensor_dtype_to_np_dtype(t).name for t in (source, target)]
    assert [edge.inputs["x"].element, edge.outputs["y"].element] == [
        ElementEdge(types[0], names[0]), ElementEdge(types[1], names[1])]
    assert fidelite.verify(tmp_path / "small.onnx", result.save(tmp_path / "small.tflite")).proven


@pytest.mark.parametrize("options", [{"target": "web"}, {"layout": {"x": "nhwc"}}])
def test_quantized_inputs_keep_their_grid(options: dict[str, Any]) -> None:
    """Integers behind a cast or a transpose lie on the same grid as before, so that kernels may know it."""
    scale = [onnx.numpy_helper.from_array(np.asarray(v, d), n) for n, v, d in
             (("scale", 0.05, np.float32), ("zero", 3, np.int8))]
    nodes = [helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["wide"]),
             helper.make_node("Relu", ["wide"], ["y"])]
    graph = helper.make_graph(nodes, "grid", [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 3, 4, 5])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 5])], scale)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    result = fidelite.convert(model, **options)
    assert result.verification is not None
    assert result.verification.proven
    (read,) = [o for o in result.model.main.operators if o.op == "DEQUANTIZE"]
    assert read.inputs[0] is not None
    assert read.inputs[0].quantization is not None
