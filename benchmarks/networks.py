"""The networks in PyTorch, seeded, and their exports.

    python -m benchmarks.networks FOLDER [NAME ...]

BiSeNet is the project's own example; the others are small relatives of what people convert.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.models import SPECS, Models
from fidelite.examples.face_parsing import bisenet as face_parsing

Tensor = Any


def _normalised(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


# ------------------------------------------------------------------------------------------ MobileNetV3-like


class SqueezeExcite(nn.Module):
    """Channels scaled by what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 4)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = functional.adaptive_avg_pool2d(x, 1)
        return x * functional.hardsigmoid(self.excite(functional.relu(self.squeeze(means))))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, weigh, project; with a shortcut where shapes allow it."""

    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, squeeze: bool,
                 hard_swish: bool) -> None:
        super().__init__()
        activation: type[nn.Module] = nn.Hardswish if hard_swish else nn.ReLU6
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers += [*_normalised(inputs, hidden, 1), activation()]
        layers += [*_normalised(hidden, hidden, kernel, stride, groups=hidden), activation()]
        if squeeze:
            layers.append(SqueezeExcite(hidden))
        layers += _normalised(hidden, outputs, 1)
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.shortcut else y


class MobileNet(nn.Module):
    """Eleven blocks after A. Howard et al., "Searching for MobileNetV3", ICCV 2019."""

    # inputs, hidden, outputs, kernel, stride, squeeze-and-excite, hard-swish
    BLOCKS = (
        (16, 16, 16, 3, 1, False, False),
        (16, 64, 24, 3, 2, False, False),
        (24, 72, 24, 3, 1, False, False),
        (24, 72, 40, 5, 2, True, False),
        (40, 120, 40, 5, 1, True, False),
        (40, 240, 80, 3, 2, False, True),
        (80, 200, 80, 3, 1, False, True),
        (80, 480, 112, 3, 1, True, True),
        (112, 672, 112, 3, 1, True, True),
        (112, 672, 160, 5, 2, True, True),
        (160, 960, 160, 5, 1, True, True),
    )

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_normalised(3, 16, 3, 2), nn.Hardswish())
        self.blocks = nn.Sequential(*(InvertedResidual(*block) for block in self.BLOCKS))
        self.tail = nn.Sequential(*_normalised(160, 960, 1), nn.Hardswish())
        self.classify = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        features = self.tail(self.blocks(self.stem(x)))
        return self.classify(torch.flatten(functional.adaptive_avg_pool2d(features, 1), 1))


# --------------------------------------------------------------------------------------------------- ViT-tiny


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, at a width of 192 and 6 layers."""

    def __init__(self, width: int = 192, heads: int = 3, depth: int = 6, size: int = 224, patch: int = 16,
                 classes: int = 1000) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.layers = nn.Sequential(*(EncoderLayer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.position
        return self.head(self.norm(self.layers(tokens))[:, 0])


# ------------------------------------------------------------------------------------------------ LSTM


class LstmClassifier(nn.Module):
    def __init__(self, inputs: int = 32, hidden: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


# ------------------------------------------------------------------------------------------- YOLO-like


class Unit(nn.Module):
    """Convolution, normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.convolve = nn.Sequential(*_normalised(inputs, outputs, kernel, stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.convolve(x))


class SplitBlock(nn.Module):
    """Half of the channels go on through a pair of convolutions; all stages are joined."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.enter = Unit(inputs, outputs)
        self.pair = nn.Sequential(Unit(half, half, 3), Unit(half, half, 3))
        self.leave = Unit(3 * half, outputs)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        kept, passed = self.enter(x).chunk(2, 1)
        more = self.pair(passed)
        return self.leave(torch.cat([kept, passed, passed + more if self.shortcut else more], 1))


class PyramidPool(nn.Module):
    """The same pool three times over, every stage kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = Unit(channels, channels // 2)
        self.leave = Unit(channels * 2, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        stages = [self.enter(x)]
        for _ in range(3):
            stages.append(self.pool(stages[-1]))
        return self.leave(torch.cat(stages, 1))


class Detector(nn.Module):
    """Boxes [n, 4 + classes, places] at strides 8, 16 and 32: centre and size in pixels, scores in 0..1."""

    grid: Tensor
    stride: Tensor

    def __init__(self, classes: int = 20, size: int = 256) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(Unit(3, 16, 3, 2), Unit(16, 32, 3, 2), SplitBlock(32, 32))
        self.at8 = nn.Sequential(Unit(32, 64, 3, 2), SplitBlock(64, 64))
        self.at16 = nn.Sequential(Unit(64, 128, 3, 2), SplitBlock(128, 128))
        self.at32 = nn.Sequential(Unit(128, 256, 3, 2), SplitBlock(256, 256), PyramidPool(256))
        self.merge16 = SplitBlock(384, 128, shortcut=False)
        self.merge8 = SplitBlock(192, 64, shortcut=False)
        self.heads = nn.ModuleList(
            nn.Sequential(Unit(width, width, 3), nn.Conv2d(width, 4 + classes, 1)) for width in (64, 128, 256)
        )
        centres, strides = zip(*(self._places(size, step) for step in (8, 16, 32)), strict=True)
        self.register_buffer("grid", torch.cat(centres, 1)[None])
        self.register_buffer("stride", torch.cat(strides, 1)[None])

    @staticmethod
    def _places(size: int, step: int) -> tuple[Tensor, Tensor]:
        along = torch.arange(size // step)
        y, x = torch.meshgrid(along, along, indexing="ij")
        centres = torch.stack([x, y], 0).float().reshape(2, -1) + 0.5
        return centres, torch.full((1, centres.shape[1]), float(step))

    def forward(self, x: Tensor) -> Tensor:
        at8 = self.at8(self.stem(x))
        at16 = self.at16(at8)
        at32 = self.at32(at16)
        up = functional.interpolate(at32, scale_factor=2.0, mode="nearest")
        merged16 = self.merge16(torch.cat([up, at16], 1))
        up = functional.interpolate(merged16, scale_factor=2.0, mode="nearest")
        merged8 = self.merge8(torch.cat([up, at8], 1))
        maps = (merged8, merged16, at32)
        raw = torch.cat([head(features).flatten(2) for head, features in zip(self.heads, maps, strict=True)], 2)
        centre, extent, scores = raw.split((2, 2, self.classes), 1)
        centre = (torch.sigmoid(centre) * 2 - 0.5 + self.grid) * self.stride
        extent = (torch.sigmoid(extent) * 2) ** 2 * self.stride
        return torch.cat([centre, extent, torch.sigmoid(scores)], 1)


# -------------------------------------------------------------------------------------- weights and exports

_CLASSES: dict[str, type[nn.Module]] = {
    "bisenet": face_parsing.BiSeNet, "mobilenet": MobileNet, "vit": VisionTransformer, "yolo": Detector,
    "lstm": LstmClassifier,
}


def smooth(shape: tuple[int, ...], generator: Any) -> Tensor:
    """A random input of deviation 1: pictures without hard edges, other tensors without structure."""
    if len(shape) != 4:
        return torch.randn(shape, generator=generator)
    picture = torch.zeros(shape)
    for cells in (4, 8, 16, 32):
        coarse = torch.randn(*shape[:2], cells, cells, generator=generator)
        picture = picture + functional.interpolate(coarse, shape[2:], mode="bicubic")
    return picture / picture.std()


def seeded(name: str) -> nn.Module:
    """The network in evaluation mode. Normalisations have the statistics that smooth pictures give them."""
    if name == "bisenet":
        return face_parsing.bisenet(seed=0)
    torch.manual_seed(0)
    network = _CLASSES[name]()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches seen
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.normal_(norm.bias, 0.0, 0.2)
    if norms:
        generator = torch.Generator().manual_seed(1)
        network.train()
        with torch.no_grad():
            for _ in range(3):
                network(smooth((2, *SPECS[name].shape[1:]) if name != "yolo" else SPECS[name].shape, generator))
    return network.eval()


def restored(name: str, state: Path) -> nn.Module:
    """The network with the weights that `main` wrote."""
    network = _CLASSES[name]()
    network.load_state_dict(torch.load(state, map_location="cpu", weights_only=True, mmap=True), assign=True)
    return network.eval()


def main(folder: str, *names: str) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # the exporters' own deprecations
    models = Models(Path(folder))
    for name in names or tuple(SPECS):
        spec = SPECS[name]
        network = seeded(name)
        torch.save(network.state_dict(), models.state(name))
        example = (smooth(spec.shape, torch.Generator().manual_seed(7)),)
        named: dict[str, Any] = {"input_names": ["input"], "output_names": list(spec.outputs)}
        torch.onnx.export(network, example, str(models.onnx(name, "dynamo")), dynamo=True, **named)
        torch.onnx.export(network, example, str(models.onnx(name, "ts")), dynamo=False, opset_version=17, **named)


if __name__ == "__main__":
    main(*sys.argv[1:])
