"""`fidelite convert` and `verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import click

import fidelite
from fidelite.cli import base, pytorch, quantizing, words
from fidelite.cli import phone as phones
from fidelite.errors import FideliteError, OutputError, Several, UsageError, VerificationError
from fidelite.options import ACTIVATIONS, APPROXIMATIONS, BOXES, PICTURES, PRECISIONS, TARGETS, TASKS, factory_of

F = TypeVar("F", bound=Callable[..., Any])

_STAGES = {"read": "reading", "prepare": "preparing", "lower": "lowering", "optimize": "optimizing",
           "calibrate": "calibrating", "quantize": "quantizing", "write": "writing", "verify": "proving",
           "device": "trying on the target", "approximate": "approximating", "SavedModel": "saving for TensorFlow"}


def _file(**more: Any) -> Any:
    return click.Path(path_type=Path, **more)


def _edge_options(function: F) -> F:
    """Options that change what the model takes and gives."""
    options = [
        click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,512,512",
                     help="Fix the shape of an input whose dimensions are open; of a PyTorch network, the shape "
                          "that it takes, with names for open dimensions (N,3,H:512,W:512). May be repeated."),
        click.option("--outputs", multiple=True, metavar="NAME,...",
                     help="Keep these outputs, in this order, and drop what only served the others."),
        click.option("--layout", "layouts", multiple=True, metavar="NAME=nhwc|nchw",
                     help="Layout of an input or output; as the source has it by default. May be repeated."),
        click.option("--normalize", "presets", multiple=True, metavar="[NAME=]imagenet",
                     help="Put ImageNet's normalisation of pictures of 0..255 into the graph."),
        click.option("--mean", "means", multiple=True, metavar="[NAME=]M,M,M",
                     help="Put y = (x * scale - mean) / std into the graph; 0 by default."),
        click.option("--std", "stds", multiple=True, metavar="[NAME=]S,S,S", help="See --mean; 1 by default."),
        click.option("--scale", "scales", multiple=True, metavar="[NAME=]1/255", help="See --mean; 1 by default."),
        click.option("--argmax", multiple=True, metavar="NAME,...",
                     help="Replace an output by the index of its largest class (int32)."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _choices(function: F) -> F:
    """Options about how the model is converted."""
    options = [
        click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
                     help="Element type of the weights (and of what is computed, for int8 and int16x8)."),
        click.option("--target", type=click.Choice(TARGETS), default="cpu", show_default=True,
                     help="What the model is to run on."),
        click.option("--task", type=click.Choice(TASKS), help="A task of MediaPipe: layout, labels and what else it "
                     "reads are made for it."),
        click.option("--labels", type=_file(), metavar="FILE",
                     help="Names of the task's classes, one per line, in the network's order."),
        click.option("--activation", type=click.Choice(ACTIVATIONS),
                     help="What is applied to the task's scores; none by default."),
        click.option("--picture", type=click.Choice(PICTURES),
                     help="Element type of the task's picture; as the source has it by default."),
        click.option("--boxes", type=click.Choice(BOXES), help="What the four numbers of a detector's boxes are."),
        click.option("--approximate", multiple=True, metavar="RULE,...",
                     help=f"Allow an approximation: {', '.join(APPROXIMATIONS)}. The report tells what it changed."),
        click.option("--weights", type=_file(), metavar="FILE",
                     help="The file with the model's weights, where it has another name."),
        click.option("--samples", type=_file(), metavar="FILE.npz", help="Inputs of your own for the proof."),
        click.option("--no-verify", is_flag=True, help="Do not prove the result; the file will say so."),
        click.option("--explain", is_flag=True, help="Say where passes left the graph alone, and why."),
        click.option("--c-array", type=_file(), metavar="FILE.cc",
                     help="Write the file as a C array, too (FILE.cc and FILE.h)."),
        click.option("--saved-model", type=_file(), metavar="FOLDER",
                     help="Write a TensorFlow SavedModel of the same graph, too, proven in TensorFlow."),
        click.option("--report", type=_file(), metavar="FILE.html|FILE.json", help="Write a report, too."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command(short_help="Convert a model to .tflite, and prove it.")
@click.argument("model", type=_file())
@click.option("-o", "--output", type=_file(), metavar="OUT.tflite",
              help="The file to write; MODEL's name with .tflite, beside it, by default.")
@_edge_options
@_choices
@quantizing.options
@pytorch.options
@base.common
def convert(model: Path, output: Path | None, report: Path | None, c_array: Path | None, saved_model: Path | None,
            as_json: bool, **given: Any) -> None:
    """Convert MODEL to LiteRT, and prove that the result computes the same.

    MODEL is an .onnx file, or PyTorch's: PACKAGE.MODULE:FACTORY (a function or class that gives the network), a .pt2
    or TorchScript file, a checkpoint of a network that fidelite ships (79999_iter.pth of BiSeNet face parsing).

    Source and result are run on the same inputs; the file is written only if they agree. Inputs and outputs keep
    their names, order, shapes and types unless you say otherwise.
    """
    program = factory_of(str(model)) if not model.exists() else None
    target = output or (Path(f"{program[1]}.tflite") if program is not None else model.with_suffix(".tflite"))
    if c_array is not None:
        _check_c_array(c_array)
    if output is not None or program is not None or (model.exists() and target != model):
        _check_target(target, model)
    if report is not None and report.suffix.lower() not in (".html", ".htm", ".json"):
        raise UsageError(f"a report is a .html or a .json file, not '{report.name}'", code="F240",
                         remedy="--report report.html")
    if saved_model is not None:
        fidelite.check_saved_model_place(saved_model)
    arguments = _arguments(given)
    with base.Bar(quiet=as_json) as bar:
        try:
            result = fidelite.convert(str(model) if program is not None else model,
                                      on_progress=lambda s, d: bar(_STAGES.get(s, s), d), **arguments)
        except VerificationError as error:
            raise _with_evidence(error, target, model) from error
        if saved_model is not None:
            result.save_saved_model(saved_model, lambda s, d: bar(_STAGES.get(s, s), d))
        bar("writing", 0.0)
        if is_c_array(target):
            result.save_c_array(target)
        else:
            result.save(target)
        if c_array is not None:
            result.save_c_array(c_array)
        data = fidelite.describe(result, target)
        if is_c_array(target):
            data["result"]["bytes"] = len(result.bytes)
    _tell(data, target, report, as_json=as_json)


def is_c_array(path: Path) -> bool:
    """Whether `-o` names a C source: then the model is written as an array, and no .tflite."""
    return path.suffix.lower() in (".c", ".cc", ".cpp")


def _check_c_array(path: Path) -> None:
    if not is_c_array(path):
        raise UsageError(f"a C array is a .c, .cc or .cpp file, not '{path.name}'", code="F280",
                         remedy="--c-array model.cc")
    if not path.parent.is_dir():
        raise OutputError(f"the folder '{path.parent}' does not exist", code="F212",
                          remedy=f'create it first: mkdir "{path.parent}"')


def _check_target(target: Path, model: Path) -> None:
    """Say at once what would only come out after the work was done."""
    if target.exists() and model.exists() and target.samefile(model):
        raise OutputError(f"'{target}' is the model itself: it would be overwritten",
                          remedy=f"-o {target.stem}.tflite")
    if target.is_dir():
        raise OutputError(f"'{target}' is a folder", code="F211", remedy="give a file name: -o NAME.tflite")
    if not target.parent.is_dir():
        raise OutputError(f"the folder '{target.parent}' does not exist", code="F212",
                          remedy=f'create it first: mkdir "{target.parent}"')


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Options as `fidelite.convert` takes them."""
    return {
        "precision": given["precision"],
        "shapes": words.open_shapes(given["shapes"]),
        "outputs": words.names(given["outputs"]),
        "layout": words.layouts(given["layouts"]),
        "normalize": words.normalizations(given["presets"], given["means"], given["stds"], given["scales"]),
        "argmax": words.names(given["argmax"]),
        "target": given["target"],
        "task": given["task"],
        "labels": given["labels"],
        "activation": given["activation"],
        "picture": given["picture"],
        "boxes": given["boxes"],
        "approximate": words.names(given["approximate"]),
        "weights": given["weights"],
        "verify": not given["no_verify"],
        "samples": given["samples"],
        "explain": given["explain"],
        **quantizing.arguments(given),
        **pytorch.arguments(given),
    }


