"""Options for PyTorch sources, and `fidelite export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import fidelite
from fidelite.cli import base, words
from fidelite.errors import OutputError
from fidelite.options import EXPORTERS, factory_of

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)


def options(function: F) -> F:
    """How a PyTorch network becomes an ONNX model."""
    found = [
        click.option("--checkpoint", type=_FILE, metavar="FILE",
                     help="PyTorch: the weights (a state dict) for PACKAGE.MODULE:FACTORY."),
        click.option("--dtype", "dtypes", multiple=True, metavar="NAME=int64",
                     help="PyTorch: the element type of an input given by --shape; float32 by default."),
        click.option("--exporter", type=click.Choice(EXPORTERS),
                     help="PyTorch: which of its exporters; dynamo, or torchscript where that alone can."),
        click.option("--opset", type=int, metavar="11..23",
                     help="PyTorch: version of ONNX's operators; 18 by default."),
        click.option("--input-names", multiple=True, metavar="NAME,...",
                     help="PyTorch: names for the inputs; those of forward's parameters by default."),
        click.option("--output-names", multiple=True, metavar="NAME,...",
                     help="PyTorch: names for the outputs; the keys or fields that forward returns by default."),
    ]
    for option in reversed(found):
        function = option(function)
    return function


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Options as `fidelite.convert` and `fidelite.export` take them."""
    return {
        "checkpoint": given["checkpoint"],
        "dtypes": words.pairs(given["dtypes"], "--dtype", "NAME=int64"),
        "exporter": given["exporter"],
        "opset": given["opset"],
        "input_names": words.names(given["input_names"]),
        "output_names": words.names(given["output_names"]),
    }


@click.command(short_help="PyTorch to ONNX, proven.")
@click.argument("model", type=_FILE)
@click.option("-o", "--output", type=_FILE, metavar="OUT.onnx",
              help="The file to write; FACTORY.onnx here, or MODEL's name with .onnx beside it, by default.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,512,512",
              help="The shape of an input, with names for open dimensions (N,3,H:512,W:512; the numbers are examples). "
                   "May be repeated.")
@options
@click.option("--external-data", is_flag=True, help="Put the weights into OUT.onnx.data beside the file.")
@click.option("--samples", type=_FILE, metavar="FILE.npz", help="Inputs of your own for the proof.")
@click.option("--no-verify", is_flag=True, help="Do not compare ONNX Runtime with PyTorch.")
@base.common
def export(model: Path, output: Path | None, shapes: tuple[str, ...], external_data: bool, samples: Path | None,
           no_verify: bool, as_json: bool, **given: Any) -> None:
    """Write a PyTorch network as an ONNX file, and prove that it computes the same.

    MODEL is PACKAGE.MODULE:FACTORY (a function or class that gives the network), a .pt2 or TorchScript file, or a
    checkpoint of a network that fidelite ships (79999_iter.pth of BiSeNet face parsing).

    The weights are in the file, so that nothing is lost when it is copied; above 2 GB they lie beside it.
    """
    program = factory_of(str(model)) if not model.exists() else None
    target = output or (Path(f"{program[1]}.onnx") if program is not None else model.with_suffix(".onnx"))
    if target.exists() and model.exists() and target.samefile(model):
        raise OutputError(f"'{target}' is the model itself: it would be overwritten",
                          remedy=f"-o {target.stem}.out.onnx")
    if not target.parent.is_dir():
        raise OutputError(f"the folder '{target.parent}' does not exist", code="F212",
                          remedy=f'create it first: mkdir "{target.parent}"')
    with base.Bar(quiet=as_json) as bar:
        found = fidelite.export(str(model) if program is not None else model, target, external_data=external_data,
                                shapes=words.open_shapes(shapes), verify=not no_verify, samples=samples,
                                on_progress=bar, **arguments(given))
    data = found.to_json()
    if as_json:
        base.print_json(data)
        return
    from fidelite.report.exporting import document

    base.show(document(str(model), data))
