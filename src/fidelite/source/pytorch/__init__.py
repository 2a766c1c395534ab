"""PyTorch in: a module, an exported program, a TorchScript file or a checkpoint becomes an ONNX model, in memory.

    program      `program_of`: whatever the user gave becomes a `Program`: a network, example inputs, names
    factory      `package.module:factory` to a module
    files        `.pt2` and TorchScript files
    checkpoint   state dicts: read as data only, compared with the network's own names and shapes
    networks     the networks that fidelite ships, told by the names in a checkpoint
    structure    nested arguments and results, flat, with names
    dynamic      dynamic dimensions
    exporting    a `Program` to an ONNX model, by either of PyTorch's exporters
    trouble      errors in the user's own code, with the line

This module is the gate: it loads no PyTorch. The others do, and are loaded only for a source that needs them.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

from fidelite.errors import MissingExtra
from fidelite.options import factory_of
from fidelite.source import checkpoints

EXTRA = 'pip install "fidelite[torch]"'
_PICKLE = 0x80


def is_pytorch(model: object) -> bool:
    """Whether `model` is PyTorch's: an object of its classes, `package.module:factory`, or one of its files.

    Files are told by their bytes, without running anything in them.
    """
    if isinstance(model, str | Path):
        return contents_of(Path(model)) is not None or is_factory(model)
    return any(base.__module__.partition(".")[0] == "torch" for base in type(model).__mro__)


def is_factory(model: object) -> bool:
    """Whether `model` is the word `package.module:factory`, and no file of that name."""
    return isinstance(model, str | Path) and factory_of(str(model)) is not None and not Path(model).exists()


def contents_of(path: Path) -> checkpoints.Contents | None:
    """What a file of PyTorch's holds; None for any other file, and for one that is not there."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return checkpoints.scan_archive(archive)
        if len(head) > 1 and head[0] == _PICKLE and 2 <= head[1] <= 5:
            return checkpoints.scan_file(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
    return None


def require(model: object) -> None:
    """Raise MissingExtra (F250) unless PyTorch and what its exporter needs are installed.

    A checkpoint that they would not help with is told as what it is instead (NotAModel F351, F357).
    """
    missing = [name for name in ("torch", "onnxscript") if not _installed(name)]
    if not missing:
        return
    if isinstance(model, str | Path) and (contents := contents_of(Path(model))) is not None:
        from fidelite.source.pytorch.networks import recognised

        names = [name.removeprefix("module.") for name in contents.parameters]
        if contents.kind == "module" or (contents.kind == "state dict" and recognised(names) is None):
            raise checkpoints.refusal(Path(model), contents)
    what = f"'{model}'" if isinstance(model, str | Path) else "this model"
    raise MissingExtra(f"{what} needs PyTorch, and {' and '.join(missing)} "
                       f"{'is' if len(missing) == 1 else 'are'} not installed", code="F250", remedy=EXTRA,
                       details={"missing": missing})


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # sys.modules holds None or a module without a spec
        return False


def torch_text() -> str:
    """PyTorch's version for messages: `torch 2.13.0`."""
    import torch

    found: Any = torch.__version__
    return f"torch {str(found).partition('+')[0]}"
