"""Bad input from PyTorch: each is told with its reason, and the line of the user's code where there is one."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import fidelite  # noqa: E402
from fidelite.errors import FideliteError  # noqa: E402
from tests.source.models import conv_model, save  # noqa: E402
from tests.source.pytorch import nets  # noqa: E402
from tests.source.pytorch.test_convert import PICTURE, refused  # noqa: E402

MINE = '''
import torch


class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first = torch.nn.Linear(3, width)

    def forward(self, x):
        return self.first(x)


def needs(width):
    return Net(width)


def breaks():
    return {}["width"]


def number():
    return 3


def with_examples():
    return Net(), (torch.zeros(2, 3),)


ready = Net()
width = 7
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, of a name that no other test has."""
    name = f"mine_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(MINE, "utf-8")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("what", ["with_examples", "ready", "Net"])
def test_what_a_factory_may_be(mine: str, what: str) -> None:
    before = list(sys.path)
    shapes: Any = {} if what == "with_examples" else {"x": (2, 3)}
    result = fidelite.convert(f"{mine}:{what}", shapes=shapes)
    assert result.verification is not None
    assert result.verification.proven
    assert result.manifest["source"]["name"] == f"{mine}:{what}"
    assert sys.path == before


def test_random_weights_of_a_factory_are_the_same_each_time(mine: str) -> None:
    state = torch.random.get_rng_state()
    first, second = (fidelite.convert(f"{mine}:Net", shapes={"x": (2, 3)}).bytes for _ in range(2))
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("what", "code", "told"), [
    (":nett", "F252", ":Net?"), (":needs", "F253", "width"), (":breaks", "F253", 'return {}["width"]'),
    (":number", "F254", "int"), (":width", "F254", "int"), ("_gone:Net", "F251", "current folder")])
def test_bad_factories(mine: str, what: str, code: str, told: str) -> None:
    error = refused(f"{mine}{what}", shapes={"x": (2, 3)})
    assert error.code == code
    assert told in str(error)


