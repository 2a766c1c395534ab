"""Sequences of tensors, which LiteRT does not have: they exist only while converting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fidelite.tflite.graph import Tensor


@dataclass(frozen=True, slots=True)
class TensorSequence:
    """The elements of a sequence whose length is known; None in `items` is the empty optional."""

    items: tuple[Tensor, ...]

    def map(self, function: Callable[[Tensor], Tensor]) -> TensorSequence:
        return TensorSequence(tuple(function(t) for t in self.items))
