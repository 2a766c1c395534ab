"""The file: read back equal, aligned, shared, named as the source has it, refused where it would be too large."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated
from onnx import TensorProto, helper

import fidelite
from fidelite.errors import ConversionError, InternalError, LoadError
from fidelite.runtime.litert import LiteRtSession
from fidelite.source.tflite_file import read_tflite
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.dims import SymbolicDim
from fidelite.tflite.graph import Model, Quantization, Tensor
from fidelite.tflite.types import ElementType
from fidelite.write.flatbuffer import ALIGNMENT, constant_bytes, write_model
from tests.lower.support import Array, shared_worker, tflite_bytes
from tests.optimize.idioms import IDIOMS
from tests.optimize.networks import STEPS, NetworkMaker
from tests.optimize.support import graph_of

schema: Any = schema_py_generated
ENOUGH = 4096
"""Elements of a constant that is told by its place, not by its content."""


def read_back(model: Model, folder: Path) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(tflite_bytes(model))
    return read_tflite(path)


def described(model: Model) -> list[object]:
    """All that a model says, as plain data."""
    rows: list[object] = []
    for graph in model.graphs:
        number = {t: i for i, t in enumerate(graph.tensors())}
        rows.append((graph.name, [number[t] for t in graph.inputs], [number[t] for t in graph.outputs]))
        for tensor in number:
            value = None if tensor.constant is None or not tensor.constant.size else tensor.constant.numpy().tobytes()
            shape = [d if isinstance(d, int) else -1 for d in tensor.shape]
            rows.append((tensor.name, tensor.element, shape, value, tensor.quantization))
        for operator in graph.operators:
            rows.append((operator.op, [None if t is None else number[t] for t in operator.inputs],
                         [number[t] for t in operator.outputs]))
    rows += [(s.key, [n for n, _ in s.inputs], [n for n, _ in s.outputs]) for s in model.signatures]
    return [*rows, sorted(model.metadata.items()), model.description]


@pytest.mark.parametrize("seed", range(8))
def test_read_back_equal(seed: int, tmp_path: Path) -> None:
    source = NetworkMaker(seed, dynamic=seed % 2 == 1).model(8, [*STEPS, *IDIOMS])
    first = tmp_path / "first.tflite"
    first.write_bytes(fidelite.convert(source, verify=False).bytes)
    model = read_tflite(first)
    again = read_back(model, tmp_path)
    assert described(model) == described(again)
    for a, b in zip(model.main.operators, again.main.operators, strict=True):
        assert (a.options, a.version) == (b.options, b.version)
    assert tflite_bytes(model) == tflite_bytes(again)


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        y = b.conv_2d(x, b.constant(np.ones((2, 3, 3, 6), np.float32), "filters"), None, strides=(2, 1))
        return (b.relu(y),)

    model = graph_of(build)
    model.metadata["note"] = b"\x00\x01"
    model.description = "a \u00fc\u6a21"
    assert described(model) == described(read_back(model, tmp_path))


def test_every_buffer_is_aligned() -> None:
    """Kernels map weights from the file, and read them sixteen bytes at a time."""
    source = NetworkMaker(5).model(12, [*STEPS, *IDIOMS])
    content = fidelite.convert(source, verify=False).bytes
    root = schema.Model.GetRootAs(content, 0)
    base = np.frombuffer(content, np.uint8)
    found = 0
    for i in range(root.BuffersLength()):
        buffer = root.Buffers(i)
        assert buffer is not None
        if buffer.DataLength():
            offset = buffer.DataAsNumpy().__array_interface__["data"][0] - base.__array_interface__["data"][0]
            assert offset % ALIGNMENT == 0
            found += 1
    assert found > 3
    assert root.Buffers(0).DataLength() == 0
    assert content[4:8] == b"TFL3"


def test_equal_constants_share_a_buffer() -> None:
    large = Constant.of(np.arange(ENOUGH, dtype=np.float32))

    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        for _ in range(2):  # by content where they are small, by their place where they are large
            x = b.add(b.add(x, b.constant(np.full((1,), 2.5, np.float32))), b.constant(large))
        return (x,)

    model = graph_of(build, (1, ENOUGH))
    root = schema.Model.GetRootAs(tflite_bytes(model), 0)
    buffers = {root.Subgraphs(0).Tensors(i).Buffer() for i in range(root.Subgraphs(0).TensorsLength())}
    assert len(buffers) == 3  # the one for all that is computed, and the constants'
    assert len(tflite_bytes(model)) < 2 * large.nbytes


def test_names_are_unique_and_ports_keep_theirs(tmp_path: Path) -> None:
    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        y, z = b.unary("NEG", x), b.unary("ABS", x)
        y.name = z.name = "same"
        w = b.add(y, z)
        v = b.unary("NEG", w)
        w.name = "y0"
        return (v,)

    names = [t.name for t in read_back(graph_of(build), tmp_path).main.tensors()]
    assert len(set(names)) == len(names)
    assert [n for n in names if n.startswith("same")] == ["same", "same:1"]
    assert names.count("y0") == 1


def two_ports(names: tuple[str, str], results: tuple[str, str]) -> onnx.ModelProto:
    nodes = [helper.make_node("Sub", list(names), [results[0]]), helper.make_node("Neg", [names[1]], [results[1]])]
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in part] for part in (names, results)]
    graph = helper.make_graph(nodes, "g", ports[0], ports[1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("names", [("self", "args"), ("two words", "\u00fc\u6a21\u578b"), ("b", "a"), ("x/y:0", "0")])
def test_signatures_bear_the_source_s_names(names: tuple[str, str]) -> None:
    results = ("z last", "a first")
    content = fidelite.convert(two_ports(names, results)).bytes
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {n: rng.standard_normal((2, 3)).astype(np.float32) for n in names}
    with LiteRtSession(content, worker=shared_worker()) as session:
        assert [p.name for p in session.inputs] == list(names)
        assert [p.name for p in session.outputs] == list(results)
        found = session.run(feeds)
    np.testing.assert_allclose(found[results[0]], feeds[names[0]] - feeds[names[1]], rtol=1e-6)
    root = schema.Model.GetRootAs(content, 0)
    signature = root.SignatureDefs(0)
    assert signature.SignatureKey() == b"serving_default"
    assert [signature.Inputs(i).Name().decode() for i in range(2)] == list(names)


def test_shape_signatures() -> None:
    n = SymbolicDim.symbol("N")
    model = graph_of(lambda b, x: (b.relu(x),), (n, 3, 1))
    table = schema.Model.GetRootAs(tflite_bytes(model), 0).Subgraphs(0).Tensors(0)
    assert table.ShapeAsNumpy().tolist() == [1, 3, 1]
    assert table.ShapeSignatureAsNumpy().tolist() == [-1, 3, 1]
    with LiteRtSession(tflite_bytes(model), worker=shared_worker()) as session:
        assert session.inputs[0].shape == (None, 3, 1)
        (found,) = session.run({"x": np.ones((4, 3, 1), np.float32)}).values()
    assert found.shape == (4, 3, 1)
    fixed = schema.Model.GetRootAs(tflite_bytes(graph_of(lambda b, x: (b.relu(x),))), 0).Subgraphs(0).Tensors(0)
    assert fixed.ShapeSignatureLength() == 0


def test_small_integers_are_packed() -> None:
    """Two to a byte, the first in the low half; an odd one out is followed by zero."""
    four = np.asarray([1, -2, 7, -8, 3], ml_dtypes.int4)
    assert bytes(constant_bytes(four, ElementType.INT4)) == bytes([0xE1, 0x87, 0x03])
    assert bytes(constant_bytes(np.asarray([15, 1], ml_dtypes.uint4), ElementType.UINT4)) == bytes([0x1F])
    two = np.asarray([1, -1, 0, -2, 1], ml_dtypes.int2)
    assert bytes(constant_bytes(two, ElementType.INT2)) == bytes([0b10_00_11_01, 0b01])
    assert Constant.of(four).nbytes == 3
    assert bytes(constant_bytes(np.asarray(1.5, np.float32), ElementType.FLOAT32)) == np.float32(1.5).tobytes()
    turned = np.arange(6, dtype=np.int16).reshape(2, 3).transpose()
    assert bytes(constant_bytes(turned, ElementType.INT16)) == np.ascontiguousarray(turned).tobytes()


def test_four_bit_weights_run() -> None:
    stored = np.random.default_rng(0).integers(-7, 8, (4, 6)).astype(ml_dtypes.int4)

    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        weights = Tensor("w", ElementType.INT4, (4, 6), constant=Constant.of(stored),
                         quantization=Quantization((0.5,) * 4, (0,) * 4, 0))
        return (b.fully_connected(x, weights, None),)

    x = np.random.default_rng(1).standard_normal((2, 6)).astype(np.float32)
    with LiteRtSession(tflite_bytes(graph_of(build, (2, 6))), worker=shared_worker()) as session:
        (found,) = session.run({"x": x}).values()
    want = x @ (stored.astype(np.float32) * 0.5).T
    np.testing.assert_allclose(found, want, atol=0.05 * float(np.abs(want).max()))


def _never() -> Array:
    raise AssertionError("the weights were read")


def test_two_gigabytes_are_refused_before_anything_is_written() -> None:
    sizes = [(300_000_000,), (300_000_000,)]

    def build(b: Builder, x: Tensor) -> Sequence[Tensor]:
        for i, shape in enumerate(sizes):
            x = b.add(x, b.constant(Constant(ElementType.FLOAT32, shape, _never, ("huge", i))))
        return (x,)

    stream = BytesIO()
    with pytest.raises(ConversionError) as caught:
        write_model(graph_of(build, (1,)), stream)
    assert caught.value.code == "F480"
    assert not stream.getvalue()


def test_a_constant_of_another_size_is_our_fault() -> None:
    wrong = Constant(ElementType.FLOAT32, (6,), lambda: np.zeros(5, np.float32), "short")
    with pytest.raises(InternalError, match="24 bytes gave 20"):
        write_model(graph_of(lambda b, x: (b.add(x, b.constant(wrong)),)), BytesIO())


@pytest.mark.parametrize("cut", [0, 4, 20, 200, -40])
def test_damaged_files_are_told(cut: int, tmp_path: Path) -> None:
    content = tflite_bytes(graph_of(lambda b, x: (b.add(x, b.constant(np.ones(6, np.float32))),)))
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[:cut])
    with pytest.raises(LoadError) as caught:
        read_tflite(path)
    assert caught.value.code == "F360"
