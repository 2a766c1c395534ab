"""What is no ONNX model is told as what it is."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fidelite.errors import FideliteError, LoadError, NotAModel
from fidelite.source.hollow import why_hollow_bytes
from fidelite.source.load import load
from fidelite.source.text import quoted
from tests.source.models import conv_model, save, tflite


def refusal(path: Path) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        load(path)
    assert caught.value.exit_code == 3
    assert caught.value.remedy
    json.dumps(caught.value.to_json())
    return caught.value


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    save(conv_model(), tmp_path / "face_parsing.onnx")
    error = refusal(tmp_path / "face_parsin.onnx")
    assert error.code == "F305"
    assert "face_parsing.onnx" in error.remedy
    assert refusal(tmp_path / "no" / "folder.onnx").code == "F305"


def test_an_empty_file(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "m.onnx", b"")).code == "F302"
    assert refusal(write(tmp_path / "m.tflite", b"")).code == "F354"


def test_a_folder_names_the_models_in_it(tmp_path: Path) -> None:
    save(conv_model(), tmp_path / "inside.onnx")
    error = refusal(tmp_path)
    assert error.code == "F303"
    assert "inside.onnx" in error.remedy


def test_a_saved_model_folder(tmp_path: Path) -> None:
    write(tmp_path / "saved_model.pb", b"\x08\x01")
    error = refusal(tmp_path)
    assert (type(error), error.code) == (NotAModel, "F355")


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x34\x56\x78\x9a\xbc\xde\xf0" * 20,
        b"\xff\xfe\x00\x01" * 300,
        b"\x08\x0a\x3a\x7f\x01",
        b"\x08\x0a",
    ],
    ids=["noise", "more noise", "cut short", "no graph"],
)
def test_what_is_no_protobuf_message_of_a_model(tmp_path: Path, data: bytes) -> None:
    error = refusal(write(tmp_path / "m.onnx", data))
    assert (type(error), error.code) == (LoadError, "F301")


def test_a_model_that_was_cut_short(tmp_path: Path) -> None:
    whole = conv_model().SerializeToString()
    assert refusal(write(tmp_path / "m.onnx", whole[: len(whole) // 2])).code == "F301"


def test_a_web_page_and_a_text(tmp_path: Path) -> None:
    page = refusal(write(tmp_path / "m.onnx", b"<!DOCTYPE html><html>Sign in</html>"))
    assert page.code == "F301"
    assert "web page" in page.reason
    assert refusal(write(tmp_path / "n.onnx", b"this is a text and no model\n")).code == "F301"


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 53215232\n"
    error = refusal(write(tmp_path / "m.onnx", text))
    assert error.code == "F307"
    assert error.details["size"] == 53215232
    assert "git lfs pull" in error.remedy


def test_a_tflite_file_under_another_name(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "m.onnx", tflite([0], [(0, "")])))
    assert (type(error), error.code) == (LoadError, "F304")


@pytest.mark.parametrize(
    "data",
    [tflite([], []), tflite([0], [(32, "EagerPyFunc")]), tflite([0, 1], [(0, ""), (32, "FlexPyFunc")])],
    ids=["no operators", "EagerPyFunc", "FlexPyFunc"],
)
def test_a_hollow_tflite_file(tmp_path: Path, data: bytes) -> None:
    error = refusal(write(tmp_path / "m.tflite", data))
    assert (type(error), error.code) == (NotAModel, "F354")
    assert "holds no network" in error.reason
    assert error.remedy.startswith("fidelite convert model.onnx")


def test_a_tflite_file_with_a_network_is_not_hollow() -> None:
    assert why_hollow_bytes(tflite([0], [(0, "")])) is None
    assert why_hollow_bytes(tflite([0], [(150, "")])) is None
    assert why_hollow_bytes(tflite([0], [(32, "FlexErf")])) is None
    assert why_hollow_bytes(b"\x20\x00\x00\x00TFL3" + b"\xff" * 40) == "its tables are damaged"


class _Opens:
    """Unpickling this would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def state_dict(*names: str) -> bytes:
    return pickle.dumps(dict.fromkeys(names, 0), protocol=2)


