"""One graph through LiteRT and through a SavedModel in TensorFlow."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fidelite.check.proof import port_of
from fidelite.saving.session import SavedModelSession, TensorFlow
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Tensor
from tests.lower.support import tflite_bytes
from tests.tflite import graphs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One operator's test: `make(builder, *inputs)` gives the results; `inputs` are arrays, the feed and its type."""

    op: str
    note: str
    make: Callable[..., Tensor | Sequence[Tensor]]
    inputs: Sequence[Array]
    exact: bool = False
    shapes: Sequence[Sequence[int | str]] = field(default_factory=list[Sequence[int | str]])
    """Where the graph's shapes are not those of the arrays: a name is a dimension that only the run time knows."""

    def __str__(self) -> str:
        return f"{self.op}-{self.note}" if self.note else self.op

    def model(self) -> Model:
        shapes = self.shapes or [a.shape for a in self.inputs]
        model = graphs.build(self.make, *((a.dtype, s) for a, s in zip(self.inputs, shapes, strict=True)))
        for graph in model.graphs:  # grows
            model.graphs.extend(g for o in graph.operators for g in o.graphs if g not in model.graphs)
        return model


def emit(op: str, *results: tuple[Any, Sequence[int]], **options: Any) -> Callable[..., tuple[Tensor, ...]]:
    """`make` of a case that is one operator as it is."""
    from fidelite.tflite.types import ElementType

    def make(b: Builder, *operands: Tensor) -> tuple[Tensor, ...]:
        typed = [(ElementType.of(np.dtype(dtype)), tuple(shape)) for dtype, shape in results]
        return b.emit(op, operands, typed, options)
    return make


@cache
def tensorflow() -> TensorFlow:
    """One TensorFlow for all tests of this process: it takes seconds to load."""
    found = TensorFlow()
    atexit.register(found.close)
    return found


def in_litert(model: Model, arrays: Sequence[Array]) -> list[Array]:
    return graphs.run(model, list(arrays))[0]


def in_tensorflow(model: Model, arrays: Sequence[Array]) -> list[Array]:
    """What the SavedModel of `model` gives for `arrays`."""
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name) / "saved", Path(name) / "model.tflite"
        file.write_bytes(tflite_bytes(model))
        header = {"do": "build", "model": str(file), "folder": str(folder)}
        answer, _ = tensorflow().ask(header, doing="making the SavedModel")
        inputs, outputs = ([port_of(t) for t in ports] for ports in (model.main.inputs, model.main.outputs))
        feeds = {port.name: array for port, array in zip(inputs, arrays, strict=True)}
        with SavedModelSession(tensorflow(), folder, inputs, outputs, dict(answer["inputs"])) as session:
            return list(session.run(feeds).values())


def numbers(dtype: Any, shape: Sequence[int], seed: int = 0, low: float = -3, high: float = 3) -> Array:
    """Values of any element type; of floats between `low` and `high`, of integers small ones, that products fit."""
    rng = np.random.default_rng([seed, *shape])
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        return rng.integers(0 if kind.kind == "u" else max(int(low), -3), max(int(high), 1) + 1, shape).astype(kind)
    if kind.kind == "c":
        return (rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)).astype(kind)
    return rng.uniform(low, high, shape).astype(kind)