def _tell(data: dict[str, Any], target: Path, report: Path | None, *, as_json: bool) -> None:
    from fidelite.report import conversion
    from fidelite.report.figures import quoted

    commands = [(f"fidelite run {quoted(target)} --input PICTURE.jpg", "try it on a picture")]
    if data["source"]["path"] is not None:
        commands.append((f"fidelite benchmark {quoted(data['source']['path'])} {quoted(target)}", "compare the two"))
    document = conversion.document(data, commands=[] if is_c_array(target) else commands)
    if report is not None:
        base.write_report(report, data, document)
    if as_json:
        base.print_json(data)
        return
    base.show(document)
    if report is not None:
        click.echo(f"\nreport: {report}")


def _with_evidence(error: VerificationError, target: Path, source: Path) -> FideliteError:
    """The error, told with where the failing file and its figures were kept. Nothing is published."""
    evidence: fidelite.Conversion | None = error.evidence
    if evidence is None:
        return error
    model, report = target.with_suffix(".failed.tflite"), target.with_suffix(".failed.json")
    try:
        evidence.save(model)
        data = fidelite.describe(evidence, model) | {"error": error.to_json()}
        base.write_text(report, json.dumps(data, indent=2, ensure_ascii=False))
    except FideliteError as second:
        return Several([error, second])
    error.details |= {"kept": [str(model), str(report)]}
    error.reason += f" Nothing was published. Kept for study: '{model}' and '{report}'."
    if "OUT.tflite" in error.remedy:
        from fidelite.report.figures import quoted

        if evidence.source.path is not None:
            error.remedy = f"fidelite verify {quoted(evidence.source.path)} {quoted(model)} --bisect"
        else:  # bisect asks the values inside of an ONNX model
            error.remedy = (f"fidelite export {quoted(source)} -o model.onnx (with the same options), then: "
                            f"fidelite verify model.onnx {quoted(model)} --bisect")
    return error


