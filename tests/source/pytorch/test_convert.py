"""PyTorch networks converted: names, shapes, dynamic dimensions, both exporters, all opsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import fidelite  # noqa: E402
from fidelite.errors import FideliteError, Mismatch  # noqa: E402
from fidelite.source.pytorch import exporting  # noqa: E402
from tests.source.pytorch import nets  # noqa: E402

PICTURE = torch.zeros(1, 3, 16, 16)
NETWORKS = {
    "cnn": (nets.Cnn, PICTURE),
    "attention": (nets.Attention, torch.zeros(1, 5, 16)),
    "lstm": (nets.Recurrent, torch.zeros(1, 4, 6)),
    "pyramid": (nets.Pyramid, PICTURE),
}
QUICK = [("dynamo", 18), ("dynamo", 23), ("torchscript", 11), ("torchscript", 18)]
SLOW = [*(("dynamo", n) for n in (19, 20, 21, 22)),
        *(("torchscript", n) for n in (12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23))]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


def ports(result: fidelite.Conversion) -> tuple[list[str], list[str]]:
    graph = result.model.main
    return [t.name for t in graph.inputs], [t.name for t in graph.outputs]


def refused(*arguments: Any, **options: Any) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        fidelite.convert(*arguments, **options)
    return caught.value


def test_a_module_keeps_its_names_and_is_proven_three_ways() -> None:
    network = nets.seeded(nets.Cnn)
    result = fidelite.convert(network, PICTURE)
    assert ports(result) == (["image"], ["scores", "mean"])
    proof = result.verification
    assert proof is not None
    assert proof.proven
    assert (proof.source, proof.result) == ("PyTorch", "LiteRT")
    assert proof.exported is not None
    assert (proof.exported.source, proof.exported.result) == ("PyTorch", "ONNX Runtime")
    rows = proof.summary()
    assert {row["exported"]["verdict"] for row in rows} == {"proven"}
    told = result.manifest
    assert told["source"]["name"] == "Cnn"
    assert told["source"]["exporter"] == "dynamo"
    assert told["proof"]["file"]["source"] == "PyTorch"
    assert told["proof"]["file"]["exported"]["outputs"]["scores"]["verdict"] == "proven"
    json.dumps(fidelite.describe(result))


def test_the_file_computes_what_the_module_computes(tmp_path: Path) -> None:
    network = nets.seeded(nets.Attention)
    file = fidelite.convert(network, torch.zeros(2, 5, 16)).save(tmp_path / "attention.tflite")
    tokens = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2))
    with fidelite.Runner(file) as runner, torch.no_grad():
        found = runner.run_arrays({"tokens": tokens.numpy()}).outputs["output"]
        np.testing.assert_allclose(found, network(tokens).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("exporter", "opset"), CASES)
@pytest.mark.parametrize("name", NETWORKS)
def test_exporters_and_opsets(name: str, exporter: Any, opset: int) -> None:
    kind, example = NETWORKS[name]
    result = fidelite.convert(nets.seeded(kind), example, exporter=exporter, opset=opset)
    assert result.source.opset == opset
    assert result.source.exporter == exporter


def test_the_exporter_is_chosen_by_opset() -> None:
    old = fidelite.convert(nets.seeded(nets.Cnn), PICTURE, opset=12, verify=False)
    assert (old.source.exporter, old.source.opset) == ("torchscript", 12)
    assert "N361" in [n.code for n in old.notices]
    new = fidelite.convert(nets.seeded(nets.Cnn), PICTURE, opset=19, verify=False)
    assert (new.source.exporter, new.source.opset) == ("dynamo", 19)


def test_equal_runs_give_equal_bytes() -> None:
    first, second = (fidelite.convert(nets.seeded(nets.Cnn), PICTURE).bytes for _ in range(2))
    assert first == second
    assert str(Path(__file__).parent).encode() not in first


def test_nested_arguments_and_dataclass_results() -> None:
    example = {"features": {"a": torch.zeros(1, 4), "b": torch.zeros(1, 4)}, "more": [torch.zeros(1, 4)], "scale": 3.0}
    for exporter in ("dynamo", "torchscript"):
        result = fidelite.convert(nets.seeded(nets.Structured), example, exporter=exporter)
        assert ports(result) == (["features_a", "features_b", "more_0"], ["left", "right"])
        assert [n.text for n in result.notices if n.code == "N362"] == [
            "fixed in the graph, for they are no tensors: scale = 3.0"]


@pytest.mark.parametrize(("kind", "names"), [
    (nets.Several, ["output_0", "output_1"]), (nets.Named, ["low", "high"]), (nets.Attention, ["output"])])
def test_names_of_outputs(kind: Any, names: list[str]) -> None:
    assert ports(fidelite.convert(nets.seeded(kind), torch.zeros(2, 4, 16)))[1] == names


def test_names_of_the_users_own() -> None:
    result = fidelite.convert(nets.seeded(nets.Several), torch.zeros(2, 4), input_names=["a"], output_names=["b", "c"])
    assert ports(result) == (["a"], ["b", "c"])


def test_numpy_and_integers_as_examples() -> None:
    result = fidelite.convert(nets.seeded(nets.Tokens), np.zeros((1, 3), np.int64))
    assert [t.element.name for t in result.model.main.inputs] == ["INT64"]
    again = fidelite.convert(nets.seeded(nets.Tokens), shapes={"ids": (1, 3)}, dtypes={"ids": "int64"})
    assert again.verification is not None
    assert again.verification.proven


def test_dynamic_dimensions(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", max=64)
    specification = {"image": {0: batch, 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}}
    network = nets.seeded(nets.Cnn)
    example = torch.zeros(2, 3, 16, 16)
    result = fidelite.convert(network, example, dynamic_shapes=specification)
    assert [str(d) for d in result.model.main.inputs[0].shape] == ["batch", "3", "height", "width"]
    with fidelite.Runner(result.save(tmp_path / "any.tflite")) as runner:
        found = runner.run_arrays({"image": np.ones((3, 3, 20, 12), np.float32)}).outputs
    assert found["scores"].shape == (3, 5, 20, 12)
    fixed = fidelite.convert(network, example, dynamic_shapes=(({0: batch}),), shapes={"image": (4, 3, 16, 16)})
    assert list(fixed.model.main.inputs[0].shape) == [4, 3, 16, 16]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_names_in_a_shape_are_dynamic_dimensions(exporter: Any) -> None:
    result = fidelite.convert(nets.seeded(nets.Attention), shapes={"tokens": ("n", "t:7", 16)}, exporter=exporter)
    assert [str(d) for d in result.model.main.inputs[0].shape] == ["n", "t", "16"]


def test_a_module_in_training_is_left_as_it_was() -> None:
    network = nets.seeded(nets.Cnn)
    network.train()
    network.last.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fidelite.convert(network, PICTURE)
    assert (network.training, network.norm.training, network.last.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_choice_of_outputs_and_the_edge() -> None:
    result = fidelite.convert(nets.seeded(nets.Cnn), PICTURE, outputs=("scores",), layout={"image": "nhwc"},
                              argmax=("scores",))
    assert ports(result) == (["image"], ["scores"])
    assert list(result.model.main.inputs[0].shape) == [1, 16, 16, 3]


def test_precisions_start_from_the_module() -> None:
    result = fidelite.convert(nets.seeded(nets.Cnn), PICTURE, precision="float16")
    assert result.float_verification is not None
    assert result.float_verification.exported is not None
    assert result.verification is not None
    assert (result.verification.source, result.verification.exported) == ("PyTorch", None)


def test_an_exporters_fault_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's model has one weight changed; the conversion of that model would be flawless."""
    right = exporting._dynamo  # pyright: ignore[reportPrivateUsage]

    def wrong(program: Any, opset: int) -> Any:
        import onnx_ir

        model = right(program, opset)
        value = next(v for v in model.graph.initializers.values() if "last.bias" in str(v.name))
        assert value.const_value is not None
        value.const_value = onnx_ir.tensor(value.const_value.numpy() + 0.25, name=value.name)
        return model

    monkeypatch.setattr(exporting, "_dynamo", wrong)
    error = refused(nets.seeded(nets.Cnn), PICTURE)
    assert (type(error), error.code) == (Mismatch, "F511")
    assert "exporter" in error.reason
    assert "'scores'" in error.reason


