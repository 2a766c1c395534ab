"""PyTorch's files, recognised without unpickling them (a pickle may run any code when it is loaded)."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from fidelite.errors import NotAModel
from fidelite.source.text import plural, quoted

Kind = Literal["state dict", "module", "TorchScript", "exported program"]

_MOST_OPCODES = 500_000
_MOST_BYTES = 64_000_000
_PARAMETERS = (".weight", ".bias", ".running_mean", ".running_var", "_weight", "_bias")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of PyTorch's holds, as far as it can be told from the outside."""

    kind: Kind
    container: str = "pickle"
    classes: tuple[str, ...] = ()
    """Classes that a pickle names, as `module.Class`."""
    parameters: tuple[str, ...] = ()
    """Names in it that look like parameters'."""
    names: frozenset[str] = field(default=frozenset(), repr=False)


def scan_archive(archive: zipfile.ZipFile) -> Contents | None:
    """What kind of PyTorch file an archive is; None if none. Entries: caffe2/serialize/inline_container.h"""
    names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in set(names) | inner:
        return Contents("exported program", "zip")
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return Contents("TorchScript", "zip")
    pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
    if not pickles:
        return None
    with archive.open(pickles[0]) as entry:
        return _scan(entry, "zip")


def scan_file(path: Path) -> Contents:
    """What a bare pickle (PyTorch before 1.6) holds."""
    with path.open("rb") as file:
        return _scan(io.BytesIO(file.read(_MOST_BYTES)), "pickle")


def _scan(stream: IO[bytes], container: str) -> Contents:
    data = stream.read(_MOST_BYTES)
    classes, texts = _names_in_pickles(data)
    modules = [
        c
        for c in classes
        if not c.startswith(
            (
                "torch._",
                "torch.storage",
                "torch.serialization",
                "collections",
                "builtins",
                "__builtin__",
                "numpy",
                "_codecs",
                "argparse",
            )
        )
    ]
    modules = [
        c
        for c in modules
        if c.count(".") and not c.removeprefix("torch.").endswith(("Storage", "Size", "device"))
    ]
    parameters = tuple(dict.fromkeys(t for t in texts if t.endswith(_PARAMETERS)))
    is_module = any(c.startswith("torch.nn.modules.") for c in modules)
    return Contents("module" if is_module else "state dict", container, tuple(modules), parameters)


def _names_in_pickles(data: bytes) -> tuple[list[str], list[str]]:
    """The classes and strings that the first few pickles in `data` mention. Nothing is executed."""
    classes: list[str] = []
    texts: list[str] = []
    stream = io.BytesIO(data)
    for _ in range(5):  # an old checkpoint begins with a magic number, a version and a record, each a pickle
        try:
            for count, (opcode, argument, _at) in enumerate(pickletools.genops(stream)):
                if opcode.name == "GLOBAL" and isinstance(argument, str):
                    classes.append(argument.replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    classes.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
                if count > _MOST_OPCODES:
                    return classes, texts
        except (ValueError, UnicodeDecodeError, OverflowError):
            break
        if classes:
            break
    return classes, texts


def refusal(path: Path, contents: Contents) -> NotAModel:
    """The error that says what the file is, and how its network is converted."""
    details = {
        "path": str(path),
        "kind": contents.kind,
        "container": contents.container,
        "parameters": len(contents.parameters),
        "first_parameters": list(contents.parameters[:5]),
        "classes": list(contents.classes[:5]),
    }
    if contents.kind == "TorchScript":
        return NotAModel(
            f"'{path}' is a TorchScript program, not an ONNX model",
            code="F352",
            remedy=f"fidelite convert {quoted(path)} --shape NAME=1,3,224,224, or make an ONNX file of it first: "
            f"fidelite export {quoted(path)} --shape NAME=1,3,224,224",
            details=details,
        )
    if contents.kind == "exported program":
        return NotAModel(
            f"'{path}' is an exported PyTorch program (.pt2)",
            code="F353",
            remedy=f"fidelite convert {quoted(path)}, or make an ONNX file of it first: fidelite export {quoted(path)}",
            details=details,
        )
    if contents.kind == "module":
        return NotAModel(
            f"'{path}' is a pickled PyTorch module: it needs the code of its network"
            + (f" ({contents.classes[0]})" if contents.classes else "")
            + ", and loading it would run whatever it contains",
            code="F357",
            remedy=_lines(path, _is_face_parsing(contents.parameters)),
            details=details,
        )
    found = f" ({plural(len(contents.parameters), 'parameter')} by name)" if contents.parameters else ""
    return NotAModel(
        f"'{path}' is a checkpoint, a state dict{found}: weights without a graph. "
        "It needs the code of its network",
        code="F351",
        remedy=_lines(path, _is_face_parsing(contents.parameters)),
        details=details,
    )


def _lines(path: Path, face_parsing: bool) -> str:
    if face_parsing:
        return f"fidelite convert {quoted(path)}, or make an ONNX file of it first: fidelite export {quoted(path)}"
    return (f"fidelite convert PACKAGE.MODULE:FACTORY --checkpoint {quoted(path)} --shape NAME=1,3,512,512\n"
            "    with FACTORY a function or class that gives the network, NAME the parameter of its forward")


def _is_face_parsing(parameters: Iterable[str]) -> bool:
    names = tuple(parameters)
    return any("cp.resnet." in n or "fpn.backbone." in n for n in names) and any("ffm." in n for n in names)
