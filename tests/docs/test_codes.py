"""Each code of docs/errors.md that no other test is about, triggered the way a user meets it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image

import fidelite
from fidelite.errors import FideliteError, Notice
from fidelite.options import Normalization
from tests.source.models import conv_model, graph_model, info, save, tensor, tflite


class Kitchen:
    """Small models and files in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = monkeypatch

    def conv(self) -> Path:
        return save(conv_model(), self.folder / "conv.onnx")

    def node(self, op: str, inputs: list[onnx.ValueInfoProto], *, out: Any = None, domain: str = "", opset: int = 18,
             initializers: tuple[TensorProto, ...] = (), **attributes: Any) -> Path:
        """A model of one node. `out` is the output's shape; its type is the first input's."""
        names = [i.name for i in inputs] + [i.name for i in initializers]
        node = helper.make_node(op, names, ["y"], name="it", domain=domain, **attributes)
        type_ = inputs[0].type.tensor_type.elem_type
        model = graph_model([node], inputs, [info("y", out, type_)], initializers, opset=opset)
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        return save(model, self.folder / "node.onnx")

    def raw(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def picture(self, name: str = "picture.png") -> Path:
        noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(noise).save(self.folder / name)
        return self.folder / name

    def converted(self) -> Path:
        return fidelite.convert(self.conv(), verify=False).save(self.folder / "conv.tflite")

    def failing(self, function: str, error: OSError) -> None:
        def fail(*args: object) -> None:
            raise error

        self.patch.setattr(os, function, fail)


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    return Kitchen(tmp_path, monkeypatch)


def _convert(kitchen: Kitchen, model: Path | None = None, **options: Any) -> object:
    given: dict[str, Any] = {"verify": False} | options
    return fidelite.convert(model or kitchen.conv(), **given)


def _hint(kitchen: Kitchen) -> object:
    from fidelite.check import InputHint

    return InputHint(low=1.0, high=0.0)


def _no_runtime(kitchen: Kitchen) -> object:
    import sys

    kitchen.patch.setitem(sys.modules, "onnxruntime", None)
    return fidelite.convert(kitchen.conv())


def _samples(kitchen: Kitchen) -> object:
    path = kitchen.folder / "samples.npz"
    np.savez(path, another=np.zeros(3, np.float32))
    return fidelite.convert(kitchen.conv(), samples=path)


def _too_large(kitchen: Kitchen) -> object:
    kitchen.patch.setattr("fidelite.pictures.MAX_PIXELS", 10)
    return fidelite.Runner(kitchen.conv())(kitchen.picture())


def _run(kitchen: Kitchen, image: Any, model: Path | None = None, **options: Any) -> object:
    with fidelite.Runner(model or kitchen.conv(), **options) as runner:
        return runner(image)


def _labels(kitchen: Kitchen) -> object:
    """A segmentation of 4 classes, and one label."""
    x = [info("x", [1, 3, 8, 8])]
    model = kitchen.node("Conv", x, out=[1, 4, 8, 8], initializers=(tensor("w", 4, 3, 1, 1),))
    return _run(kitchen, kitchen.picture(), model, labels=["only one"])


def _full_disk(kitchen: Kitchen, number: int) -> object:
    result = fidelite.convert(kitchen.conv(), verify=False)
    kitchen.failing("replace", OSError(number, os.strerror(number)))
    return result.save(kitchen.folder / "out.tflite")


def _two_gigabytes(kitchen: Kitchen) -> object:
    result = fidelite.convert(kitchen.conv(), verify=False)
    kitchen.patch.setattr("fidelite.write.flatbuffer.MAX_BYTES", 100)
    return result.save(kitchen.folder / "out.tflite")


def _nan(kitchen: Kitchen) -> object:
    x = [info("x", [1, 16, 8, 8])]
    weights = tensor("w", 16, 16, 3, 3, value=float("nan"))
    return _convert(kitchen, kitchen.node("Conv", x, out=[1, 16, 6, 6], initializers=(weights,)), precision="float16")


def _another_network(kitchen: Kitchen) -> object:
    result = kitchen.converted()
    other = conv_model()
    other.graph.initializer[1].CopyFrom(tensor("b", 4, value=3.0))
    found = fidelite.verify(save(other, kitchen.folder / "other.onnx"), result)
    return found.verification.raise_for_verdict()


def _constant(kitchen: Kitchen) -> object:
    """An output of zeros, whatever goes in."""
    zeros = tensor("z", 8, value=0.0)
    return fidelite.convert(kitchen.node("Mul", [info("x", [1, 8])], out=[1, 8], initializers=(zeros,)))


def _cli(*words: object) -> str:
    from fidelite.cli import cli

    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code in range(1, 6)
    return result.output


ERRORS: dict[str, Callable[[Kitchen], object]] = {
    "F200": _hint,
    "F207": lambda k: _convert(k, layout={"inputt": "nhwc"}),
    "F208": lambda k: _convert(k, layout={"x": "nwhc"}),
    "F209": lambda k: _convert(k, normalize={"x": Normalization(std=(0.0,))}),
    "F211": lambda k: fidelite.convert(k.conv(), verify=False).save(k.folder),
    "F212": lambda k: fidelite.convert(k.conv(), verify=False).save(k.folder / "none" / "out.tflite"),
    "F213": lambda k: _full_disk(k, errno.EACCES),
    "F214": lambda k: _full_disk(k, errno.ENOSPC),
    "F215": lambda k: _full_disk(k, errno.EIO),
    "F281": lambda k: _convert(k, approximate=["anything"]),
    "F220": _no_runtime,
    "F221": lambda k: fidelite.demo(k.folder, model=k.folder / "none.onnx"),
    "F230": _samples,
    "F231": lambda k: _run(k, k.folder / "nothing.png"),
    "F232": lambda k: _run(k, k.raw("text.png", b"no picture")),
    "F233": lambda k: _run(k, k.raw("cut.png", k.picture().read_bytes()[:900])),
    "F234": _too_large,
    "F243": lambda k: _run(k, k.picture(), k.node("Relu", [info("x", [1, 7])], out=[1, 7])),
    "F244": lambda k: _run(k, np.zeros((4, 4, 3), np.float32)),
    "F245": _labels,
    "F246": lambda k: fidelite.benchmark([]),
    "F247": lambda k: fidelite.benchmark([k.conv()], shapes={"nobody": (1,)}),
    "F306": lambda k: fidelite.Runner(k.folder),
    "F308": lambda k: fidelite.inspect(k.raw("bad.tflite", b"\xff\xff\0\0TFL3" + b"\xff" * 64)),
    "F360": lambda k: fidelite.verify(k.conv(), k.raw("no.tflite", b"no FlatBuffer at all")),
    "F361": lambda k: fidelite.verify(k.conv(), k.raw("custom.tflite", tflite([0], [(32, "MyOp")]))),
    "F410": lambda k: _convert(k, k.node("MyOp", [info("x", [1, 7])], out=[1, 7], domain="my.domain")),
    "F411": lambda k: _convert(k, k.node("Concat", [info("x", [1, 7])], out=[1, 7], opset=3)),
    "F430": lambda k: _convert(k, k.node("Identity", [info("x", [7], TensorProto.STRING)], out=[7])),
    "F440": lambda k: _convert(k, k.node("Unsqueeze", [info("x", [7]), info("axes", [1], TensorProto.INT64)])),
    "F450": lambda k: _convert(k, k.node("Squeeze", [info("x", ["n", 7])])),
    "F451": lambda k: _convert(k, k.node("Relu", [info("x", None)])),
    "F461": lambda k: _convert(k, precision="weight-int4"),
    "F462": _nan,
    "F480": _two_gigabytes,
    "F510": _another_network,
    "F520": _constant,
    "F530": lambda k: fidelite.Runner(k.raw("empty.tflite", tflite([0], [(9999, "")]))),
}


@pytest.mark.parametrize("code", ERRORS)
def test_error(code: str, kitchen: Kitchen) -> None:
    with pytest.raises(FideliteError) as caught:
        ERRORS[code](kitchen)
    assert {e.code for e in caught.value.errors} == {code}
    assert str(caught.value).startswith(f"[{code}]")


def test_several(kitchen: Kitchen) -> None:
    with pytest.raises(FideliteError) as caught:
        _convert(kitchen, shapes={"a": (1,), "b": (1,)})
    assert caught.value.code == "F000"
    assert [e.code for e in caught.value.errors] == ["F202", "F202"]


def _bisected_foreign_file(kitchen: Kitchen) -> list[Notice]:
    from fidelite.source.tflite_file import read_tflite
    from fidelite.write.flatbuffer import write_model

    model = read_tflite(kitchen.converted())
    model.metadata.clear()
    path = kitchen.folder / "foreign.tflite"
    with path.open("wb") as stream:
        write_model(model, stream)
    found = fidelite.verify(kitchen.folder / "conv.onnx", path, bisect=True)
    assert found.proven
    return found.notices


def _ambiguous(kitchen: Kitchen) -> list[Notice]:
    model = kitchen.node("Relu", [info("x", [1, 3, 5, 3])], out=[1, 3, 5, 3])
    with fidelite.Runner(model, normalize={"": Normalization.imagenet()}) as runner:
        return runner(kitchen.picture()).notices


def _unsaid(kitchen: Kitchen) -> list[Notice]:
    with fidelite.Runner(kitchen.conv()) as runner:
        return runner(kitchen.picture()).notices


def _custom_operator(kitchen: Kitchen) -> list[Notice]:
    return list(fidelite.inspect(kitchen.raw("custom.tflite", tflite([0], [(32, "MyOp")]))).notices)


def _double(kitchen: Kitchen) -> list[Notice]:
    """float64, which LiteRT cannot sine."""
    path = kitchen.node("Sin", [info("x", [7], TensorProto.DOUBLE)], out=[7])
    return fidelite.convert(path, verify=False).notices


NOTICES: dict[str, Callable[[Kitchen], list[Notice]]] = {
    "N243": _ambiguous,
    "N510": _bisected_foreign_file,
    "W230": _unsaid,
    "W354": _custom_operator,
    "W430": _double,
}


@pytest.mark.parametrize("code", NOTICES)
def test_notice(code: str, kitchen: Kitchen) -> None:
    assert [n.code for n in NOTICES[code](kitchen)] == [code]


COMMANDS: dict[str, tuple[str, ...]] = {
    "F240": ("convert", "{model}", "--report", "report.txt"),
    "F248": ("run", "{model}"),
    "F249": ("run", "{model}", "--random", "--labels", "{model}"),
}


@pytest.mark.parametrize("code", COMMANDS)
def test_command(code: str, kitchen: Kitchen) -> None:
    model = kitchen.raw("model.onnx", b"\xff\xfe\xfd\xfc" + kitchen.conv().read_bytes())
    output = _cli(*(word.format(model=model) for word in COMMANDS[code]), "--json")
    document, _ = json.JSONDecoder().raw_decode(output[output.index("{"):])
    assert [e["code"] for e in document["errors"]] == [code]


def test_a_fault_of_ours(kitchen: Kitchen) -> None:
    def fall_over(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    kitchen.patch.setattr(fidelite, "inspect", fall_over)
    output = _cli("inspect", kitchen.conv())
    assert "F100" in output
    assert "N100" in output
