"""`fidelite.export`: a PyTorch network to an ONNX file, whole, and proven."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.errors import Notice, UsageError
from fidelite.files import publish
from fidelite.options import ConvertOptions

if TYPE_CHECKING:
    from fidelite.check import Verification
    from fidelite.source.pytorch.exporting import Exported

@dataclass
class ExportedFile:
    """An ONNX file that was written, and what there is to say about it."""

    path: Path
    data_file: Path | None
    """The file beside it that holds the weights; None where they are inside."""
    exporter: str
    opset: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    verification: Verification | None = None
    notices: list[Notice] = field(default_factory=list[Notice])

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "bytes": self.path.stat().st_size,
            "data_file": None if self.data_file is None else str(self.data_file),
            "data_bytes": 0 if self.data_file is None else self.data_file.stat().st_size,
            "exporter": self.exporter, "opset": self.opset, "inputs": self.inputs, "outputs": self.outputs,
            "verification": None if self.verification is None else
            {"proven": self.verification.proven, "rows": self.verification.summary()} | self.verification.to_json(),
            "notices": [n.to_json() for n in self.notices],
        }


def export(model: Any, path: Path | str, options: ConvertOptions, *, external_data: bool = False,
           on_progress: Callable[[str, float], None] | None = None) -> ExportedFile:
    """Write a PyTorch network as an ONNX file.

    Args:
        model: A module, an ExportedProgram, `package.module:factory`, a `.pt2`, TorchScript or known checkpoint file.
        path: The file to write.
        options: Of these `export`, `shapes`, `verify` and `samples` count.
        external_data: Put the weights into PATH.data beside it. Above 2 GB they always go there.
        on_progress: Called with what is being done and how much of it is done.

    Raises:
        UsageError, MissingExtra, LoadError: see docs/errors.md, F250 to F260 and F362 to F371.
        Mismatch (F511), NotProven: ONNX Runtime does not give what PyTorch gives; nothing is written.
        OutputError: The file cannot be written.
    """
    from fidelite.source.opening import LARGEST, export_model
    from fidelite.source.pytorch import is_pytorch

    tell = on_progress or (lambda what, done: None)
    target = Path(path)
    if not is_pytorch(model):
        raise UsageError(f"'{model}' is no PyTorch network: there is nothing to export", code="F261",
                         remedy="fidelite export PACKAGE.MODULE:FACTORY -o model.onnx")
    tell("exporting", 0.0)
    program, exported = export_model(model, options)
    notices = [*program.notices, *exported.notices]
    outside = external_data or exported.weight_bytes > LARGEST
    if outside and not external_data:
        notices.append(Notice("N363", f"the weights pass 2 GB: they are in '{target.name}.data' beside the file, which "
                              "must go where the file goes"))
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        whole = _save(exported, Path(folder) / target.name, outside)
        verification = None
        if options.verify:
            from fidelite.check.exported import prove_exported

            verification = prove_exported(program, exported.model, whole, options.samples,
                                          lambda what, done, total: tell("proving", done / total))
            verification.raise_for_export()
        tell("writing", 1.0)
        data = _publish(whole, target)
    ports = ([_port(v) for v in exported.model.graph.inputs], [_port(v) for v in exported.model.graph.outputs])
    return ExportedFile(target, data, exported.exporter, exported.opset, *ports, verification, notices)


def _save(exported: Exported, path: Path, outside: bool) -> Path:
    import onnx_ir

    onnx_ir.save(exported.model, path, external_data=f"{path.name}.data" if outside else None)
    return path


def _publish(whole: Path, target: Path) -> Path | None:
    """Move what was written to its place: the weights first, so that the graph is never alone."""
    beside = whole.with_name(f"{whole.name}.data")
    data = target.with_name(beside.name) if beside.exists() else None
    for source, place in ((beside, data), (whole, target)):
        if place is not None:
            with publish(place) as temporary:
                shutil.copyfile(source, temporary)
    return data


def _port(value: Any) -> dict[str, Any]:
    dims = [] if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    name = "" if value.dtype is None else value.dtype.name
    return {"name": value.name or "", "type": {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower()),
            "shape": dims}
