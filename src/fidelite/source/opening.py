"""Whatever a user may give, opened: an ONNX model, or a PyTorch network by way of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fidelite.errors import UsageError
from fidelite.options import ConvertOptions, ExportOptions
from fidelite.source import pytorch
from fidelite.source.load import Source, load

if TYPE_CHECKING:
    from fidelite.source.pytorch.exporting import Exported
    from fidelite.source.pytorch.program import Program


LARGEST = 2**31 - 1 - (1 << 20)
"""Bytes of weights that fit into one ONNX message (protobuf's limit), with room for the graph."""


def open_model(model: Any, options: ConvertOptions) -> Source:
    """The model as a source, with the shapes that are wanted.

    Raises what `load` raises; for PyTorch also UsageError F251 to F260, MissingExtra F250 and LoadError F362 to F371.
    """
    if pytorch.is_pytorch(model):
        if options.weights is not None:
            raise UsageError("--weights is for the data file of an ONNX model", code="F257",
                             remedy="--checkpoint FILE gives a PyTorch network its weights")
        source = _open_pytorch(model, options)
    else:
        refuse_export_options(options.export)
        source = load(model, weights=options.weights)
    source.fix_shapes(options.shapes)
    return source


def export_model(model: Any, options: ConvertOptions) -> tuple[Program, Exported]:
    """A PyTorch source as a program, and the ONNX model that it becomes."""
    program = open_program_of(model, options.export, options.shapes)
    from fidelite.source.pytorch.exporting import export

    return program, export(program, options.export.exporter, options.export.opset)


def open_program_of(model: Any, options: ExportOptions, shapes: Mapping[str, Sequence[int | str]]) -> Program:
    """A PyTorch source as a program, which can be asked. Raises as `open_model` does."""
    pytorch.require(model)
    from fidelite.source.pytorch.program import program_of

    return program_of(model, options, shapes)


def _open_pytorch(model: Any, options: ConvertOptions) -> Source:
    program, exported = export_model(model, options)
    if options.verify and exported.weight_bytes > LARGEST:
        raise UsageError("the weights pass 2 GB, which an ONNX model in memory cannot hold for the proof", code="F262",
                         remedy="go by a file: fidelite export MODEL -o model.onnx, then fidelite convert model.onnx")
    source = load(exported.model)
    source.program, source.exporter = program, exported.exporter
    source.notices = [*program.notices, *exported.notices, *source.notices]
    return source


def refuse_export_options(given: ExportOptions) -> None:
    """Raise UsageError F257 where an option that is for PyTorch sources comes with another source."""
    for name in ExportOptions.__dataclass_fields__:
        value = getattr(given, name)
        if value is not None and not (isinstance(value, tuple | dict) and not value):
            raise UsageError(f"{name} is for a PyTorch source, and this is an ONNX model", code="F257",
                             remedy=f"leave {name} out")