@click.command(short_help="Compare a model with its .tflite.")
@click.argument("model", type=_file())
@click.argument("result", type=_file(), metavar="OUT.tflite")
@click.option("--samples", type=_file(), metavar="FILE.npz", help="Inputs of your own to compare on.")
@click.option("--weights", type=_file(), metavar="FILE", help="The file with MODEL's weights, if not where it says.")
@click.option("--bisect", is_flag=True, help="Name the first node that differs, and write the model cut down to it.")
@phones.options
@base.common
def verify(model: Path, result: Path, samples: Path | None, weights: Path | None, bisect: bool, adb: bool, serial: str,
           adb_benchmark_model: Path | None, as_json: bool) -> None:
    """Run MODEL (.onnx) and OUT.tflite on the same inputs and compare every output.

    Exit code 5 if they differ, or if the comparison could not have failed.
    """
    phones.refuse_without_adb(adb, serial, adb_benchmark_model)
    more: dict[str, Any] = {} if weights is None else {"weights": weights}
    with base.Bar(quiet=as_json) as bar, ExitStack() as stack:
        phone = stack.enter_context(fidelite.connect_phone(serial, adb_benchmark_model)) if adb else None
        found = fidelite.verify(model, result, samples=samples, bisect=bisect, phone=phone, on_progress=bar, **more)
    if as_json:
        base.print_json(found.to_json())
    else:
        from fidelite.report import conversion

        base.show(conversion.verification_document(str(model), str(result), found.to_json()))
    click.get_current_context().exit(0 if found.proven else 5)
