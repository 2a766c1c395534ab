"""Outputs that the CompiledModel API leaves unwritten: the fault itself, and its remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fidelite.optimize.outputs import FillOutputs
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Tensor
from fidelite.tflite.types import ElementType
from tests.lower.support import tflite_bytes
from tests.optimize.support import check_pass, graph_of, refuses

Build = Callable[[Builder, Tensor], Sequence[Tensor]]

# In a process of its own: it fills the outputs with a number that no model here gives, and prints what is there after.
_RUN = """
import json, sys
import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
model = CompiledModel.from_file(sys.argv[1])
feed, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
feed[0].write(np.full(1, 3, np.float32))
for buffer, (size, name) in zip(outputs, json.loads(sys.argv[2])):
    buffer.write(np.full(size, 77).astype(name))
model.run_by_index(0, feed, outputs)
print(json.dumps([b.read(s, np.dtype(n).type).tolist() for b, (s, n) in zip(outputs, json.loads(sys.argv[2]))]))
"""


def compiled(model: Model, folder: Path) -> list[Any]:
    """What CompiledModel answers to an input of [3]."""
    file = folder / "model.tflite"
    file.write_bytes(tflite_bytes(model))
    wanted = [(max(1, int(np.prod(t.static_shape))), t.element.dtype.name) for t in model.main.outputs]
    run = subprocess.run([sys.executable, "-c", _RUN, str(file), json.dumps(wanted)], capture_output=True,
                         encoding="utf-8", check=True)
    return json.loads(run.stdout.splitlines()[-1])


def to_scalar(b: Builder, x: Tensor) -> Sequence[Tensor]:
    y = b.unary("NEG", x)
    scalar = b.one("RESHAPE", [y, b.int32([])], x.element, ())
    return [scalar, b.add(scalar, b.scalar(1, x))]


def constant(values: np.ndarray) -> Build:
    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        tensor = b.constant(values)
        shape = b.int32(list(values.shape))
        return [b.unary("NEG", x), b.one("RESHAPE", [tensor, shape], tensor.element, tensor.shape)]
    return build


CONSTANTS = [np.asarray([5, 6], np.int32), np.asarray([-0.0, np.inf, 2.5], np.float32), np.asarray([7, 255], np.uint8),
             np.asarray([[-128], [4]], np.int8)]


def test_the_fault(tmp_path: Path) -> None:
    """What the pass is for. If this fails, LiteRT has mended it and the pass may go."""
    assert compiled(graph_of(to_scalar, (1,)), tmp_path)[0] != [-3.0]
    assert compiled(graph_of(constant(CONSTANTS[0]), (1,)), tmp_path)[1] != [5, 6]


def test_scalars_arrive(tmp_path: Path) -> None:
    model = check_pass([FillOutputs()], to_scalar, "NEG SQUEEZE ADD", (1,))
    assert compiled(model, tmp_path) == [[-3.0], [-2.0]]


@pytest.mark.parametrize("values", CONSTANTS, ids=lambda v: v.dtype.name)
def test_constants_arrive(values: np.ndarray, tmp_path: Path) -> None:
    model = check_pass([FillOutputs()], constant(values), "NEG MAXIMUM", (1,))
    found = np.asarray(compiled(model, tmp_path)[1], values.dtype)
    assert found.tobytes() == values.tobytes()


def joined(b: Builder, x: Tensor) -> Sequence[Tensor]:
    parts = [b.int32([5]), b.int32([6])]
    return [b.unary("NEG", x), b.one("CONCATENATION", parts, ElementType.INT32, (2,), axis=0)]


def test_constants_that_an_operator_joins_arrive(tmp_path: Path) -> None:
    assert compiled(graph_of(joined, (1,)), tmp_path)[1] != [5, 6]  # the fault
    assert compiled(check_pass([FillOutputs()], joined, "NEG CONCATENATION MAXIMUM", (1,)), tmp_path)[1] == [5, 6]


@pytest.mark.parametrize(("values", "op"), [
    (np.asarray([True, False]), "LOGICAL_OR"), (np.asarray([[2**40]], np.int64), "MAXIMUM"),
    (np.asarray([-3], np.int16), "MAXIMUM")])
def test_types_that_python_cannot_read_from_buffers(values: np.ndarray, op: str) -> None:
    check_pass([FillOutputs()], constant(values), f"NEG {op}", (1,))


def test_what_stays() -> None:
    def inner(b: Builder, x: Tensor) -> Sequence[Tensor]:
        two = b.one("RESHAPE", [b.constant(np.ones(2, np.float32)), b.int32([2, 1])], ElementType.FLOAT32, (2, 1))
        return [b.add(b.one("RESHAPE", [x, b.int32([1, 1])], x.element, (1, 1)), two)]
    refuses([FillOutputs()], inner, (1,))
