"""Checkpoints that say by their names which network they belong to: known ones go all the way by themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import fidelite  # noqa: E402
from fidelite.examples.face_parsing.bisenet import BiSeNet, BiSeNet34, bisenet  # noqa: E402
from fidelite.source.pytorch.networks import NETWORKS, recognised  # noqa: E402
from tests.source.pytorch.test_convert import ports, refused  # noqa: E402

SMALL: dict[str, tuple[int, ...]] = {"input": (1, 3, 64, 64)}


def renamed(state: dict[str, Any]) -> dict[str, Any]:
    """The names of yakhyo/face-parsing, with the classifier of its backbone, which nobody uses."""
    rules = ((r"^cp\.resnet\.", "fpn.backbone."), (r"^cp\.", "fpn."), (r"\.conv_atten\.", ".attention.0."),
             (r"\.bn_atten\.", ".attention.1."), (r"^(conv_out\d*)\.conv\.", r"\1.conv_block."),
             (r"^(conv_out\d*)\.conv_out\.", r"\1.conv."), (r"^ffm\.convblk\.", "ffm.conv_block."),
             (r"^(fpn\.(?:arm\d+))\.conv\.", r"\1.conv_block."),
             (r"^(fpn\.(?:conv_\w+)|.*conv_block)\.bn\.", r"\1.norm."))
    found: dict[str, Any] = {"fpn.backbone.fc.weight": torch.zeros(1000, 512)}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def test_the_other_repositorys_names() -> None:
    """A few of each kind, as its code has them."""
    names = renamed(BiSeNet().state_dict())
    assert {"fpn.backbone.layer2.0.downsample.0.weight", "fpn.arm16.conv_block.conv.weight",
            "fpn.arm16.conv_block.norm.running_mean", "fpn.arm32.attention.0.weight", "fpn.arm32.attention.1.bias",
            "fpn.conv_head16.conv.weight", "fpn.conv_head16.norm.weight", "fpn.conv_avg.norm.bias",
            "ffm.conv_block.conv.weight", "ffm.conv_block.norm.bias", "ffm.conv1.weight",
            "conv_out.conv_block.conv.weight", "conv_out16.conv_block.norm.bias", "conv_out32.conv.weight",
            } <= names.keys()


@pytest.mark.parametrize("kind", [BiSeNet, BiSeNet34])
@pytest.mark.parametrize("naming", [dict, renamed])
def test_recognised(kind: Any, naming: Any) -> None:
    own = kind().state_dict()
    network = recognised(naming(own))
    assert network is not None
    assert network.factory.endswith(f":{kind.__name__}")
    assert network.renamed(naming(own)).keys() == own.keys()


def test_others_are_not_recognised() -> None:
    assert recognised(["conv.weight"]) is None
    assert {network.factory.rpartition(":")[2] for network in NETWORKS} == {"BiSeNet", "BiSeNet34"}


def test_parameters_of_resnet34() -> None:
    """ResNet-34 has blocks 3, 4, 6, 3: 21.3 million weights, with its classifier; without it 21.28."""
    network = BiSeNet34()
    backbone = sum(p.numel() for p in network.cp.resnet.parameters())
    assert backbone == 21_284_672
    assert sum(p.numel() for p in BiSeNet().cp.resnet.parameters()) == 11_176_512


def test_a_known_checkpoint_goes_all_the_way(tmp_path: Path) -> None:
    network = bisenet(seed=2)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "79999_iter.pth")
    result = fidelite.convert(tmp_path / "79999_iter.pth", shapes=SMALL)
    assert ports(result) == (["input"], ["output", "output16", "output32"])
    assert "N360" in [n.code for n in result.notices]
    assert result.verification is not None
    assert result.verification.proven
    assert result.verification.exported is not None
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with fidelite.Runner(result.save(tmp_path / "out.tflite")) as runner, torch.no_grad():
        found = runner.run_arrays({"input": picture.numpy()}).outputs
        for name, wanted in network(picture)._asdict().items():
            assert float(abs(torch.from_numpy(found[name]) - wanted).max()) < 1e-4 * float(wanted.abs().max())


def test_a_known_checkpoint_of_other_names(tmp_path: Path) -> None:
    """The same weights under the other names give the same answers, in PyTorch already."""
    network = BiSeNet34()
    torch.save(renamed(network.state_dict()), tmp_path / "resnet34.pt")
    torch.save(network.state_dict(), tmp_path / "own.pt")
    first, second = (fidelite.Runner(tmp_path / name, shapes=SMALL) for name in ("resnet34.pt", "own.pt"))
    with first, second:
        assert first.random().runtime == "PyTorch"
        assert first.random().outputs["output"].tolist() == second.random().outputs["output"].tolist()


def test_a_damaged_set_of_names_is_listed(tmp_path: Path) -> None:
    state = dict(BiSeNet().state_dict())
    del state["ffm.conv1.weight"]
    torch.save(state | {"cp.extra.weight": torch.zeros(1)}, tmp_path / "79999_iter.pth")
    error = refused(tmp_path / "79999_iter.pth")
    assert error.code == "F365"
    assert error.details["missing"] == ["ffm.conv1.weight"]
    assert error.details["unexpected"] == ["cp.extra.weight"]


def test_an_unknown_checkpoint_is_told_as_such(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv2d(3, 4, 3).state_dict(), tmp_path / "other.pth")
    error = refused(tmp_path / "other.pth")
    assert error.code == "F351"
    assert "PACKAGE.MODULE:FACTORY --checkpoint" in error.remedy
