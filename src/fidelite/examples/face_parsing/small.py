"""A small network for face parsing: about 92,000 parameters, made to be quantized.

An encoder of inverted residuals (MobileNetV2) goes down to 1/32 of the picture's size; a decoder comes back
to 1/4, adding what the encoder knew at each scale; logits are enlarged to the picture's size. Every
activation is ReLU6, every normalisation folds into a convolution, and nothing depends on the picture's size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from fidelite.examples.face_parsing.labels import CLASSES
from fidelite.examples.face_parsing.tensor import Tensor

__all__ = ["SmallFaceParser", "load_small", "trained"]


class _ConvUnit(nn.Sequential):
    """Convolution, normalisation, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class _InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1; added to the input where shapes allow."""

    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.widen = _ConvUnit(inputs, hidden, 1)
        self.filter = _ConvUnit(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.narrow = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.narrow(self.filter(self.widen(x))))
        return x + y if self.residual else y


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class SmallFaceParser(nn.Module):
    """Normalised pictures [n, 3, h, w] to class logits [n, 19, h, w]; h and w are multiples of 64.

    The picture is first averaged to half its size. Training works on pictures that already have that half
    size, through `half_size_logits`, at a quarter of the cost and with the same receptive field.
    """

    def __init__(self) -> None:
        super().__init__()
        self.halve = nn.AvgPool2d(2)
        self.at4 = _ConvUnit(3, 16, 3, stride=2)
        self.at8 = nn.Sequential(_InvertedResidual(16, 32, 24, 3, stride=2), _InvertedResidual(24, 64, 24, 3))
        self.at16 = nn.Sequential(
            _InvertedResidual(24, 80, 32, 5, stride=2), _InvertedResidual(32, 96, 32, 5)
        )
        self.at32 = nn.Sequential(
            _InvertedResidual(32, 112, 48, 5, stride=2),
            _InvertedResidual(48, 144, 48, 5),
            _InvertedResidual(48, 144, 48, 5),
        )
        self.lateral32 = _ConvUnit(48, 32, 1)
        self.lateral16 = _ConvUnit(32, 32, 1)
        self.lateral8 = _ConvUnit(24, 32, 1)
        self.lateral4 = _ConvUnit(16, 24, 1)
        self.up16 = _InvertedResidual(32, 80, 32, 5)
        self.up8 = _InvertedResidual(32, 80, 32, 5)
        self.reduce8 = _ConvUnit(32, 24, 1)
        self.up4 = nn.Sequential(_ConvUnit(24, 24, 3, groups=24), _ConvUnit(24, 32, 1))
        self.classify = nn.Conv2d(32, len(CLASSES), 1)

    def half_size_logits(self, x: Tensor) -> Tensor:
        """Pictures at half size [n, 3, h/2, w/2] to logits at a quarter of full size [n, 19, h/4, w/4]."""
        x4 = self.at4(x)
        x8 = self.at8(x4)
        x16 = self.at16(x8)
        y = self.lateral32(self.at32(x16))
        y = self.up16(_double(y) + self.lateral16(x16))
        y = self.up8(_double(y) + self.lateral8(x8))
        y = self.up4(_double(self.reduce8(y)) + self.lateral4(x4))
        return self.classify(y)

    def forward(self, input: Tensor) -> Tensor:  # named as the exported model's input is to be named
        logits = self.half_size_logits(self.halve(input))
        return functional.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)


def load_small(checkpoint: Path | None = None, seed: int = 0) -> SmallFaceParser:
    """The network in evaluation mode, from a checkpoint of `train.py`, or with seeded random weights."""
    torch.manual_seed(seed)
    network = SmallFaceParser()
    if checkpoint is not None:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
    return network.eval()


def trained() -> SmallFaceParser:
    """The trained network, with the weights of the ONNX model that comes with the package.

    There the normalisations are folded into the convolutions; here each adds its convolution's bias and does nothing
    else.
    """
    import onnx
    from onnx import numpy_helper

    from fidelite.examples.face_parsing import MODEL_PATH

    given = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(MODEL_PATH).graph.initializer}
    network = SmallFaceParser()
    state: dict[str, Tensor] = network.state_dict()
    for name, value in given.items():
        if name in state:
            state[name] = value
        elif name.endswith(".weight_bias"):
            norm = _norm_behind(name.removesuffix(".weight_bias"))
            state[f"{norm}.bias"] = value
            state[f"{norm}.weight"] = torch.ones_like(value)
            state[f"{norm}.running_mean"] = torch.zeros_like(value)
            state[f"{norm}.running_var"] = torch.full_like(value, 1.0 - network.at4[1].eps)
    network.load_state_dict(state)
    return network.eval()


def _norm_behind(convolution: str) -> str:
    """The name of the normalisation that follows a convolution."""
    head, _, last = convolution.rpartition(".")
    return f"{head}.{'norm' if last == 'narrow' else '1'}"
