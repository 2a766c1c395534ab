"""`fidelite run` and `benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import fidelite
from fidelite.cli import base, words
from fidelite.cli import phone as phones
from fidelite.errors import UsageError

_PATH = click.Path(path_type=Path)


@click.command(short_help="Latency, memory and load time, side by side.")
@click.argument("models", nargs=-1, required=True, type=_PATH, metavar="MODEL...")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads for each runtime.")
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, help="Timed runs per model and round.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds; models take turns.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,512,512",
              help="Sizes for open dimensions; 1 otherwise.")
@click.option("--samples", type=_PATH, metavar="FILE.npz", help="Inputs of your own; the first sample is used.")
@click.option("--report", type=_PATH, metavar="FILE.html|FILE.json", help="Write a report, too.")
@phones.options
@base.common
def benchmark(models: tuple[Path, ...], threads: int, runs: int, rounds: int, shapes: tuple[str, ...],
              samples: Path | None, report: Path | None, adb: bool, serial: str, adb_benchmark_model: Path | None,
              as_json: bool) -> None:
    """Measure MODELs (.onnx and .tflite, mixed), each in a process of its own.

    Median and 90th percentile of the latency, time to load, peak memory, and how many operators XNNPACK takes.
    With --adb, .tflite files on an Android device, on inputs that benchmark_model makes up.
    """
    from fidelite.report.results import benchmark_document

    phones.refuse_without_adb(adb, serial, adb_benchmark_model)
    if adb:
        phones.benchmark(models, serial, adb_benchmark_model, threads=threads, runs=runs, report=report,
                         as_json=as_json)
        return
    with base.Bar(quiet=as_json) as bar:
        found = fidelite.benchmark(models, threads=threads, runs=runs, rounds=rounds, shapes=words.shapes(shapes),
                                   samples=samples, on_progress=bar)
    data = found.to_json()
    document = benchmark_document(data)
    if report is not None:
        base.write_report(report, data, document)
    if as_json:
        base.print_json(data)
    else:
        base.show(document)


@click.command(short_help="Run a model on a picture, on arrays or on random input.")
@click.argument("model", type=_PATH)
@click.option("--input", "source", type=_PATH, metavar="PICTURE|FILE.npz", help="A picture, or arrays by input name.")
@click.option("--random", "random_", is_flag=True, help="Made-up input instead.")
@click.option("--seed", type=int, default=0, show_default=True, help="For --random.")
@click.option("--compare", "others", multiple=True, type=_PATH, metavar="MODEL",
              help="Run these on the same input, too, and show what differs from the first. May be repeated.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,512,512",
              help="Sizes for open dimensions, with --random (1 otherwise); what a PyTorch network takes.")
@click.option("--checkpoint", type=_PATH, metavar="FILE", help="Weights for PACKAGE.MODULE:FACTORY.")
@click.option("--normalize", "presets", multiple=True, metavar="[NAME=]imagenet",
              help="How pictures of 0..255 are normalised before the model.")
@click.option("--mean", "means", multiple=True, metavar="[NAME=]M,M,M", help="y = (x * scale - mean) / std.")
@click.option("--std", "stds", multiple=True, metavar="[NAME=]S,S,S", help="See --mean.")
@click.option("--scale", "scales", multiple=True, metavar="[NAME=]1/255", help="See --mean.")
@click.option("--layout", "layouts", multiple=True, metavar="NAME=nhwc|nchw", help="Where the shape does not tell.")
@click.option("--labels", type=_PATH, metavar="FILE", help="Names of the classes, one per line.")
@click.option("--outputs", multiple=True, metavar="NAME,...",
              help="Segmentations to write; the first by default.")
@click.option("-o", "--out", "folder", type=_PATH, default=Path(), metavar="FOLDER",
              help="Where pictures are written; here by default.")
@click.option("--save", type=_PATH, metavar="FILE.npz", help="Write all outputs as arrays, too.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads for the runtime.")
@base.common
def run(model: Path, source: Path | None, random_: bool, seed: int, shapes: tuple[str, ...], folder: Path,
        save: Path | None, outputs: tuple[str, ...], others: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Run MODEL (.onnx, .tflite, or PyTorch's as `convert` takes it) and show what comes out.

    A picture may have any size and format: it is turned upright, resized (bilinear, aspect ratio not kept) and
    normalised as the model's own description or your options say. A segmentation is written at the picture's size:
    index mask, colours, and an overlay with a legend. Otherwise the largest classes, and the ranges of all outputs.

    With --compare the models go side by side into one picture, the first of --compare first and MODEL last, with the
    pixels that differ from the first one's.
    """
    if (source is None) == (not random_):
        raise UsageError("give either --input or --random", code="F248",
                         remedy=f'fidelite run "{model}" --input PICTURE.jpg')
    if others:
        _compare([*others, model], source, seed, shapes, folder, as_json=as_json, **given)
        return
    with _runner(model, shapes, given) as runner, base.Bar(quiet=as_json) as bar:
        bar("running", 0.0)
        what, found = _runs(runner, source, seed, shapes)
    written: list[tuple[Path, str]] = []
    if source is not None and found[0].segmentations:
        _make(folder)
        written = found[0].save(folder, source.stem, words.names(outputs))
    if save is not None:
        _save(save, found)
    _tell(model, what, found, written, as_json=as_json)


