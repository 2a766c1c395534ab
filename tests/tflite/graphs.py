"""Small graphs made with the Builder alone, and run in LiteRT at any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fidelite.runtime.litert import LiteRtSession
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, SymbolicDim
from fidelite.tflite.graph import Graph, Model, Signature, Tensor
from fidelite.tflite.types import ElementType
from tests.lower.support import shared_worker, tflite_bytes

Array = np.ndarray[Any, Any]
Shape = Sequence[int | str]


def build(make: Callable[..., Tensor | Sequence[Tensor]], *inputs: tuple[Any, Shape]) -> Model:
    """A model whose outputs are what `make(builder, *tensors)` gives. Inputs: (numpy type, shape); a name in a shape
    is a symbol."""
    graph = Graph()
    b = Builder(graph)
    for i, (dtype, shape) in enumerate(inputs):
        dims: list[Dim] = [SymbolicDim.symbol(d) if isinstance(d, str) else d for d in shape]
        tensor = Tensor(f"x{i}", ElementType.of(np.dtype(dtype)), tuple(dims))
        for axis, dim in enumerate(shape):
            if isinstance(dim, str):
                b.symbol_sources.setdefault(dim, (tensor, axis))
        graph.inputs.append(tensor)
    made = make(b, *graph.inputs)
    for i, tensor in enumerate([made] if isinstance(made, Tensor) else made):
        tensor.name = f"y{i}"
        graph.outputs.append(tensor)
    model = Model([graph])
    model.signatures.append(Signature("serving_default", graph, [(t.name, t) for t in graph.inputs],
                                      [(t.name, t) for t in graph.outputs]))
    return model


def run(model: Model, *feeds: Sequence[Array]) -> list[list[Array]]:
    """The outputs for each of `feeds`, one after the other in one interpreter."""
    names = [t.name for t in model.main.inputs]
    results: list[list[Array]] = []
    with LiteRtSession(tflite_bytes(model), worker=shared_worker()) as session:
        for arrays in feeds:
            found: Mapping[str, Array] = session.run(dict(zip(names, arrays, strict=True)))
            results.append(list(found.values()))
    return results


def ops(model: Model) -> list[str]:
    return [o.op for o in model.main.operators]
