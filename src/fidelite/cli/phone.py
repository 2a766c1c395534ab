"""Options for a device over adb, and what `benchmark --adb` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import fidelite
from fidelite.cli import base
from fidelite.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def options(function: F) -> F:
    """--adb and what belongs to it; given to the command as `adb`, `serial`, `adb_benchmark_model`."""
    several = [
        click.option("--adb", is_flag=True, help="On an Android device over adb, with LiteRT's benchmark_model."),
        click.option("--serial", default="", metavar="SERIAL", help="Which device, where adb sees several."),
        click.option("--adb-benchmark-model", type=click.Path(path_type=Path), metavar="FILE",
                     help="benchmark_model for the device; /data/local/tmp/benchmark_model there by default."),
    ]
    for option in reversed(several):
        function = option(function)
    return function


def refuse_without_adb(adb: bool, serial: str, tool: Path | None) -> None:
    if not adb and (serial or tool is not None):
        raise UsageError("--serial and --adb-benchmark-model are about a device", code="F224", remedy="add --adb")


def benchmark(models: Sequence[Path], serial: str, tool: Path | None, *, threads: int, runs: int, report: Path | None,
              as_json: bool) -> None:
    """Measure .tflite files on the device, one after the other."""
    from fidelite.report.results import phone_document

    if others := [m for m in models if m.suffix.lower() != ".tflite"]:
        raise UsageError(f"benchmark_model takes .tflite files, not '{others[0].name}'", code="F224",
                         remedy=f'fidelite convert "{others[0]}"')
    if missing := [m for m in models if not m.is_file()]:
        raise UsageError(f"there is no file '{missing[0]}'", code="F224", remedy="check the path")
    with base.Bar(quiet=as_json) as bar, fidelite.connect_phone(serial, tool) as phone:
        found: list[dict[str, Any]] = []
        for number, model in enumerate(models):
            bar(f"measuring {model.name}", number / len(models))
            found.append(phone.measure(model, threads=threads, runs=runs).to_json())
    data = {"device": phone.name, "threads": threads, "models": found}
    document = phone_document(data)
    if report is not None:
        base.write_report(report, data, document)
    if as_json:
        base.print_json(data)
    else:
        base.show(document)
