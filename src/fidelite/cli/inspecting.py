"""`fidelite inspect`."""

from __future__ import annotations

from pathlib import Path

import click

import fidelite
from fidelite.cli import base, words
from fidelite.options import TARGETS


@click.command(short_help="What a model holds, and whether it converts.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,512,512",
              help="Fix the shape of an input. May be repeated.")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE",
              help="The file with the model's weights, where it has another name.")
@click.option("--target", type=click.Choice(TARGETS), help="Also say, operator by operator, what this target takes.")
@base.common
@click.pass_context
def inspect(context: click.Context, model: Path, shapes: tuple[str, ...], weights: Path | None, target: str | None,
            as_json: bool) -> None:
    """Show what MODEL (.onnx or .tflite) holds.

    Inputs and outputs, operators and whether each converts, weights (in the file, beside it, or missing), faults
    that are known, sizes and memory to expect per precision.

    Exit code 3 if weights are missing or the model contradicts itself, 4 if the target refuses the model;
    everything is shown all the same.
    """
    found = fidelite.inspect(model, shapes=words.shapes(shapes), weights=weights, target=target)
    if as_json:
        base.print_json(found.to_json())
    else:
        from fidelite.report import inspection

        base.show(inspection.document(found.to_json()))
    context.exit(found.exit_code)
