"""What a task asks of a model's edge: which outputs stay, channels last, normalisation in the graph, labels that fit.

Only what the user left open is filled in. Whether the result is what MediaPipe takes is for its profile
(`targets/mediapipe.py`) to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from fidelite.edge import Edge, ElementEdge, InputEdge, OutputEdge
from fidelite.errors import FideliteError, Notice, UsageError
from fidelite.options import ACTIVATIONS, ConvertOptions, LayoutName
from fidelite.tasks.card import Boxes, Card

if TYPE_CHECKING:
    from fidelite.tflite.graph import Model, Tensor

_COLOURS = 3
_SIDEWAYS = frozenset({"TRANSPOSE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
# How boxes may be written: by detectors with four outputs, and by those with two.
BOX_ORDERS = {4: ("xyxy", "yxyx"), 2: ("cycxhw", "cxcywh")}
_SWAP = (1, 0, 3, 2)


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """`options` with the edge filled in, the card, and what does not fit."""

    options: ConvertOptions
    card: Card
    problems: tuple[FideliteError, ...] = ()
    notices: tuple[Notice, ...] = ()
    as_bytes: str = ""
    """The float32 picture that becomes uint8."""

    def edge(self, edge: Edge) -> Edge:
        """The edge with what no other option says: the picture's type, classes' activation, the order in boxes."""
        inputs, outputs = dict(edge.inputs), dict(edge.outputs)
        if self.card.boxes is not None and self.card.boxes.order == "cxcywh":
            name = self.options.outputs[0]
            outputs[name] = replace(outputs.get(name, OutputEdge()), columns=_SWAP)
        if self.options.task == "image-classifier" and self.options.activation not in ("", "none"):
            for name in self.options.outputs:
                outputs[name] = replace(outputs.get(name, OutputEdge()), activation=self.options.activation)
        if self.as_bytes:
            cast = ElementEdge("uint8", "float32")
            inputs[self.as_bytes] = replace(inputs.get(self.as_bytes, InputEdge()), element=cast)
        return Edge(inputs, outputs)


def kept_outputs(options: ConvertOptions, outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs that stay: those that were named; else the first, or all of a detector."""
    if options.outputs or not options.task:
        return options.outputs
    return tuple(outputs) if options.task == "object-detector" else tuple(outputs[:1])


def pruned(options: ConvertOptions, outputs: Sequence[str]) -> list[Notice]:
    """What to say where outputs were left out without being asked."""
    dropped = [name for name in outputs if name not in kept_outputs(options, outputs)]
    if options.outputs or not dropped:
        return []
    names = ", ".join(f"'{name}'" for name in dropped)
    return [Notice("N480", f"of {len(outputs)} outputs the first, '{outputs[0]}', is kept; {names} and what only "
                   "served them are left out", remedy=f"another: --outputs {dropped[0]}")]


def plan_task(options: ConvertOptions, model: Model) -> TaskPlan:
    """What `options.task` asks of a lowered model, whose inputs and outputs are still the source's own."""
    main = model.main
    problems: list[FideliteError] = []
    layout = dict(options.layout)
    picture = main.inputs[0] if len(main.inputs) == 1 else None
    first = False
    if picture is not None:
        first = _channels_first(picture, layout)
        layout.setdefault(picture.name, "nhwc" if first else "source")
        problems += _normalization(options, picture)
    problems += _layouts(options, [*main.inputs, *main.outputs[-1:]])
    for tensor, wanted in _output_layouts(options, main.outputs, picture, first):
        layout.setdefault(tensor.name, wanted)
    is_float = picture is not None and picture.element.name == "FLOAT32"
    as_bytes = picture.name if picture is not None and is_float and options.picture == "uint8" else ""
    stated = is_float and not as_bytes
    unfit = _labels(options, main.outputs, layout)
    card = Card(options.task, () if unfit else options.labels, options.activation or "none", (0.0,) if stated else (),
                (1.0,) if stated else (), _boxes(options, picture, layout) if options.boxes else None)
    problems += [*unfit, *_activation(options, main.outputs, layout),
                 *_box_problems(options, main.outputs)]
    filled = replace(options, layout=layout, outputs=tuple(t.name for t in main.outputs))
    return TaskPlan(filled, card, tuple(problems), tuple(_advice(options, main.outputs, layout)), as_bytes)


