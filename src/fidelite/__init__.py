"""fidelite turns a PyTorch or ONNX model into a LiteRT (.tflite) model that computes the same thing, and proves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from fidelite.benchmarking import Benchmark
    from fidelite.comparing import Comparison
    from fidelite.errors import FideliteError as FideliteError
    from fidelite.examples.face_parsing.demo import Demo
    from fidelite.exporting import ExportedFile as ExportedFile
    from fidelite.health import Check
    from fidelite.inspection import Inspection
    from fidelite.optable import OpSupport
    from fidelite.options import ConvertKeywords, ExportKeywords
    from fidelite.options import ConvertOptions as ConvertOptions
    from fidelite.options import Normalization as Normalization
    from fidelite.phone.device import Phone
    from fidelite.pipeline import AnyModel
    from fidelite.pipeline import Conversion as Conversion
    from fidelite.running import Run as Run
    from fidelite.running import Runner as Runner
    from fidelite.verification import Verified
    from fidelite.web import Served

__version__ = "0.1.0"


def convert(model: AnyModel, example_inputs: Any = None, *,
            on_progress: Callable[[str, float], None] | None = None,
            **options: Unpack[ConvertKeywords]) -> Conversion:
    """Convert an ONNX or PyTorch model and prove the result.

    Args:
        model: An ONNX file, `onnx_ir.Model` or `onnx.ModelProto`; or a `torch.nn.Module`, an ExportedProgram, the text
            `"package.module:factory"`, a `.pt2` or TorchScript file, a checkpoint of a network that fidelite ships.
        example_inputs: For PyTorch: a tensor, a tuple of what `forward` takes, or a mapping of its parameters' names.
        on_progress: Called with the stage's name and how much of it is done, 0 to 1.
        options: The fields of `fidelite.options.ConvertOptions` and `ExportOptions`.

    Raises a `fidelite.errors.FideliteError`: LoadError, ConversionError (all refusals at once), Mismatch or NotProven,
    UsageError.
    """
    from fidelite import pipeline

    given = dict(options) | ({} if example_inputs is None else {"example_inputs": example_inputs})
    return pipeline.convert(model, pipeline.options_of(given), on_progress)


def export(model: Any, path: Path | str, example_inputs: Any = None, *, external_data: bool = False,
           shapes: Mapping[str, Sequence[int | str]] | None = None, verify: bool = True,
           samples: Path | str | None = None, on_progress: Callable[[str, float], None] | None = None,
           **options: Unpack[ExportKeywords]) -> ExportedFile:
    """Write a PyTorch network as an ONNX file, and prove that it computes the same. See `fidelite.exporting.export`."""
    from fidelite import exporting, pipeline

    given = {"example_inputs": example_inputs, "shapes": dict(shapes or {}), "verify": verify, "samples": samples}
    checked = pipeline.options_of(given | dict(options))
    return exporting.export(model, path, checked, external_data=external_data, on_progress=on_progress)


def verify(model: Path | str, tflite: Path | str, **options: Any) -> Verified:
    """Compare a `.tflite` file with the ONNX file it came from. See `fidelite.verification.verify`."""
    from fidelite import verification

    return verification.verify(model, tflite, **options)


def inspect(model: Path | str, *, shapes: Mapping[str, Sequence[int]] | None = None,
            weights: Path | str | None = None, target: str | None = None) -> Inspection:
    """What an `.onnx` or `.tflite` file holds, whether it converts, and what a target says of it, operator by operator.

    See `fidelite.inspection.inspect`.
    """
    from fidelite import inspection

    return inspection.inspect(model, shapes=shapes, weights=weights, target=target)


def describe(result: Conversion, file: Path | str | None = None) -> dict[str, Any]:
    """Figures of a conversion as plain data, for reports. See `fidelite.summary.describe`."""
    from fidelite import summary

    return summary.describe(result, file)


def compare(runs: Sequence[tuple[str, Run]], picture: Any = None) -> Comparison:
    """Compare several models' runs on one input with the first. See `fidelite.comparing.compare`."""
    from fidelite import comparing

    return comparing.compare(runs, picture)


def connect_phone(serial: str = "", tool: Path | str | None = None) -> Phone:
    """An Android device over adb, for `verify(phone=...)` and `phone.measure`. See `fidelite.phone.device.Phone`."""
    from pathlib import Path

    from fidelite.phone import device

    return device.Phone(serial, None if tool is None else Path(tool))


def check_saved_model_place(folder: Path | str) -> None:
    """Raise what would stop a SavedModel in `folder`. See `fidelite.saving.places.check_place`."""
    from pathlib import Path

    from fidelite.saving.places import check_place

    check_place(Path(folder))


def benchmark(models: Sequence[Path | str], *, threads: int = 1, runs: int = 20, rounds: int = 3,
              **options: Any) -> Benchmark:
    """Measure `.onnx` and `.tflite` files in turns. See `fidelite.benchmarking.benchmark`."""
    from fidelite import benchmarking

    return benchmarking.benchmark(models, threads=threads, runs=runs, rounds=rounds, **options)


def usage(model: Path | str, **options: Any) -> dict[str, Any]:
    """How a picture becomes a `.tflite` file's input, and what its outputs mean. See `fidelite.using.usage`."""
    from fidelite.using import usage

    return usage(model, **options)


def serve(model: Path | str | None = None, **options: Any) -> Served:
    """Serve a page on this machine that looks at models, converts them and runs them. See `fidelite.web.serve`."""
    from fidelite.web import serve

    return serve(model, **options)


def ops() -> list[OpSupport]:
    """Every operator that converts, in which schema versions, and what of it is refused."""
    from fidelite import optable

    return optable.ops()


def lowers(name: str, *, since: int = 1) -> Callable[[Any], Any]:
    """Teach fidelite an operator of your own: `@fidelite.lowers("my.domain::MyOp")` on `f(node, b) -> Tensor`.

    `node` is a `fidelite.lower.node.Node`, `b` a `fidelite.tflite.builder.Builder`. A lowering of an operator that
    fidelite knows takes the place of its own.
    """
    from fidelite.lower.registry import lowers_own

    return lowers_own(name, since=since)


def doctor() -> list[Check]:
    """Look at everything that conversion and proof need on this machine. See `fidelite.health.doctor`."""
    from fidelite import health

    return health.doctor()


def demo(folder: Path | str = "demo-output", **options: Any) -> Demo:
    """Do the main job on the embedded network. See `fidelite.examples.face_parsing.demo.demo`."""
    from fidelite.examples.face_parsing.demo import demo

    return demo(folder, **options)


_HOMES = {
    "Conversion": "fidelite.pipeline",
    "Run": "fidelite.running",
    "Runner": "fidelite.running",
    "FideliteError": "fidelite.errors",
    "ConvertOptions": "fidelite.options",
    "Normalization": "fidelite.options",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