def test_a_module_that_raises_on_import_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises_on_import.py").write_text("import math\nmath.sqrt(-1)\n", "utf-8")
    (tmp_path / "does_not_parse.py").write_text("def f(:\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    error = refused("raises_on_import:f")
    assert error.code == "F251"
    assert "raises_on_import.py:2 (math.sqrt(-1))" in error.reason
    parse = refused("does_not_parse:f")
    assert parse.code == "F251"
    assert "does_not_parse.py:1" in parse.reason


def test_what_it_takes_must_be_known(mine: str) -> None:
    missing = refused(f"{mine}:Net")
    assert missing.code == "F255"
    assert "--shape x=" in missing.remedy
    unknown = refused(f"{mine}:Net", shapes={"input": (2, 3)})
    assert unknown.code == "F255"
    assert "takes x" in unknown.reason
    assert refused(f"{mine}:Net", shapes={"x": (2, 3)}, dtypes={"x": "float33"}).code == "F255"


def test_examples_that_do_not_fit(mine: str) -> None:
    wrong = refused(f"{mine}:Net", shapes={"x": (2, 4)})
    assert wrong.code == "F256"
    assert f"{mine}.py:11 (return self.first(x))" in wrong.reason
    network = nets.seeded(nets.Cnn)
    for examples in ((PICTURE, PICTURE), {"picture": PICTURE}, (1.0,)):
        assert refused(network, examples).code == "F256"


def test_options_that_do_not_belong(tmp_path: Path, mine: str) -> None:
    source = save(conv_model(), tmp_path / "conv.onnx")
    for options in ({"opset": 18}, {"checkpoint": "x.pth"}, {"input_names": ["a"]}, {"example_inputs": PICTURE}):
        assert refused(source, **options).code == "F257"
    assert refused(f"{mine}:Net", shapes={"x": (2, 3)}, weights="x.data").code == "F257"
    with pytest.raises(FideliteError) as caught:
        fidelite.export(source, tmp_path / "out.onnx")
    assert caught.value.code == "F261"
    program = torch.export.export(nets.seeded(nets.Several), (torch.zeros(2),))
    assert refused(program, checkpoint="x.pth").code == "F257"


def test_exporter_and_opset_must_go_together() -> None:
    network = nets.seeded(nets.Several)
    example = torch.zeros(2, 3)
    for options in ({"opset": 10}, {"opset": 24}):
        assert refused(network, example, **options).code == "F258"
    assert refused(torch.jit.trace(network, example), example, exporter="dynamo").code == "F258"
    program = torch.export.export(network, (example,))
    assert refused(program, exporter="torchscript").code == "F258"
    assert refused(network, example, exporter="other").code == "F205"


def test_dynamic_shapes_that_do_not_fit() -> None:
    network = nets.seeded(nets.Cnn)
    n = torch.export.Dim("n")
    for wrong in ({"imagee": {0: n}}, ({0: n}, {0: n}), {"image": {4: n}}, 3):
        error = refused(network, torch.zeros(2, 3, 16, 16), dynamic_shapes=wrong)
        assert error.code == "F259"
    program = torch.export.export(nets.seeded(nets.Several), (torch.zeros(2, 3),))
    assert refused(program, dynamic_shapes={"x": {0: n}}).code == "F259"


def test_a_dimension_that_the_network_fixes() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(2, 12)

    error = refused(Fixed(), torch.zeros(2, 3, 4), dynamic_shapes={"x": {1: torch.export.Dim("t")}})
    assert error.code == "F371"
    assert "axis 1 at 3" in error.reason


def test_names_must_be_as_many_and_different() -> None:
    network = nets.seeded(nets.Several)
    for options in ({"output_names": ["a"]}, {"output_names": ["a", "a"]}, {"input_names": ["a", "b"]}):
        assert refused(network, torch.zeros(2), **options).code == "F260"


def test_what_cannot_be_traced_is_quoted() -> None:
    error = refused(nets.seeded(nets.Branching), torch.ones(2, 3))
    assert error.code == "F366"
    assert "nets.py:" in error.reason
    assert "(if x.sum() > 0:)" in error.reason
    assert "data-dependent" in error.reason
    assert "\x1b" not in error.reason


def test_what_tracing_fixes_is_told() -> None:
    result = fidelite.convert(nets.seeded(nets.Branching), torch.ones(2, 3), exporter="torchscript", verify=False)
    (notice,) = [n for n in result.notices if n.code == "W364"]
    assert "if x.sum() > 0:" in notice.text
    assert refused(nets.seeded(nets.Branching), torch.ones(2, 3), exporter="torchscript").code == "F511"


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_an_operator_without_counterpart_is_named(exporter: Any) -> None:
    error = refused(nets.seeded(nets.NoCounterpart), torch.ones(2, 3), exporter=exporter)
    assert error.code == "F367"
    assert "bessel_j0" in error.reason


def test_results_that_are_no_tensors() -> None:
    for kind in (nets.Words, nets.Silent):
        assert refused(nets.seeded(kind), torch.ones(2, 3)).code == "F368"


def test_damaged_programs(tmp_path: Path) -> None:
    program = torch.export.export(nets.seeded(nets.Cnn), (PICTURE,))
    torch.export.save(program, tmp_path / "m.pt2")
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.pt2") as whole, zipfile.ZipFile(tmp_path / "cut.pt2", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, b"" if name.endswith("model.json") else whole.read(name))
    error = refused(tmp_path / "cut.pt2")
    assert error.code == "F369"


def test_another_opset_than_asked_for() -> None:
    """Dynamo takes its model back to an older opset where it can, and says nothing where it cannot."""
    error = refused(nets.seeded(nets.Cnn), PICTURE, opset=12, exporter="dynamo")
    assert error.code == "F370"
    assert "--exporter torchscript --opset 12" in error.remedy


def test_other_objects_are_no_networks() -> None:
    assert refused(torch.zeros(3)).code == "F254"


def test_nothing_is_written_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(FideliteError):
        fidelite.export(nets.seeded(nets.Branching), tmp_path / "b.onnx", torch.ones(2, 3), exporter="torchscript")
    assert list(tmp_path.iterdir()) == []


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch, mine: str, tmp_path: Path) -> None:
    from fidelite.examples.face_parsing.bisenet import BiSeNet

    torch.save(BiSeNet().state_dict(), tmp_path / "79999_iter.pth")
    torch.save(nets.Cnn().state_dict(), tmp_path / "other.pth")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for source in (f"{mine}:Net", tmp_path / "79999_iter.pth"):
        error = refused(source)
        assert error.code == "F250"
        assert error.remedy == 'pip install "fidelite[torch]"'
    assert refused(tmp_path / "other.pth").code == "F351"


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_checkpoints(tmp_path: Path, mine: str) -> None:
    def found(content: Any, name: str = "c.pth") -> FideliteError:
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            torch.save(content, tmp_path / name)
        return refused(f"{mine}:Net", checkpoint=tmp_path / name, shapes={"x": (2, 3)})

    mark = tmp_path / "mark"
    code = found({"state_dict": {"first.weight": torch.zeros(4, 3)}, "more": _Runs(mark)})
    assert code.code == "F362"
    assert "io.open" in code.reason
    assert not mark.exists()
    assert found(pickle.dumps(3)[:-1]).code == "F363"
    assert found(b"no pickle").code == "F363"
    assert refused(f"{mine}:Net", checkpoint=tmp_path / "none.pth", shapes={"x": (2, 3)}).code == "F363"
    assert found({"epoch": 3}).code == "F364"
    other = found({"module.first.weight": torch.zeros(4, 5), "module.more": torch.zeros(1)})
    assert other.code == "F365"
    assert other.details == {"missing": ["first.bias"], "unexpected": ["more"],
                             "of another shape": ["first.weight [4, 5] instead of [4, 3]"]}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module.model."])
@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict", "model"])
def test_wrapped_checkpoints(prefix: str, key: str, tmp_path: Path, mine: str) -> None:
    state: Any = {f"{prefix}first.weight": torch.eye(4, 3), f"{prefix}first.bias": torch.arange(4.0)}
    torch.save({key: state, "epoch": 1} if key else state, tmp_path / "c.pth")
    with fidelite.Runner(f"{mine}:Net", checkpoint=tmp_path / "c.pth", shapes={"x": (2, 3)}) as runner:
        found = runner.run_arrays({"x": torch.ones(2, 3).numpy()}).outputs["output"]
    assert found[0].tolist() == [1.0, 2.0, 3.0, 3.0]