def test_a_state_dict_is_recognised_and_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = pickle.dumps({"conv.weight": _Opens(mark)}, protocol=2)
    error = refusal(archive(tmp_path / "79999_iter.pth", {"x/data.pkl": data, "x/data/0": b"\0" * 8}))
    assert (type(error), error.code) == (NotAModel, "F351")
    assert "state dict" in error.reason
    assert "the code of its network" in error.reason
    assert error.remedy.startswith("fidelite convert PACKAGE.MODULE:FACTORY --checkpoint ")
    assert not mark.exists()


def test_the_checkpoint_of_face_parsing_gets_its_own_line(tmp_path: Path) -> None:
    names = ("cp.resnet.conv1.weight", "ffm.conv1.weight")
    error = refusal(archive(tmp_path / "79999_iter.pth", {"archive/data.pkl": state_dict(*names)}))
    assert error.remedy.startswith(f"fidelite convert {quoted(tmp_path / '79999_iter.pth')}, ")
    assert error.details["parameters"] == 2


def test_a_checkpoint_of_an_old_pytorch(tmp_path: Path) -> None:
    stream = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"fc.weight": 0}):
        pickle.dump(item, stream, protocol=2)
    assert refusal(write(tmp_path / "m.pth", stream.getvalue())).code == "F351"


def test_a_pickled_module(tmp_path: Path) -> None:
    data = b"\x80\x02ctorch.nn.modules.conv\nConv2d\nq\x00)\x81."
    error = refusal(archive(tmp_path / "m.pt", {"m/data.pkl": data}))
    assert (type(error), error.code) == (NotAModel, "F357")


def test_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0" * 4
    assert refusal(write(tmp_path / "m.safetensors", data)).code == "F351"


def test_torchscript_and_exported_programs(tmp_path: Path) -> None:
    script = {"m/code/__torch__.py": b"", "m/constants.pkl": b"", "m/data.pkl": state_dict()}
    assert refusal(archive(tmp_path / "m.pt", script)).code == "F352"
    program = {"m/models/model.json": b"{}", "m/archive_format": b"pt2"}
    error = refusal(archive(tmp_path / "m.pt2", program))
    assert error.code == "F353"
    assert error.remedy.startswith("fidelite convert ")


def test_keras_and_hdf5(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "m.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40)).code == "F356"
    keras = {"config.json": b"{}", "model.weights.h5": b""}
    assert refusal(archive(tmp_path / "m.keras", keras)).code == "F356"


def test_other_archives(tmp_path: Path) -> None:
    zipped = refusal(archive(tmp_path / "m.zip", {"a/m.onnx": b""}))
    assert zipped.code == "F350"
    assert "zipfile -e" in zipped.remedy
    assert refusal(archive(tmp_path / "m.npz", {"a.npy": b""})).code == "F350"
    assert refusal(archive(tmp_path / "e.zip", {})).code in ("F350", "F301")
    assert refusal(write(tmp_path / "b.pth", b"PK\x03\x04" + b"\0" * 60)).code == "F350"
    assert refusal(write(tmp_path / "m.gguf", b"GGUF\x03\0\0\0")).code == "F350"


def test_telling_what_a_file_is_needs_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom fidelite.errors import LoadError\nfrom fidelite.source.load import load\n"
        "heavy = ('onnx', 'onnx_ir', 'numpy')\n"
        "try:\n    load(sys.argv[1])\nexcept LoadError as error:\n    print(error.code)\n"
        "assert not any(n in sys.modules for n in heavy)\n"
    )
    empty = write(tmp_path / "m.onnx", b"")
    result = subprocess.run(
        [sys.executable, "-c", code, str(empty)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "F302"
