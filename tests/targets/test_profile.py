"""A target's rules in a conversion and in an inspection, with a target made for the test."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pytest

import fidelite
from fidelite import targets
from fidelite.errors import Several, TargetError, UsageError
from fidelite.options import ConvertOptions
from fidelite.targets import Finding, Profile, Rule, available, profile_of
from fidelite.targets.profile import found_at
from fidelite.tflite.graph import Model
from tests.cli import support
from tests.source.models import graph_model, info, save

NO_TANH = Rule("no-tanh", "there is no TANH", "this test")
RELU_ELSEWHERE = Rule("relu-elsewhere", "RELU runs on the CPU", "this test")
SMALL = Rule("small", "inputs have at most 100 values", "this test", depends_on_precision=True)
FLOAT32 = Rule("float32", "weights are float32", "this test")


def _check(model: Model) -> list[Finding]:
    found: list[Finding] = []
    for index, operator in enumerate(model.main.operators):
        if operator.op == "TANH":
            found.append(found_at(NO_TANH, model, 0, index, "TANH is not there", remedy="use LOGISTIC"))
        if operator.op == "RELU":
            found.append(found_at(RELU_ELSEWHERE, model, 0, index, "no kernel", level="fallback"))
        if operator.op == "ABS":
            found.append(found_at(RELU_ELSEWHERE, model, 0, index, "is slow", level="note"))
    if model.main.inputs[0].static_shape[-1] > 100:
        found.append(Finding(SMALL, "the input is too large", tensor=model.main.inputs[0].name))
    return found


def _before(options: ConvertOptions) -> list[Finding]:
    return [Finding(FLOAT32, "float16 is not there")] if options.precision == "float16" else []


@pytest.fixture(autouse=True)
def picky(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A target that stands where `web` stands."""
    profile = Profile("web", "a picky device", (NO_TANH, RELU_ELSEWHERE, SMALL, FLOAT32), _check, "never run", _before)
    module = types.ModuleType("picky_target")
    module.__dict__["PROFILE"] = profile
    monkeypatch.setitem(sys.modules, "picky_target", module)
    homes: Mapping[str, str] = {**targets.HOMES, "web": "picky_target"}
    monkeypatch.setattr(targets, "HOMES", homes)
    return profile


def _chain(folder: Path, *ops: str, size: int = 8) -> Path:
    from onnx import helper

    names = ["x", *(f"v{i}" for i in range(1, len(ops))), "y"]
    nodes = [helper.make_node(op, [a], [b], name=f"{op}_{i}")
             for i, (op, a, b) in enumerate(zip(ops, names, names[1:], strict=False))]
    return save(graph_model(nodes, [info("x", [1, size])], [info("y", [1, size])]), folder / "chain.onnx")


def test_all_refusals_at_once(tmp_path: Path) -> None:
    with pytest.raises(Several) as caught:
        fidelite.convert(_chain(tmp_path, "Tanh", "Abs", "Tanh", size=101), target="web")
    assert [e.code for e in caught.value.errors] == ["F470"] * 3
    first = caught.value.errors[0]
    assert isinstance(first, TargetError)
    assert first.where.node == "Tanh_0"
    assert first.remedy == "use LOGISTIC"
    assert first.details["rule"] == "no-tanh"
    assert "there is no TANH" in str(first)
    assert first.exit_code == 4


def test_options_are_asked_before_the_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="float16 is not there"):
        fidelite.convert(tmp_path / "nothing.onnx", target="web", precision="float16")


def test_what_precision_cannot_change_is_asked_before_quantizing(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="TANH"):
        fidelite.convert(_chain(tmp_path, "Tanh", size=101), target="web", precision="dynamic-int8")


def test_fallbacks_and_notes_are_notices(tmp_path: Path) -> None:
    result = fidelite.convert(_chain(tmp_path, "Relu", "Abs", "Relu"), target="web")
    found = [(n.code, n.level) for n in result.notices if n.code in ("W470", "N470")]
    assert found == [("W470", "warning"), ("N470", "notice")]
    assert "(2 times)" in next(n.text for n in result.notices if n.code == "W470")
    assert result.manifest["options"]["target"] == "web"
    assert result.verification is not None
    assert result.verification.proven


def test_inspection_goes_operator_by_operator(tmp_path: Path) -> None:
    model = _chain(tmp_path, "Relu", "Tanh", "Abs")
    saved = fidelite.convert(model).save(tmp_path / "chain.tflite")
    for file in (model, saved):
        found = fidelite.inspect(file, target="web")
        assert found.exit_code == 4
        assert found.target is not None
        assert [row["verdict"] for row in found.target["operators"]] == ["fallback", "refused", "taken"]
        assert [f["rule"] for f in found.target["findings"]] == ["relu-elsewhere", "no-tanh", "relu-elsewhere"]
    assert fidelite.inspect(_chain(tmp_path, "Relu", "Abs"), target="web").exit_code == 0


def test_inspection_of_what_does_not_convert(tmp_path: Path) -> None:
    found = fidelite.inspect(support.unknown_op(tmp_path), target="web")
    assert found.target is not None
    assert not found.target["accepted"]
    assert found.exit_code == 4


def test_command_line(tmp_path: Path) -> None:
    model = _chain(tmp_path, "Relu", "Tanh", "Abs")
    shown = support.flat(support.fidelite("inspect", model, "--target", "web", code=4).output)
    for told in ("not for a picky device: 1 reason", "runs elsewhere", "rule no-tanh", "use LOGISTIC", "never run"):
        assert told in shown, told
    assert support.data("inspect", model, "--target", "web", code=4)["target"]["accepted"] is False
    shown = support.flat(support.fidelite("inspect", _chain(tmp_path, "Abs"), "--target", "cpu").output)
    assert "all of its 1 operator taken" in shown


def test_targets_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "HOMES", {"cpu": targets.HOMES["cpu"]})
    with pytest.raises(UsageError, match="cpu") as caught:
        profile_of("web")
    assert caught.value.code == "F216"
    with pytest.raises(UsageError) as caught:
        profile_of("toaster")
    assert caught.value.code == "F205"


@pytest.mark.parametrize("name", available())
def test_profiles_are_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    profile = profile_of(name)
    assert profile.name == name
    assert profile.run_here
    assert profile.rules
    names = [rule.name for rule in profile.rules]
    assert len(set(names)) == len(names)
    assert all(rule.text and rule.source for rule in profile.rules)
