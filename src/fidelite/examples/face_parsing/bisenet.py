"""BiSeNet on a ResNet-18 or ResNet-34 for face parsing, with the parameter names of the common public checkpoint.

C. Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", ECCV 2018, in the
form of face-parsing.PyTorch: the spatial path is the backbone's own 1/8 feature map. `79999_iter.pth` loads
unchanged. Without a checkpoint the weights are seeded, and the statistics of the normalisations are measured
on smooth random pictures, so that signals keep a sensible size all the way through.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from fidelite.examples.face_parsing.labels import CLASSES
from fidelite.examples.face_parsing.tensor import Tensor
from fidelite.source.pytorch.checkpoint import load_into, read_state

__all__ = ["BLOCKS", "BiSeNet", "BiSeNet34", "Logits", "bisenet"]

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Backbone -> how many blocks each of its four layers has (He et al., CVPR 2016, table 1)."""


class Logits(NamedTuple):
    """Class scores [n, classes, h, w]: the result, and what served training at 1/8 and 1/16."""

    output: Tensor
    output16: Tensor
    output32: Tensor


def _picture_mean(x: Tensor) -> Tensor:
    """The mean over the whole picture, as the common code takes it: exporters write AveragePool for it."""
    return functional.avg_pool2d(x, x.shape[2:])


class _ConvUnit(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(shortcut + y)


class _ResNet(nn.Module):
    """The backbone: feature maps at 1/8 (128 channels), 1/16 (256) and 1/32 (512) of the picture."""

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(64, 64, blocks[0], 1)
        self.layer2 = _layer(64, 128, blocks[1], 2)
        self.layer3 = _layer(128, 256, blocks[2], 2)
        self.layer4 = _layer(256, 512, blocks[3], 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        at8 = self.layer2(self.layer1(x))
        at16 = self.layer3(at8)
        return at8, at16, self.layer4(at16)


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Module:
    first = _BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(_BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class _AttentionRefinement(nn.Module):
    """Channels weighed by what the whole picture says of them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _ConvUnit(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        context = _picture_mean(features)
        return features * torch.sigmoid(self.bn_atten(self.conv_atten(context)))


class _ContextPath(nn.Module):
    """The backbone with attention at 1/16 and 1/32 and the picture's mean, brought back to 1/8."""

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.resnet = _ResNet(blocks)
        self.arm16 = _AttentionRefinement(256, 128)
        self.arm32 = _AttentionRefinement(512, 128)
        self.conv_head32 = _ConvUnit(128, 128)
        self.conv_head16 = _ConvUnit(128, 128)
        self.conv_avg = _ConvUnit(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at8, at16, at32 = self.resnet(x)
        mean = self.conv_avg(_picture_mean(at32))
        coarse = self.arm32(at32) + functional.interpolate(mean, at32.shape[2:], mode="nearest")
        context16 = self.conv_head32(functional.interpolate(coarse, at16.shape[2:], mode="nearest"))
        finer = self.arm16(at16) + context16
        context8 = self.conv_head16(functional.interpolate(finer, at8.shape[2:], mode="nearest"))
        return at8, context8, context16


class _FeatureFusion(nn.Module):
    """Detail and context joined, then weighed by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = _ConvUnit(channels, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        features = self.convblk(torch.cat([detail, context], dim=1))
        weights = self.conv2(functional.relu(self.conv1(_picture_mean(features))))
        return features * torch.sigmoid(weights) + features


class _Head(nn.Module):
    """A 3x3 unit and the classifier."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv = _ConvUnit(inputs, hidden)
        self.conv_out = nn.Conv2d(hidden, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """Normalised pictures [n, 3, h, w] to three maps of logits [n, classes, h, w]; the first is the result.

    The other two, from 1/8 context and 1/16 context, served training. h and w are multiples of 32. `backbone` is one of
    `BLOCKS`.
    """

    def __init__(self, classes: int = len(CLASSES), backbone: str = "resnet18") -> None:
        super().__init__()
        self.cp = _ContextPath(BLOCKS[backbone])
        self.ffm = _FeatureFusion(256)
        self.conv_out = _Head(256, 256, classes)
        self.conv_out16 = _Head(128, 64, classes)
        self.conv_out32 = _Head(128, 64, classes)

    def forward(self, input: Tensor) -> Logits:  # named as the exported model's input is to be named
        size = input.shape[2:]
        detail, context8, context16 = self.cp(input)
        logits = self.conv_out(self.ffm(detail, context8))
        return Logits(
            functional.interpolate(logits, size, mode="bilinear", align_corners=True),
            functional.interpolate(self.conv_out16(context8), size, mode="bilinear", align_corners=True),
            functional.interpolate(self.conv_out32(context16), size, mode="bilinear", align_corners=True),
        )


class BiSeNet34(BiSeNet):
    """BiSeNet on a ResNet-34."""

    def __init__(self) -> None:
        super().__init__(backbone="resnet34")


def bisenet(checkpoint: Path | None = None, seed: int = 0, backbone: str = "resnet18") -> BiSeNet:
    """BiSeNet for face parsing in evaluation mode.

    Args:
        checkpoint: a `.pth` file such as face-parsing.PyTorch's `79999_iter.pth`; it is read as data only
            (`weights_only`), no code in it runs.
        seed: of the weights, where there is no checkpoint.
        backbone: one of `BLOCKS`.

    Raises:
        LoadError: F362 to F364 the checkpoint cannot be read; F365 names or shapes in it differ, all are listed.
    """
    torch.manual_seed(seed)
    network = BiSeNet(backbone=backbone)
    if checkpoint is None:
        _calibrate(network, seed)
    else:
        load_into(network, read_state(checkpoint), f"the checkpoint '{checkpoint}'")
    return network.eval()


def _smooth_pictures(generator: Any, count: int, size: int) -> Tensor:
    """Random pictures without hard edges, mean 0, deviation 1 as normalised ones have: [count, 3, s, s]."""
    pictures = torch.zeros(count, 3, size, size)
    for cells in (4, 8, 16, 32):
        coarse = torch.randn(count, 3, cells, cells, generator=generator)
        pictures = pictures + functional.interpolate(
            coarse, (size, size), mode="bicubic", align_corners=False
        )
    return pictures / pictures.std()


def _calibrate(network: BiSeNet, seed: int) -> None:
    """Seeded weights, with the normalisations' statistics as smooth pictures give them."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.2, generator=generator)
            module.momentum = None  # the statistics become the mean over all batches seen
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(_smooth_pictures(generator, 2, 256))
