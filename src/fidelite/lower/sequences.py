"""Sequences of tensors and optionals, which LiteRT does not have: they exist only while converting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fidelite.tflite.graph import Tensor


@dataclass(frozen=True, slots=True)
class TensorSequence:
    """The elements of a sequence whose length is known. An optional is its element, or, where it has none, `absent`."""

    items: tuple[Tensor, ...]
    absent: bool = False

    def map(self, function: Callable[[Tensor], Tensor]) -> TensorSequence:
        return replace(self, items=tuple(function(t) for t in self.items))