def _channels_first(picture: Tensor, layout: dict[str, LayoutName]) -> bool:
    if picture.name in layout or picture.rank != 4:
        return layout.get(picture.name) == "nhwc"
    return picture.shape[1] == _COLOURS


def _layouts(options: ConvertOptions, tensors: Sequence[Tensor]) -> list[FideliteError]:
    return [UsageError(f"MediaPipe reads '{t.name}' with channels last, and --layout asks for nchw", code="F276",
                       remedy=f"leave --layout {t.name}=nchw out")
            for t in tensors if options.layout.get(t.name) == "nchw" and t.rank == 4]


def _normalization(options: ConvertOptions, picture: Tensor) -> list[FideliteError]:
    if options.picture == "float32" and picture.element.name != "FLOAT32":
        return [UsageError(f"'{picture.name}' is {picture.element.name.lower()} in the source, and float32 pictures "
                           "are asked for", code="F277", remedy="leave --picture out")]
    if picture.element.name != "FLOAT32" or {"", picture.name} & set(options.normalize):
        return []
    return [UsageError(f"MediaPipe must know how pictures become '{picture.name}', and neither the model nor the "
                       "options say it", code="F273",
                       remedy="--normalize imagenet; or --mean, --std and --scale 1/255, as in training; or --scale 1 "
                              "if the network takes 0..255")]


def _output_layouts(options: ConvertOptions, outputs: Sequence[Tensor], picture: Tensor | None,
                    first: bool) -> list[tuple[Tensor, LayoutName]]:
    """Masks and boxes whose channels are not last: a mask goes as the picture does, unless only the other way has the
    picture's proportions; boxes and scores go by where the four numbers are."""
    if options.task == "image-segmenter" and outputs:
        mask = outputs[-1]
        if mask.rank == 4 and picture is not None and picture.rank == 4:
            return [(mask, "nhwc" if _mask_first(mask, picture, first) else "source")]
    if options.task == "object-detector" and len(outputs) == 2 and all(t.rank == 3 for t in outputs):
        boxes, scores = outputs
        moved = boxes.shape[1] == 4 and boxes.shape[2] != 4
        count = boxes.shape[2 if moved else 1]
        turned = scores.shape[2] == count and scores.shape[1] != count
        return [(boxes, "nhwc" if moved else "source"), (scores, "nhwc" if turned else "source")]
    return []


def _mask_first(mask: Tensor, picture: Tensor, first: bool) -> bool:
    if not mask.is_static or not picture.is_static:
        return first
    p, m = picture.static_shape, mask.static_shape
    height, width = (p[2], p[3]) if first else (p[1], p[2])
    fits_first, fits_last = m[2] * width == m[3] * height, m[1] * width == m[2] * height
    return fits_first if fits_first != fits_last else first


def _classes(task: str, tensor: Tensor, layout: dict[str, LayoutName]) -> int | None:
    """How many classes an output tells apart; None where its shape is open, or not of that kind."""
    if not tensor.is_static or not tensor.rank:
        return None
    shape = tensor.static_shape
    if task == "image-classifier":
        return prod(shape)
    return shape[1] if layout.get(tensor.name) == "nhwc" and tensor.rank > 2 else shape[-1]


def _labels(options: ConvertOptions, outputs: Sequence[Tensor], layout: dict[str, LayoutName]) -> list[FideliteError]:
    if not options.labels or not outputs:
        return []
    if options.task == "image-embedder":
        return [UsageError("an embedding has no classes that labels could name", code="F272",
                           remedy="leave --labels out")]
    if options.task == "object-detector" and len(outputs) != 2:
        return []  # the classes are values, and nothing tells how many there are
    heads = {"image-classifier": outputs, "object-detector": outputs[1:]}.get(options.task, outputs[-1:])
    given = len(options.labels)
    return [UsageError(f"'{t.name}' has {found} classes, and there are {given} labels", code="F272",
                       remedy=f"give {found} lines, in the order of the network's classes: --labels labels.txt",
                       details={"output": t.name, "classes": found, "labels": given})
            for t in heads if (found := _classes(options.task, t, layout)) is not None and found != given]