def _runner(model: Path, shapes: Sequence[str], given: Mapping[str, Any]) -> fidelite.Runner:
    of_pytorch = model.suffix.lower() not in (".onnx", ".tflite")
    return fidelite.Runner(
        model, threads=given["threads"], layout=words.layouts(given["layouts"]),
        normalize=words.normalizations(given["presets"], given["means"], given["stds"], given["scales"]),
        labels=None if given["labels"] is None else _labels(given["labels"]),
        shapes=words.open_shapes(shapes) if of_pytorch else None,
        checkpoint=given["checkpoint"] if of_pytorch or not given.get("compared") else None,
    )


def _compare(models: Sequence[Path], source: Path | None, seed: int, shapes: Sequence[str], folder: Path, *,
             as_json: bool, **given: Any) -> None:
    """One input through all models, one model in memory at a time."""
    from fidelite.report.results import comparison_document

    runs: list[tuple[str, fidelite.Run]] = []
    what = ""
    with base.Bar(quiet=as_json) as bar:
        for number, model in enumerate(models):
            bar(f"running {model.name}", number / len(models))
            with _runner(model, shapes, given | {"compared": True}) as runner:
                what, found = _runs(runner, source, seed, shapes)
            runs.append((model.name, found[0]))
    comparison = fidelite.compare(runs, runs[0][1].picture)
    if source is not None:
        _make(folder)
        comparison.save(folder, source.stem)
    data = comparison.to_json()
    if as_json:
        base.print_json(data)
    else:
        base.show(comparison_document(what, data))


def _runs(
    runner: fidelite.Runner, source: Path | None, seed: int, shapes: Sequence[str]
) -> tuple[str, list[fidelite.Run]]:
    if source is None:
        return f"random input (seed {seed})", [runner.random(seed, words.shapes(shapes))]
    if source.suffix.lower() == ".npz":
        return source.name, [runner.run_arrays(sample) for sample in runner.samples(source)]
    return source.name, [runner(source)]


def _tell(
    model: Path, what: str, found: Sequence[fidelite.Run], written: list[tuple[Path, str]], *, as_json: bool
) -> None:
    from fidelite.report.results import run_document

    if as_json:
        runs = [run.to_json() for run in found]
        base.print_json({"model": str(model), "runs": runs, "written": [str(path) for path, _ in written]})
        return
    for number, run_ in enumerate(found):
        name = f"{what}, sample {number}" if len(found) > 1 else what
        base.show(run_document(str(model), name, run_.to_json(), written if number == 0 else ()))
        if number + 1 < len(found):
            click.echo()


def _labels(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the labels in '{path}' cannot be read: {error}", code="F249",
                         remedy="a text file in UTF-8 with one name per line") from error
    return [line.strip() for line in lines if line.strip()]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from fidelite.errors import OutputError

        raise OutputError(f"the folder '{folder}' cannot be made: {error.strerror or error}", code="F215",
                          remedy="choose another place: -o FOLDER") from error


def _save(path: Path, found: Sequence[fidelite.Run]) -> None:
    import io

    import numpy as np

    arrays = {name: np.stack([r.outputs[name] for r in found]) if len(found) > 1 else array
              for name, array in found[0].outputs.items()}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    base.write_bytes(path, stream.getvalue())
