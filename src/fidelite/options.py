"""Frozen options, shared by the Python API, the command line and the web page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

Precision = Literal["float32", "float16", "dynamic-int8", "weight-int8", "weight-int4", "int8", "int16x8"]
Target = Literal["cpu", "gpu", "web", "mediapipe", "micro"]
LayoutName = Literal["source", "nhwc", "nchw"]
Task = Literal["image-segmenter", "image-classifier", "object-detector", "image-embedder"]
Activation = Literal["none", "sigmoid", "softmax"]
Exporter = Literal["dynamo", "torchscript"]
PictureType = Literal["float32", "uint8"]
IoType = Literal["float32", "int8", "uint8"]
RangeMethod = Literal["mse", "minmax", "percentile", "entropy"]

Approximation = Literal["align-corners", "gelu-tanh"]

PRECISIONS: tuple[str, ...] = get_args(Precision)
TARGETS: tuple[str, ...] = get_args(Target)
APPROXIMATIONS: tuple[str, ...] = get_args(Approximation)
LAYOUTS: tuple[str, ...] = get_args(LayoutName)
TASKS: tuple[str, ...] = get_args(Task)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
PICTURES: tuple[str, ...] = get_args(PictureType)
IO_TYPES: tuple[str, ...] = get_args(IoType)
RANGES: tuple[str, ...] = get_args(RangeMethod)
CALIBRATED = ("int8", "int16x8")
"""Precisions whose activations are integers, so that their ranges must be known."""
IMPROVEMENTS = ("bias-correction", "mse-scales")
"""What is done to keep a quantized model accurate; each can be left out."""
BOXES = ("xyxy", "yxyx", "cxcywh", "cycxhw", "cxcywh:pixels", "cycxhw:pixels")
"""How boxes may be written: corners, or centre and size; as shares of the picture, or in its pixels."""
EXPORTERS: tuple[str, ...] = get_args(Exporter)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Normalization:
    """How a picture's values become what the network was trained on: `y = (x * scale - mean) / std`.

    `mean` and `std` have one entry per channel, or one for all. `scale` is 1/255 for pictures of 0..255 where
    mean and std are stated for 0..1 (as ImageNet's are), 1 where they are stated for 0..255.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    @staticmethod
    def imagenet() -> Normalization:
        """ImageNet's figures, for pictures of 0..255."""
        return Normalization(IMAGENET_MEAN, IMAGENET_STD, 1.0 / 255.0)

    def to_json(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std), "scale": self.scale}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Normalization:
        return Normalization(tuple(data["mean"]), tuple(data["std"]), float(data["scale"]))


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a PyTorch network becomes an ONNX model. Nothing of it is for a source that is one already."""

    example_inputs: Any = None
    """A tensor, a tuple of what `forward` takes, or a mapping of its parameters' names."""
    dynamic_shapes: Any = None
    """As `torch.export.export` takes them: parameter name -> {axis: torch.export.Dim}, or a tuple in order."""
    checkpoint: Path | None = None
    """Weights for the network: a state dict, read without running anything in it."""
    exporter: Exporter | None = None
    """None: dynamo, and torchscript where that alone can (a TorchScript file, opset below 18)."""
    opset: int | None = None
    """11 to 23; None: 18."""
    input_names: tuple[str, ...] = ()
    """Names for the inputs, in order; empty: the parameters' names."""
    output_names: tuple[str, ...] = ()
    """Names for the outputs, in order; empty: the keys or fields that `forward` returns."""
    dtypes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Input name -> element type, where `shapes` alone describes it; float32 otherwise."""


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What the user may choose about a conversion. The defaults change nothing at the model's edge."""

    precision: Precision = "float32"
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict[str, tuple[int | str, ...]])
    """Input name -> its full shape. A name in the place of a number leaves that dimension open; of a PyTorch network it
    makes a dynamic dimension."""
    outputs: tuple[str, ...] = ()
    """Outputs to keep, in this order; empty: all."""
    layout: Mapping[str, LayoutName] = field(default_factory=dict[str, LayoutName])
    """Input or output name -> nhwc (channels last), nchw or source (as the model has it)."""
    normalize: Mapping[str, Normalization] = field(default_factory=dict[str, Normalization])
    """Input name ('' for the only picture input) -> normalisation that is put into the graph."""
    argmax: tuple[str, ...] = ()
    """Outputs that are replaced by the index of the largest class (int32)."""
    target: Target = "cpu"
    task: str = ""
    """A task of MediaPipe (`TASKS`) that the file is for; the target is "mediapipe" then."""
    labels: tuple[str, ...] = ()
    """Names of the task's classes, in the network's order."""
    activation: str = ""
    """What is applied to the task's scores, by MediaPipe or in the graph: one of `ACTIVATIONS`; empty: none."""
    picture: str = ""
    """Element type of the task's picture, float32 or uint8; empty: as the source has it."""
    boxes: str = ""
    """What the numbers of a detector's boxes are, such as `yxyx` or `cxcywh:pixels`."""
    approximate: tuple[str, ...] = ()
    weights: Path | None = None
    """A file that holds the external data under another name."""
    verify: bool = True
    samples: Path | None = None
    """An .npz with one array per input (a leading extra axis holds several samples), for the proof."""
    explain: bool = False
    calibration: Any = None
    """Samples from which the ranges of integers are learnt: a folder of pictures, an .npz, MODULE:FUNCTION,
    "synthetic"; in Python also arrays, a generator, or a function that yields samples."""
    ranges: RangeMethod = "mse"
    """How ranges are chosen from what the samples showed."""
    improve: tuple[str, ...] = IMPROVEMENTS
    io: IoType = "float32"
    """Element type of the inputs and outputs of an integer model that are float32 in the source."""
    export: ExportOptions = field(default_factory=ExportOptions)
    """Of a PyTorch source: how it becomes an ONNX model. In keyword arguments its fields stand by themselves."""


class ExportKeywords(TypedDict, total=False):
    """The keyword arguments of `fidelite.export`: the fields of `ExportOptions`, paths also as text."""

    dynamic_shapes: Any
    checkpoint: Path | str | None
    exporter: Exporter | None
    opset: int | None
    input_names: Sequence[str]
    output_names: Sequence[str]
    dtypes: Mapping[str, str]


class ConvertKeywords(ExportKeywords, total=False):
    """The keyword arguments of `fidelite.convert`: the fields of `ConvertOptions` and of `ExportOptions`."""

    precision: Precision
    shapes: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]
    layout: Mapping[str, LayoutName]
    normalize: Mapping[str, Normalization]
    argmax: tuple[str, ...]
    target: Target
    task: Task
    labels: Sequence[str] | Path | str
    activation: Activation
    picture: PictureType
    boxes: str
    approximate: tuple[str, ...]
    weights: Path | str | None
    verify: bool
    samples: Path | str | None
    explain: bool
    calibration: Any
    ranges: RangeMethod
    improve: Sequence[str]
    io: IoType


def factory_of(word: str) -> tuple[str, str] | None:
    """`package.module:factory` as its two parts; None for anything else, such as a Windows path `C:\\x.onnx`."""
    module, colon, name = word.rpartition(":")
    if not colon or not name.isidentifier() or len(module) < 2:
        return None
    return (module, name) if all(part.isidentifier() for part in module.split(".")) else None