def _activation(options: ConvertOptions, outputs: Sequence[Tensor],
                layout: dict[str, LayoutName]) -> list[FideliteError]:
    activation = options.activation
    if not activation or activation == "none" or not outputs:
        return []
    fits = {"image-embedder": ("none",), "object-detector": ("none", "sigmoid")}.get(options.task, ACTIVATIONS)
    if activation not in fits:
        return [UsageError(f"the task {options.task} has no {activation}", code="F274",
                           remedy="leave --activation out" if len(fits) == 1 else f"one of: {', '.join(fits)}")]
    last = outputs[-1]
    if (op := _maker(last)) in ("SOFTMAX", "LOGISTIC"):
        return [UsageError(f"the network ends with {op} already: '{last.name}' would be squashed twice", code="F274",
                           remedy="leave --activation out")]
    if activation == "softmax" and _classes(options.task, last, layout) == 1:
        return [UsageError(f"'{last.name}' has one channel, of which softmax makes 1 everywhere", code="F274",
                           remedy="--activation sigmoid")]
    return []


def _maker(tensor: Tensor) -> str:
    """The operator that computes a tensor, beyond those that only move entries."""
    producer = tensor.producer
    while producer is not None and producer.op in _SIDEWAYS and producer.inputs[0] is not None:
        if producer.inputs[0].producer is None:
            break
        producer = producer.inputs[0].producer
    return "" if producer is None else producer.op


def _advice(options: ConvertOptions, outputs: Sequence[Tensor], layout: dict[str, LayoutName]) -> list[Notice]:
    found: list[Notice] = []
    if not options.labels and options.task != "image-embedder":
        found.append(Notice("N481", "the classes have no names: MediaPipe will give numbers only",
                            remedy="--labels labels.txt, with one name per line"))
    if options.task not in ("image-segmenter", "image-classifier") or options.activation or not outputs or (
            _maker(outputs[-1]) in ("SOFTMAX", "LOGISTIC")):
        return found
    if options.task == "image-classifier":
        found.append(Notice("N484", "the scores of the classes are the network's own, and may be no probabilities",
                            remedy="--activation softmax puts it into the graph (sigmoid where classes overlap)"))
    elif _classes(options.task, outputs[-1], layout) == 1:
        found.append(Notice("W483", "MediaPipe takes what is above 0.5 for the class, and the network's scores are not "
                            "squashed to 0..1", remedy="--activation sigmoid", level="warning"))
    else:
        found.append(Notice("N482", "the confidence masks will be the network's scores as they are (the category mask "
                            "needs no other)", remedy="--activation softmax makes probabilities of them (sigmoid where "
                            "classes overlap)"))
    return found


def _boxes(options: ConvertOptions, picture: Tensor | None, layout: dict[str, LayoutName]) -> Boxes:
    order, _, unit = options.boxes.partition(":")
    if unit != "pixels" or picture is None or picture.rank != 4 or not picture.is_static:
        return Boxes(order)
    shape = picture.static_shape
    height, width = (shape[2], shape[3]) if layout.get(picture.name) == "nhwc" else (shape[1], shape[2])
    return Boxes(order, float(width), float(height))


def _box_problems(options: ConvertOptions, outputs: Sequence[Tensor]) -> list[FideliteError]:
    if options.task != "object-detector" or len(outputs) not in BOX_ORDERS:
        return []
    orders = BOX_ORDERS[len(outputs)]
    told = " or ".join(f"--boxes {order}" for order in orders)
    if not options.boxes:
        return [UsageError("MediaPipe must know what the four numbers of a box are", code="F275", remedy=told)]
    order, _, unit = options.boxes.partition(":")
    if order not in orders:
        return [UsageError(f"of a detector with {len(outputs)} outputs MediaPipe takes boxes as "
                           f"{' or '.join(orders)}, not as {order}", code="F275", remedy=told)]
    if unit == "pixels" and len(outputs) == 4:
        return [UsageError("of a detector with 4 outputs MediaPipe takes boxes as shares of the picture, 0 to 1, not "
                           "in pixels", code="F275", remedy="divide them by the picture's size in the network")]
    return []
