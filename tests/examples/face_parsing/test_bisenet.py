"""BiSeNet: the public checkpoint's parameters, and checkpoints that are something else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from fidelite.errors import LoadError  # noqa: E402
from fidelite.examples.face_parsing.bisenet import BiSeNet, bisenet  # noqa: E402

# Every convolution of face-parsing.PyTorch's checkpoint, 79999_iter.pth.
CONVOLUTIONS = {
    "cp.resnet.conv1": (64, 3, 7, 7),
    "cp.resnet.layer1.0.conv1": (64, 64, 3, 3),
    "cp.resnet.layer1.0.conv2": (64, 64, 3, 3),
    "cp.resnet.layer1.1.conv1": (64, 64, 3, 3),
    "cp.resnet.layer1.1.conv2": (64, 64, 3, 3),
    "cp.resnet.layer2.0.conv1": (128, 64, 3, 3),
    "cp.resnet.layer2.0.conv2": (128, 128, 3, 3),
    "cp.resnet.layer2.0.downsample.0": (128, 64, 1, 1),
    "cp.resnet.layer2.1.conv1": (128, 128, 3, 3),
    "cp.resnet.layer2.1.conv2": (128, 128, 3, 3),
    "cp.resnet.layer3.0.conv1": (256, 128, 3, 3),
    "cp.resnet.layer3.0.conv2": (256, 256, 3, 3),
    "cp.resnet.layer3.0.downsample.0": (256, 128, 1, 1),
    "cp.resnet.layer3.1.conv1": (256, 256, 3, 3),
    "cp.resnet.layer3.1.conv2": (256, 256, 3, 3),
    "cp.resnet.layer4.0.conv1": (512, 256, 3, 3),
    "cp.resnet.layer4.0.conv2": (512, 512, 3, 3),
    "cp.resnet.layer4.0.downsample.0": (512, 256, 1, 1),
    "cp.resnet.layer4.1.conv1": (512, 512, 3, 3),
    "cp.resnet.layer4.1.conv2": (512, 512, 3, 3),
    "cp.arm16.conv.conv": (128, 256, 3, 3),
    "cp.arm16.conv_atten": (128, 128, 1, 1),
    "cp.arm32.conv.conv": (128, 512, 3, 3),
    "cp.arm32.conv_atten": (128, 128, 1, 1),
    "cp.conv_head32.conv": (128, 128, 3, 3),
    "cp.conv_head16.conv": (128, 128, 3, 3),
    "cp.conv_avg.conv": (128, 512, 1, 1),
    "ffm.convblk.conv": (256, 256, 1, 1),
    "ffm.conv1": (64, 256, 1, 1),
    "ffm.conv2": (256, 64, 1, 1),
    "conv_out.conv.conv": (256, 256, 3, 3),
    "conv_out.conv_out": (19, 256, 1, 1),
    "conv_out16.conv.conv": (64, 128, 3, 3),
    "conv_out16.conv_out": (19, 64, 1, 1),
    "conv_out32.conv.conv": (64, 128, 3, 3),
    "conv_out32.conv_out": (19, 64, 1, 1),
}
WITHOUT_NORMALISATION = {"ffm.conv1", "ffm.conv2"} | {k for k in CONVOLUTIONS if k.endswith("conv_out")}


def _normalisation(convolution: str) -> str:
    """The name of the normalisation that follows a convolution in the checkpoint."""
    head, _, last = convolution.rpartition(".")
    if last == "0":
        return f"{head}.1"
    return f"{head}.{last.replace('conv', 'bn')}"


def _expected() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in CONVOLUTIONS.items():
        shapes[f"{name}.weight"] = shape
        if name not in WITHOUT_NORMALISATION:
            norm = _normalisation(name)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{norm}.{part}"] = shape[:1]
            shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    torch.manual_seed(3)
    return dict(BiSeNet().state_dict())


def test_parameters_are_the_public_checkpoints(state: dict[str, Any]) -> None:
    assert {name: tuple(value.shape) for name, value in state.items()} == _expected()


@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "model", "module.", "both", "old"])
def test_checkpoints_however_wrapped(wrapping: str, state: dict[str, Any], tmp_path: Path) -> None:
    content: dict[str, Any] = state
    if wrapping in ("module.", "both"):
        content = {f"module.{name}": value for name, value in state.items()}
    if wrapping == "old":
        content = {name: value for name, value in state.items() if "num_batches" not in name}
    if wrapping in ("state_dict", "model"):
        content = {wrapping: content, "epoch": 3}
    if wrapping == "both":
        content = {"model": {"state_dict": content}}
    file = tmp_path / "checkpoint.pth"
    torch.save(content, file)
    network = bisenet(file)
    assert not network.training
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items() if "num_batches" not in name)


def test_all_differences_are_listed(state: dict[str, Any], tmp_path: Path) -> None:
    content = dict(state)
    del content["ffm.conv1.weight"], content["cp.resnet.bn1.bias"]
    content["fc.weight"] = torch.zeros(2, 2)
    content["conv_out.conv_out.weight"] = torch.zeros(11, 256, 1, 1)
    file = tmp_path / "checkpoint.pth"
    torch.save(content, file)
    with pytest.raises(LoadError) as caught:
        bisenet(file)
    message = str(caught.value)
    assert caught.value.code == "F365"
    assert "missing (2): cp.resnet.bn1.bias, ffm.conv1.weight" in message
    assert "unexpected (1): fc.weight" in message
    assert "conv_out.conv_out.weight [11, 256, 1, 1] instead of [19, 256, 1, 1]" in message


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}])
def test_what_holds_no_parameters_is_refused(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    torch.save(content, file)
    with pytest.raises(LoadError, match=re.escape("no state dict")):
        bisenet(file)


def test_seeded_weights_keep_signals_alive() -> None:
    network = bisenet(seed=1)
    pictures = torch.nn.functional.interpolate(
        torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5)), (128, 128), mode="bilinear"
    )
    with torch.no_grad():
        for logits in network(pictures):
            assert tuple(logits.shape) == (2, 19, 128, 128)
            assert 0.05 < float(logits.std()) < 50
            assert float((logits[0] - logits[1]).std()) > 0.05 * float(logits.std())
    same = bisenet(seed=1).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in network.state_dict().items())
