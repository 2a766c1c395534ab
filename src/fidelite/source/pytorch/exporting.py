"""A program to an ONNX model, in memory, by either of PyTorch's exporters.

    dynamo       torch.export, then onnxscript: opset 18 and newer, dynamic dimensions that are checked
    torchscript  tracing: opset 11 and newer, and all that is TorchScript already
"""

from __future__ import annotations

import io
import linecache
import logging
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch

from fidelite.errors import FideliteError, LoadError, Notice, UsageError
from fidelite.options import Exporter
from fidelite.source.node import STACK_TRACE
from fidelite.source.pytorch import dynamic, structure, torch_text
from fidelite.source.pytorch.program import Program, evaluating
from fidelite.source.pytorch.trouble import Guard, at, is_users, place

DEFAULT_OPSET = 18
OLDEST, NEWEST = 11, 23
"""The opsets that PyTorch's exporters write."""
DYNAMO_SINCE = 18
"""The oldest that dynamo writes; for some networks it can take the result back to an older one."""

_NO_FUNCTION = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_NO_SYMBOLIC = re.compile(r"Exporting the operator '([^']+)'|Unsupported: ONNX export of operator ([\w:]+)")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)(?:, in (\S+))?\n?([^\n]*)')
_OURS = "network."
_TALKERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "torch.export", "torch._export",
            "torch.fx.experimental.symbolic_shapes", "torch._dynamo", "onnxscript", "onnx_ir")


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX model that PyTorch's exporter made."""

    model: ir.Model
    exporter: Exporter
    opset: int
    notices: tuple[Notice, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        values = self.model.graph.initializers.values()
        return sum(v.const_value.nbytes for v in values if v.const_value is not None)


def chosen(program: Program, exporter: Exporter | None, opset: int | None) -> tuple[Exporter, int, list[Notice]]:
    """The exporter and the opset, with a notice where that is not what comes by default.

    Raises UsageError F258 where the exporter cannot take the program or write the opset.
    """
    wanted = DEFAULT_OPSET if opset is None else opset
    script = program.kind == "TorchScript"
    if not OLDEST <= wanted <= NEWEST:
        raise UsageError(f"opset {wanted} cannot be written: PyTorch's exporters write {OLDEST} to {NEWEST}",
                         code="F258", remedy=f"--opset {min(max(wanted, OLDEST), NEWEST)}")
    old = wanted < DYNAMO_SINCE and program.exported is None
    picked: Exporter = exporter or ("torchscript" if script or old else "dynamo")
    if picked == "dynamo" and script:
        raise UsageError("the dynamo exporter does not take TorchScript", code="F258",
                         remedy="--exporter torchscript, or leave it out")
    if picked == "torchscript" and program.exported is not None:
        raise UsageError("the torchscript exporter does not take an exported program", code="F258",
                         remedy="--exporter dynamo, or give the module itself")
    notices: list[Notice] = []
    if exporter is None and picked == "torchscript":
        why = "the source is TorchScript" if script else f"opset {wanted} is older than what dynamo writes"
        notices.append(Notice("N361", f"exported by PyTorch's older exporter (tracing), for {why}"))
    return picked, wanted, notices


def export(program: Program, exporter: Exporter | None = None, opset: int | None = None) -> Exported:
    """The program as an ONNX model in memory, with the program's names.

    Raises:
        UsageError: F258 exporter and opset do not go together.
        LoadError: F366 the network cannot be traced, F367 an operator has no ONNX counterpart, F370 the exporter
            wrote another opset than the one asked for, F371 a dimension cannot stay open.
    """
    picked, wanted, notices = chosen(program, exporter, opset)
    fault = Guard(lambda reason, line: _fault(program, picked, reason, line))
    with fault, _quiet() as warned, evaluating(program.network), torch.random.fork_rng(devices=[]):
        model = _dynamo(program, wanted) if picked == "dynamo" else _torchscript(program, wanted)
    notices += _frozen(warned)
    written = model.opset_imports.get("", wanted)
    if written != wanted:
        raise LoadError(f"the {picked} exporter wrote opset {written}, not {wanted}", code="F370",
                        remedy=f"--opset {written}" + ("" if picked == "torchscript" else
                                                       f", or --exporter torchscript --opset {wanted}"))
    _check_open(program, model)
    _tidy(model)
    return Exported(model, picked, wanted, tuple(notices))


def _check_open(program: Program, model: ir.Model) -> None:
    """Raise LoadError F371 where a dimension was to stay open, and the exporter has fixed it in silence."""
    shapes = {value.name: value.shape for value in model.graph.inputs}
    for name, row in zip(program.inputs, program.dims, strict=False):
        shape = shapes.get(name)
        fixed = {axis: shape[axis] for axis in row if shape is not None and isinstance(shape[axis], int)}
        if fixed:
            told = ", ".join(f"axis {axis} at {size}" for axis, size in fixed.items())
            raise LoadError(f"the network takes one size only where '{name}' was to stay open: {told}", code="F371",
                            remedy="give numbers there, or change the network so that it takes any size",
                            details={"input": name, "axes": list(fixed)})


def _dynamo(program: Program, opset: int) -> ir.Model:
    options: dict[str, Any] = {"dynamo": True, "opset_version": opset, "verbose": False,
                               "input_names": list(program.inputs), "output_names": list(program.outputs)}
    if program.exported is not None:
        return torch.onnx.export(program.exported, **options).model
    shapes = None
    if any(program.dims):
        shapes = (tuple(dict(row) or None for row in program.dims),)
    flat = structure.Flat(program.network, program.call)
    return torch.onnx.export(flat.eval(), program.examples, dynamic_shapes=shapes, **options).model


def _torchscript(program: Program, opset: int) -> ir.Model:
    stream = io.BytesIO()
    axes = dynamic.named_axes(program.dims, program.inputs)
    # A TorchScript module must be what is traced itself: it cannot be called in the trace of another.
    script = program.kind == "TorchScript"
    network = program.network if script else structure.Flat(program.network, program.call)
    torch.onnx.export(network, program.examples, stream, dynamo=False, opset_version=opset, verbose=False,
                      input_names=list(program.inputs), output_names=list(program.outputs), dynamic_axes=axes)
    return ir.from_proto(onnx.load_model_from_string(stream.getvalue()))


def _fault(program: Program, exporter: Exporter, reason: str, line: str) -> FideliteError:
    details = {"exporter": exporter, "torch": torch_text(), "line": line}
    other = "torchscript" if exporter == "dynamo" else "dynamo"
    found = _NO_FUNCTION.search(reason) or _NO_SYMBOLIC.search(reason)
    if found is not None:
        name = next(group for group in found.groups() if group)
        return LoadError(f"PyTorch's {exporter} exporter has no ONNX counterpart for {name}{at(line)}", code="F367",
                         remedy=f"write it with other operators, or try the other exporter: --exporter {other}",
                         details=details | {"operator": name})
    remedy = "change that line so that it does not depend on values (torch.where in place of if)"
    if any(program.dims):
        remedy = "keep dimensions open only where the network takes any size: give the others as numbers"
    return LoadError(f"PyTorch's {exporter} exporter cannot trace {program.label}{at(line)}: {reason}", code="F366",
                     remedy=remedy, details=details)


@contextmanager
def _quiet() -> Generator[list[warnings.WarningMessage]]:
    """Nothing that the exporters say of their own insides reaches the console: they log, warn and print."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        sink = io.StringIO()
        with warnings.catch_warnings(record=True) as warned, redirect_stdout(sink), redirect_stderr(sink):
            warnings.simplefilter("always")
            yield warned
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _frozen(warned: list[warnings.WarningMessage]) -> list[Notice]:
    """W364: what tracing took for a constant although it depends on the input. Of all warnings these alone count."""
    lines = [place(w.filename, w.lineno, linecache.getline(w.filename, w.lineno)) for w in warned
             if issubclass(w.category, torch.jit.TracerWarning) and is_users(w.filename)]
    if not lines:
        return []
    return [Notice("W364", f"tracing fixed what depends on the input, at {'; '.join(dict.fromkeys(lines))}",
                   remedy="--exporter dynamo follows it, or says why not; the proof asks with several inputs",
                   level="warning")]


def _tidy(model: ir.Model) -> None:
    """Names of the weights as the user's network has them, and of the exporter's notes only the user's own line: no
    paths, nothing that differs between equal runs."""
    model.metadata_props.clear()
    model.doc_string = None
    for graph in (model.graph, *(f.graph for f in model.functions.values())):
        graph.metadata_props.clear()
        graph.doc_string = None
        for node in graph.all_nodes():
            trace = node.metadata_props.get(STACK_TRACE)
            node.metadata_props.clear()
            node.doc_string = None
            if trace and (short := _short(trace)):
                node.metadata_props[STACK_TRACE] = short
            for value in node.outputs:
                value.metadata_props.clear()
        for value in graph.inputs:
            value.metadata_props.clear()
    taken = {v.name for node in model.graph.all_nodes() for v in node.outputs}
    taken |= {v.name for v in model.graph.inputs} | set(model.graph.initializers)
    for value in list(model.graph.initializers.values()):
        value.metadata_props.clear()
        name = value.name or ""
        plain = name.removeprefix(_OURS)
        if plain != name and plain not in taken:
            value.name = plain
            if value.const_value is not None:
                value.const_value.name = plain


def _short(trace: str) -> str:
    """The innermost frame that is neither PyTorch's nor ours, with the file's bare name."""
    frames = [m for m in _FRAME.finditer(trace) if "site-packages" not in m[1] and Path(m[1]) != _FLAT]
    if not frames:
        return ""
    file, line, function, code = frames[-1].groups()
    name = re.split(r"[/\\]", file)[-1]
    return f'File "{name}", line {line}, in {function or "forward"}\n    {code.strip()}'


_FLAT = Path(structure.__file__)
