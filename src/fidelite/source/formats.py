"""What a file is, told by its name and bytes, before anything parses it.

Archives and pickles are looked into without being unpickled: only their list of entries and the names that a
pickle mentions are read.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NoReturn

from fidelite.errors import FideliteError, LoadError, NotAModel
from fidelite.source import checkpoints, hollow
from fidelite.source.text import nearest, quoted, size_text

_LFS = b"version https://git-lfs"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAD = 4096


def check_file(path: Path) -> None:
    """Raise the error that says what `path` is if it cannot be an ONNX file; return if it may be one.

    Raises:
        LoadError: it is not there (F305), a folder (F303), empty (F302), unreadable (F306), a pointer to a
            file in Git LFS (F307), a `.tflite` (F304), or a text or a web page (F301).
        NotAModel: it is a checkpoint, an archive, or another framework's model (F350 to F357).
    """
    head = _read_head(path)
    if head.startswith(_LFS):
        _refuse_lfs_pointer(path, head)
    if head[4:8] == b"TFL3":
        raise _tflite(path)
    if head.startswith(b"PK\x03\x04"):
        raise _archive(path)
    if head.startswith(_HDF5):
        raise _keras(path, "an HDF5 file, as Keras writes it")
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        raise checkpoints.refusal(path, checkpoints.scan_file(path))
    if _is_safetensors(head, path):
        raise checkpoints.refusal(path, checkpoints.Contents(kind="state dict", container="safetensors"))
    if head.startswith(b"GGUF"):
        raise _other(path, "a GGUF file (weights of a language model)")
    _refuse_text(path, head)


def _read_head(path: Path) -> bytes:
    """The first bytes of `path`; what is no readable file with content is refused."""
    try:
        if path.is_dir():
            raise _folder(path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise LoadError(
            f"'{path}' cannot be read: {error.strerror or error}",
            code="F306",
            remedy=f"check that the file is an ordinary one and that you may read it: {quoted(path)}",
            details={"path": str(path)},
        ) from error
    if not head and path.suffix.lower() == ".tflite":
        raise hollow_error(path, "it is empty (0 bytes)")
    if not head:
        raise LoadError(
            f"'{path}' is empty (0 bytes)",
            code="F302",
            remedy="export or download the model again: the writing of this file never finished",
            details={"path": str(path)},
        )
    return head


def _missing(path: Path) -> FideliteError:
    folder = path.parent
    siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = nearest(path.name, siblings)
    there = "" if folder.is_dir() else f": there is no folder '{folder}'"
    return LoadError(
        f"there is no file '{path}'{there}",
        code="F305",
        remedy=f"did you mean {quoted(folder / near[0])}?" if near else "check the path",
        details={"path": str(path), "nearest": near},
    )


def _folder(path: Path) -> FideliteError:
    if (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists():
        return NotAModel(
            f"'{path}' is a TensorFlow SavedModel: fidelite reads ONNX models and PyTorch modules",
            code="F355",
            remedy="export the network it came from with `torch.onnx.export`, or make an ONNX "
            f"file of it: `pip install tf2onnx` and `python -m tf2onnx.convert --saved-model {quoted(path)} "
            "--output model.onnx`",
            details={"path": str(path), "kind": "SavedModel"},
        )
    inside = sorted(p.name for p in path.glob("*.onnx"))
    return LoadError(
        f"'{path}' is a folder",
        code="F303",
        remedy=f"name the file: fidelite inspect {quoted(path / inside[0])}"
        if inside
        else "name a .onnx file",
        details={"path": str(path), "models": inside},
    )


def _refuse_lfs_pointer(path: Path, head: bytes) -> NoReturn:
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        fields[key] = value
    size = int(fields["size"]) if fields.get("size", "").isdecimal() else None
    told = f" (the file itself has {size_text(size)})" if size is not None else ""
    raise LoadError(
        f"'{path}' is a pointer that Git LFS left in the place of the file{told}",
        code="F307",
        remedy=f"git lfs install && git lfs pull --include {quoted(path.name)}",
        details={"path": str(path), "oid": fields.get("oid", ""), "size": size},
    )


def _tflite(path: Path) -> FideliteError:
    if reason := hollow.why_hollow(path):
        return hollow_error(path, reason)
    return LoadError(
        f"'{path}' is a .tflite model already: there is nothing to convert",
        code="F304",
        remedy=f"fidelite inspect {quoted(path.with_suffix('.tflite'))}"
        if path.suffix == ".tflite"
        else f"rename it: {quoted(path.with_suffix('.tflite').name)}",
        details={"path": str(path), "kind": "tflite"},
    )


def hollow_error(path: Path, reason: str) -> NotAModel:
    """The refusal of a `.tflite` without a network in it."""
    target = path.with_suffix(".tflite").name
    return NotAModel(
        f"'{path}' holds no network: {reason}",
        code="F354",
        remedy=f"fidelite convert model.onnx -o {quoted(target)}",
        details={"path": str(path), "kind": "hollow tflite", "why": reason},
    )


def _archive(path: Path) -> FideliteError:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            contents = checkpoints.scan_archive(archive)
    except (zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, RuntimeError) as error:
        return NotAModel(
            f"'{path}' begins as a ZIP archive (PyTorch's own format is one) but is damaged: {error}",
            code="F350",
            remedy="copy or download the file again",
            details={"path": str(path), "kind": "damaged archive"},
        )
    if contents is not None:
        return checkpoints.refusal(path, contents)
    if any(name.endswith("model.weights.h5") for name in names):
        return _keras(path, "a Keras model")
    models = [name for name in names if name.endswith((".onnx", ".tflite"))]
    if models:
        return _other(
            path,
            f"an archive that contains '{models[0]}'",
            f"unpack it: python -m zipfile -e {quoted(path)} .",
        )
    if names and all(name.endswith(".npy") for name in names):
        return _other(path, "an .npz file (arrays, no network)")
    return _other(path, "a ZIP archive without a model in it")


def _keras(path: Path, what: str) -> FideliteError:
    return NotAModel(
        f"'{path}' is {what}: fidelite reads ONNX models and PyTorch modules",
        code="F356",
        remedy="pip install tensorflow tf2onnx, then in Python: "
        "tf2onnx.convert.from_keras(keras.models.load_model("
        f"{str(path)!r}), output_path='model.onnx')",
        details={"path": str(path), "kind": "keras"},
    )


def _other(path: Path, what: str, remedy: str = "name a .onnx file") -> FideliteError:
    return NotAModel(
        f"'{path}' is {what}", code="F350", remedy=remedy, details={"path": str(path), "kind": what}
    )


def _is_safetensors(head: bytes, path: Path) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    if not 2 <= length <= path.stat().st_size - 8:
        return False
    if length > len(head) - 8:
        return head[8:10] == b'{"'
    try:
        return isinstance(json.loads(head[8 : 8 + length]), dict)
    except ValueError:
        return False


def _refuse_text(path: Path, head: bytes) -> None:
    """A page or text that was saved under a model's name. Binary content passes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise not_onnx(
            path, "a web page was saved in its place", "download the file itself, not the page that shows it"
        )
    if b"\0" in head or any(byte < 9 for byte in head):
        return
    try:
        head[: _HEAD - 4].decode("utf-8")
    except UnicodeDecodeError:
        return
    if len(head) > 8:
        raise not_onnx(path, "it is a text file")


def not_onnx(path: Path | None, why: str, remedy: str = "export or download the model again") -> LoadError:
    """F301: the bytes are not those of an ONNX model."""
    return LoadError(
        f"{_named(path)} is no ONNX model: {why}",
        code="F301",
        remedy=remedy,
        details={"path": str(path or ""), "why": why},
    )


def _named(path: Path | None) -> str:
    return f"'{path}'" if path is not None else "the given data"
