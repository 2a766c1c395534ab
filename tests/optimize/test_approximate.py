"""Approximations: off by default, told, and proven at their own tolerance after the exact graph was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

import fidelite
from fidelite.check.tolerance import Tolerance
from fidelite.errors import Mismatch
from fidelite.optimize.approximate import APPROXIMATIONS, approximate
from fidelite.options import APPROXIMATIONS as NAMES
from fidelite.tflite.verifier import check_model
from tests.source.models import graph_model, info, save
from tests.tflite.graphs import build, run

F32 = np.float32


def _resized(folder: Path, mode: str = "align_corners") -> Path:
    sizes = numpy_helper.from_array(np.array([1, 3, 17, 17], np.int64), "s")
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode=mode)
    model = graph_model([node], [info("x", [1, 3, 9, 9])], [info("y", [1, 3, 17, 17])], (sizes,))
    return save(model, folder / "r.onnx")


def _gelu(folder: Path) -> Path:
    node = helper.make_node("Gelu", ["x"], ["y"])
    return save(graph_model([node], [info("x", [2, 64])], [info("y", [2, 64])], opset=20), folder / "g.onnx")


def test_every_name_has_a_rewrite_and_a_tolerance() -> None:
    assert set(NAMES) == set(APPROXIMATIONS)
    assert {Tolerance.for_precision(name).name for name in NAMES} == set(NAMES)


def test_off_by_default(tmp_path: Path) -> None:
    result = fidelite.convert(_resized(tmp_path))
    assert any(o.options.get("alignCorners") for o in result.model.main.operators)
    assert result.exact_verification is None


def test_aligned_corners(tmp_path: Path) -> None:
    result = fidelite.convert(_resized(tmp_path), approximate=("align-corners",))
    resize = next(o for o in result.model.main.operators if o.op == "RESIZE_BILINEAR")
    assert (resize.options["alignCorners"], resize.options["halfPixelCenters"]) == (False, True)
    assert result.exact_verification is not None
    assert result.exact_verification.proven
    assert result.verification is not None
    assert result.verification.outputs[0].tolerance.name == "align-corners"
    notice = next(n for n in result.notices if n.code == "W476")
    assert "1 operators" in notice.text
    assert result.manifest["options"]["approximate"] == ["align-corners"]
    assert set(result.manifest["proof"]) == {"file", "exact"}


def test_gelu_by_tanh() -> None:
    model = build(lambda b, x: b.unary("GELU", x, approximate=False), (F32, (4, 200)))
    x = np.linspace(-6, 6, 800, dtype=F32).reshape(4, 200)
    wanted = run(build(lambda b, x: b.unary("GELU", x, approximate=True), (F32, (4, 200))), [x])[0][0]
    found = approximate(model, ["gelu-tanh"])
    check_model(model)
    assert [f.operators for f in found] == [1]
    assert {o.op for o in model.main.operators} == {"MUL", "ADD", "TANH"}
    np.testing.assert_allclose(run(model, [x])[0][0], wanted, atol=2e-6)


def test_gelu_goes_to_a_microcontroller(tmp_path: Path) -> None:
    path = _gelu(tmp_path)
    assert fidelite.inspect(path, target="micro").exit_code == 4
    result = fidelite.convert(path, target="micro", approximate=("gelu-tanh",), verify=False)
    assert result.findings == []


def test_nothing_to_approximate_keeps_the_tolerance(tmp_path: Path) -> None:
    result = fidelite.convert(_resized(tmp_path, "half_pixel"), approximate=("align-corners",))
    assert result.verification is not None
    assert result.verification.outputs[0].tolerance.name == "float32"
    assert "the graph has none" in next(n.text for n in result.notices if n.code == "W476")


def test_with_a_precision(tmp_path: Path) -> None:
    result = fidelite.convert(_gelu(tmp_path), approximate=("gelu-tanh",), precision="float16")
    assert result.verification is not None
    assert result.verification.outputs[0].tolerance.name == "float16 + gelu-tanh"


def test_too_coarse_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fidelite.optimize.approximate._CUBIC", 1.0)
    with pytest.raises(Mismatch):
        fidelite.convert(_gelu(tmp_path), approximate=("gelu-tanh",))


def test_loosest() -> None:
    found = Tolerance.loosest(["float32", "float16", "align-corners"])
    assert found.name == "float16 + align-corners"
    assert (found.relative_rms, found.cosine, found.max_abs_of_scale) == (0.2, 0.98, None)
    assert Tolerance.loosest(["float32"]) == Tolerance()
