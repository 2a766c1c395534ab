"""The command line. `fidelite -h` and `--version` load neither onnx nor rich: commands import what they need."""

from __future__ import annotations

import click

import fidelite
from fidelite.cli import base, inspecting, machine, making, pytorch, running

EPILOG = (
    "Exit codes: 0 done, 1 a fault of fidelite, 2 usage, 3 the model cannot be read or contradicts itself, "
    "4 not convertible, 5 results differ or are not proven."
)


@click.group(cls=base.Group, context_settings=base.CONTEXT, epilog=EPILOG)
@click.version_option(fidelite.__version__, "--version", prog_name="fidelite")
def cli() -> None:
    """Turn a PyTorch or ONNX model into a LiteRT (.tflite) model that computes the same, and prove it."""


for command in (
    inspecting.inspect,
    making.convert,
    making.verify,
    running.benchmark,
    running.run,
    pytorch.export,
    machine.ops,
    machine.doctor,
    machine.demo,
    machine.serve,
):
    cli.add_command(command)


def main() -> None:
    """The entry point of `fidelite` and `python -m fidelite`."""
    base.safe_streams()
    cli(prog_name="fidelite")
