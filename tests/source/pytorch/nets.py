"""Small networks with everything that forward may take and give."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

Tensor = Any


class Cnn(nn.Module):
    """image [n, 3, h, w] to scores [n, 5, h, w] and their mean [n, 5], as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 5, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        scores = self.last(functional.relu(self.norm(self.first(image))))
        return {"scores": scores, "mean": scores.mean((2, 3))}


class Attention(nn.Module):
    """tokens [n, t, 16] to [n, t, 16]: one transformer layer, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, _ = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).reshape(n, t, 3, 4, 4).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / 2.0, dim=-1)
        return tokens + self.out((weights @ v).transpose(1, 2).reshape(n, t, 16))


class Recurrent(nn.Module):
    """steps [n, t, 6] to the last state's scores [n, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, steps: Tensor) -> Tensor:
        found, _ = self.lstm(steps)
        return self.head(found[:, -1])


class Pyramid(nn.Module):
    """picture [n, 3, h, w] to [n, 4, h, w]: BiSeNet's steps in small: pools, attention by channel, resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.weigh = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, picture: Tensor) -> Tensor:
        features = functional.relu(self.down(picture))
        weights = torch.sigmoid(self.weigh(functional.avg_pool2d(features, features.shape[2:])))
        scores = self.head(features * weights + features)
        return functional.interpolate(scores, picture.shape[2:], mode="bilinear", align_corners=True)


@dataclasses.dataclass
class Answer:
    left: Tensor
    right: Tensor


class Pair(NamedTuple):
    low: Tensor
    high: Tensor


class Structured(nn.Module):
    """Nested in and out: a mapping, a list and a number in; a dataclass out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, features: dict[str, Tensor], more: list[Tensor], scale: float = 2.0) -> Answer:
        y = self.linear(features["a"]) + features["b"]
        return Answer(y * scale, y - more[0])


class Several(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x * 2


class Named(nn.Module):
    def forward(self, x: Tensor) -> Pair:
        return Pair(x.clamp(max=0), x.clamp(min=0))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x + 1
        return x - 1


class NoCounterpart(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Words(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"y": x, "why": "text"}


class Silent(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return []


class Tokens(nn.Module):
    """ids [n, t] int64 to [n, t, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids)


def seeded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return kind().eval()