def test_exported_programs_and_torchscript(tmp_path: Path) -> None:
    network = nets.seeded(nets.Cnn)
    program = torch.export.export(network, (torch.zeros(2, 3, 16, 16),),
                                  dynamic_shapes={"image": {0: torch.export.Dim("n")}})
    in_memory = fidelite.convert(program)
    assert ports(in_memory) == (["image"], ["scores", "mean"])
    torch.export.save(program, tmp_path / "cnn.pt2")
    from_file = fidelite.convert(tmp_path / "cnn.pt2", shapes={"image": (1, 3, 16, 16)})
    assert list(from_file.model.main.inputs[0].shape) == [1, 3, 16, 16]
    assert from_file.manifest["source"]["name"] == "cnn.pt2"
    torch.jit.save(torch.jit.trace(nets.seeded(nets.Several), torch.zeros(2, 3)), tmp_path / "several.pt")
    script = fidelite.convert(tmp_path / "several.pt", shapes={"x": (2, 3)})
    assert ports(script) == (["x"], ["output_0", "output_1"])
    assert script.source.exporter == "torchscript"
    assert script.verification is not None
    assert script.verification.source == "PyTorch"


def test_export_writes_the_weights_inside_unless_asked(tmp_path: Path) -> None:
    network = nets.seeded(nets.Pyramid)
    found = fidelite.export(network, tmp_path / "p.onnx", PICTURE)
    assert [p.name for p in tmp_path.iterdir()] == ["p.onnx"]
    assert found.data_file is None
    assert found.verification is not None
    assert found.verification.proven
    model = onnx.load(tmp_path / "p.onnx")
    assert model.opset_import[0].version == 18
    assert {"down.weight", "head.bias"} <= {i.name for i in model.graph.initializer}
    assert str(Path(__file__).parent).encode() not in (tmp_path / "p.onnx").read_bytes()
    assert fidelite.verify(tmp_path / "p.onnx", fidelite.convert(network, PICTURE).save(tmp_path / "p.tflite")).proven
    outside = fidelite.export(network, tmp_path / "q.onnx", PICTURE, external_data=True)
    assert outside.data_file is not None
    assert fidelite.inspect(tmp_path / "q.onnx").exit_code == 0


def test_weights_beyond_the_limit_go_outside_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fidelite.source.opening.LARGEST", 100)
    assert refused(nets.seeded(nets.Recurrent), torch.zeros(1, 4, 6)).code == "F262"
    found = fidelite.export(nets.seeded(nets.Recurrent), tmp_path / "r.onnx", torch.zeros(1, 4, 6))
    assert found.data_file == tmp_path / "r.onnx.data"
    assert "N363" in [n.code for n in found.notices]
    assert fidelite.convert(tmp_path / "r.onnx").verification is not None
