"""Is this machine fit? `fidelite.doctor`: what is installed, whether the runtimes really run, room, paths, console."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from fidelite.errors import FideliteError
from fidelite.files import LONG_PATHS_KEY, long_paths_enabled

Status = Literal["good", "warn", "bad", "note"]

OLDEST_PYTHON = (3, 11)
_ROOM = 2_000_000_000
_OPTIONAL = {"torch": "the PyTorch source and `fidelite export`", "onnxscript": "PyTorch's exporter",
             "tensorflow": "--saved-model"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `remedy` is a line to paste; `bad` means that conversion will not work."""

    name: str
    status: Status
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "text": self.text, "remedy": self.remedy}


def doctor() -> list[Check]:
    """Look at everything that conversion and proof need. Nothing raises: what is wrong is told."""
    found = [_python(), *_packages()]
    if all(check.status != "bad" for check in found):
        found += list(_runtimes())
    return [*found, *_rooms(), _long_paths(), _console()]


def _python() -> Check:
    bits = 64 if sys.maxsize > 2**32 else 32
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors"
    text = f"{platform.python_implementation()} {platform.python_version()}, {bits} bits, {system}"
    if sys.version_info < OLDEST_PYTHON or bits != 64:
        return Check("Python", "bad", text, "install Python 3.11 or newer with 64 bits, then: pip install fidelite")
    return Check("Python", "good", text)


def _packages() -> Iterator[Check]:
    for name, least in _required().items():
        install = f'"{sys.executable}" -m pip install --upgrade "{name}{f">={least}" if least else ""}"'
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "bad", "not installed", install)
            continue
        old = bool(least) and _parts(version) < _parts(least)
        yield Check(name, "bad" if old else "good", f"{version}, older than {least}" if old else version,
                    install if old else "")
    for name, what in _OPTIONAL.items():
        try:
            yield Check(name, "good", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "note", f"not installed: only needed for {what}",
                        f'"{sys.executable}" -m pip install {name}')


def _required() -> dict[str, str]:
    """Package -> the oldest version that serves, as the installed package declares it."""
    try:
        lines = metadata.requires("fidelite") or []
    except metadata.PackageNotFoundError:
        lines = []
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)(?:>=([0-9.]+))?", line)
        if match and "extra ==" not in line:
            found[match[1]] = match[2] or ""
    names = ("numpy", "onnx", "onnx-ir", "onnxruntime", "ai-edge-litert", "flatbuffers", "click", "rich", "pillow")
    return found or dict.fromkeys(names, "")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:4])


def _runtimes() -> Iterator[Check]:
    """Convert a tiny network, run it in both runtimes, and prove it."""
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        steps: list[tuple[str, Callable[[Path], str], str]] = [
            ("ONNX Runtime runs", _run_onnx, _upgrade("onnxruntime")),
            ("LiteRT runs", _run_litert, _upgrade("ai-edge-litert")),
            ("conversion and proof", _prove, "fidelite convert MODEL.onnx --debug"),
        ]
        for title, step, remedy in steps:
            try:
                yield Check(title, "good", step(folder))
            except FideliteError as error:
                yield Check(title, "bad", error.reason, error.remedy or remedy)
            except (ImportError, OSError) as error:
                yield Check(title, "bad", f"{type(error).__name__}: {error}", remedy)


def _upgrade(package: str) -> str:
    return f'"{sys.executable}" -m pip install --upgrade --force-reinstall {package}'


def _tiny(folder: Path) -> Path:
    """y = relu(x + 1) over [1, 4], as an ONNX file."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = folder / "tiny.onnx"
    if not path.exists():
        nodes = [helper.make_node("Add", ["x", "one"], ["sum"]), helper.make_node("Relu", ["sum"], ["y"])]
        graph = helper.make_graph(
            nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
            [numpy_helper.from_array(np.ones(4, np.float32), "one")])
        onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _feeds() -> dict[str, Any]:
    import numpy as np

    return {"x": np.array([[-3, -1, 0, 2]], np.float32)}


def _run_onnx(folder: Path) -> str:
    from fidelite.runtime import measure

    found = measure(_tiny(folder), _feeds(), kind="onnx", runs=1, warmup=0)
    return f"in a process of its own, ready in {found.load * 1e3:.0f} ms"


def _run_litert(folder: Path) -> str:
    from fidelite import pipeline
    from fidelite.runtime import LiteRtSession

    path = folder / "tiny.tflite"
    pipeline.convert(_tiny(folder), pipeline.options_of({"verify": False}), None).save(path)
    with LiteRtSession(path) as session:
        answer = session.run(_feeds())["y"].reshape(-1).tolist()
        taken = session.delegated()
    if answer != [0.0, 0.0, 1.0, 3.0]:
        from fidelite.errors import RuntimeCrash

        raise RuntimeCrash(f"LiteRT computes {answer} where [0.0, 0.0, 1.0, 3.0] is right",
                           remedy=_upgrade("ai-edge-litert"))
    return f"in a process of its own; XNNPACK takes {taken.taken} of {taken.total} operators"


def _prove(folder: Path) -> str:
    from fidelite import pipeline

    result = pipeline.convert(_tiny(folder), pipeline.options_of({}), None)
    assert result.verification is not None
    return f"a tiny network is {result.verification.verdict}"


def _rooms() -> Iterator[Check]:
    for name, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield Check(name, "warn", f"'{folder}': {error}", _other_temp())
            continue
        text = f"{free / 1e9:.1f} GB free in '{folder}'"
        if not os.access(folder, os.W_OK):
            remedy = _other_temp() if name.startswith("temp") else "choose a folder that you may write to: -o FILE"
            yield Check(name, "warn", f"'{folder}' may not be written to", remedy)
        elif free < _ROOM:
            remedy = _other_temp() if name.startswith("temp") else "write elsewhere: -o FILE"
            yield Check(name, "warn", text, f"free some, or: {remedy}")
        else:
            yield Check(name, "good", text)


def _other_temp() -> str:
    return "set TMP=D:\\temp" if sys.platform == "win32" else "export TMPDIR=/path/with/room"


def _long_paths() -> Check:
    if sys.platform != "win32":
        return Check("long paths", "good", "no limit of 260 characters on this system")
    if long_paths_enabled():
        return Check("long paths", "good", "enabled")
    return Check("long paths", "note", "off: paths above 260 characters fail; fidelite itself needs none",
                 f'reg add "HKLM\\{LONG_PATHS_KEY}" /v LongPathsEnabled /t REG_DWORD /d 1 /f   (as administrator)')


def _console() -> Check:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    if encoding.startswith("utf"):
        return Check("console", "good", encoding)
    remedy = "set PYTHONUTF8=1" if sys.platform == "win32" else "export PYTHONUTF8=1"
    return Check("console", "note", f"{encoding}: names that it cannot show come out with question marks", remedy)
