"""MediaPipe's vision tasks: what they ask of a `.tflite`, as read in MediaPipe's sources and tried in its packages.

Several of these rules MediaPipe does not check: it then misreads the file without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fidelite.options import TASKS, ConvertOptions
from fidelite.targets.profile import Finding, Profile, Rule
from fidelite.tasks.card import CORNERS, Card, read_card
from fidelite.tasks.metadata import METADATA
from fidelite.tflite.graph import Model, Tensor

_CC = "mediapipe/tasks/cc"
_IMAGE = f"{_CC}/vision/utils/image_tensor_specs.cc"
_SEGMENTER = f"{_CC}/vision/image_segmenter/image_segmenter_graph.cc"
_MASKS = f"{_CC}/vision/image_segmenter/calculators/tensors_to_segmentation_calculator.cc"
_CLASSIFIER = f"{_CC}/components/processors/classification_postprocessing_graph.cc"
_DETECTOR = f"{_CC}/components/processors/detection_postprocessing_graph.cc"
_BOXES = "mediapipe/calculators/tensor/tensors_to_detections_calculator.cc"

TASK = Rule("task", "the file has metadata that say which task it is for", f"{_CC}/metadata/metadata_extractor.cc")
ONE_GRAPH = Rule("one-graph", "one graph: no control flow", _SEGMENTER)
ONE_PICTURE = Rule("one-picture", "one input: a picture [1, height, width, 3]", _IMAGE)
PICTURE_TYPE = Rule("picture-type", "the picture is float32 or uint8", _IMAGE, depends_on_precision=True)
NORMALIZATION = Rule("normalization", "a float32 picture has NormalizationOptions, alike for all channels",
                     f"{_IMAGE}; {_CC}/components/processors/image_preprocessing_graph.cc")
STATIC = Rule("static-shapes", "the sizes of inputs and outputs are known", _IMAGE)
LABELS_FILE = Rule("labels-file", "labels that the metadata name lie in the file",
                   f"{_CC}/metadata/metadata_extractor.cc")
LABELS_FIT = Rule("labels-fit", "there is one label per class", "mediapipe/calculators/tensor/"
                  "tensors_to_classification_calculator.cc (a segmenter does not check)")
ONE_MASK = Rule("one-mask", "a segmenter has one output (or two: quality scores, then the mask)", _MASKS)
MASK_SHAPE = Rule("mask-shape", "the mask is [1, height, width, classes]; another order is misread in silence", _MASKS)
MASK_TYPE = Rule("mask-type", "the mask is float32, or quantized int8 or uint8", _SEGMENTER,
                 depends_on_precision=True)
NO_INDICES = Rule("no-indices", "the mask holds scores, not the indices of classes (no argmax before it)", _SEGMENTER)
MASK_CLASSES = Rule("mask-classes", "a category mask holds at most 256 classes (uint8)", _MASKS)
HEADS_TYPE = Rule("heads-type", "all outputs are float32, or all quantized uint8", _CLASSIFIER,
                  depends_on_precision=True)
HEADS_SHAPE = Rule("heads-shape", "an output holds the numbers of one picture: [1, n]", _CLASSIFIER)
DETECTOR_OUTPUTS = Rule("detector-outputs", "a detector has 4 outputs (boxes, classes, scores, their number), or 2 "
                        "(boxes, scores of each class), of which MediaPipe suppresses overlaps", _DETECTOR)
DETECTOR_SHAPES = Rule("detector-shapes", "[1, n, 4], [1, n], [1, n], [1]; or [1, n, 4], [1, n, classes]", _BOXES)
BOX_FORMAT = Rule("box-format", "boxes are corners as shares of the picture (4 outputs), or cy, cx, h, w (2 outputs)",
                  f"{_DETECTOR}; {_BOXES}")


def check(model: Model) -> list[Finding]:
    """What MediaPipe's task would refuse or misread."""
    card = read_card(model.metadata, model.files)
    found = list(_picture(model, card))
    if len(model.graphs) > 1:
        ops = sorted({operator.op for operator in model.main.operators if operator.graphs})
        found.append(Finding(ONE_GRAPH, f"the model has {len(model.graphs)} graphs (of {', '.join(ops) or 'others'})",
                             "export the network without control flow (If, Loop, Scan)"))
    if card is None or not card.task:
        reason = f"the file has no {METADATA}" if card is None else "the metadata do not tell the task"
        return [*found, Finding(TASK, reason, f"fidelite convert MODEL.onnx --task {TASKS[0]} --labels labels.txt")]
    found += _open(model.main.outputs)
    found += _OUTPUTS[card.task](model.main.outputs, card)
    return [*found, *_label_files(card)]


def _picture(model: Model, card: Card | None) -> Iterator[Finding]:
    inputs = model.main.inputs
    if len(inputs) != 1:
        told = ", ".join(f"'{t.name}' {_shape(t)}" for t in inputs)
        yield Finding(ONE_PICTURE, f"the model has {len(inputs)} inputs: {told}",
                      "export the network with the picture as its only input", tensor=inputs[0].name if inputs else "")
        return
    picture = inputs[0]
    if not picture.is_static:
        yield Finding(STATIC, f"the input '{picture.name}' is {_shape(picture)}",
                      f"fix it: --shape {picture.name}=1,3,512,512 (in the order of the source's axes)",
                      tensor=picture.name)
    elif picture.rank != 4 or picture.shape[0] != 1 or picture.shape[3] != 3 or 0 in picture.shape:
        yield Finding(ONE_PICTURE, f"the input '{picture.name}' is {_shape(picture)}: {_why_not(picture)}",
                      _picture_remedy(picture), tensor=picture.name)
    if picture.element.name not in ("FLOAT32", "UINT8"):
        yield Finding(PICTURE_TYPE, f"the input '{picture.name}' is {picture.element.name.lower()}",
                      "export the network with a float32 input", tensor=picture.name)
    if card is not None and picture.element.name == "FLOAT32":
        if not card.mean:
            yield Finding(NORMALIZATION, f"'{picture.name}' is float32, and the metadata do not say how pictures "
                          "become it", "--normalize imagenet, or --mean, --std and --scale", tensor=picture.name)
        elif len({*card.mean}) > 1 or len({*card.std}) > 1 or 0.0 in card.std:
            yield Finding(NORMALIZATION, f"the metadata say mean {list(card.mean)} and std {list(card.std)}",
                          "convert with --mean and --std, which puts them into the graph", tensor=picture.name)


def _why_not(picture: Tensor) -> str:
    if picture.rank != 4:
        return f"a picture has 4 dimensions, this has {picture.rank}"
    if picture.shape[0] != 1:
        return "MediaPipe gives one picture at a time"
    if picture.shape[1] == 3:
        return "its channels are not last"
    channels = picture.shape[3] if picture.shape[3] in (1, 2, 4) else picture.shape[1]
    return f"MediaPipe gives R, G and B, and it wants {channels} channels"


def _picture_remedy(picture: Tensor) -> str:
    if picture.rank == 4 and picture.shape[0] != 1:
        return "export the network for a batch of 1"
    if picture.rank == 4 and picture.shape[1] == 3:
        return f"--layout {picture.name}=nhwc"
    return "export the network for RGB pictures: [1, 3, height, width]"


def _open(outputs: Sequence[Tensor]) -> Iterator[Finding]:
    for tensor in outputs:
        if not tensor.is_static:
            yield Finding(STATIC, f"the output '{tensor.name}' is {_shape(tensor)}",
                          "keep another: --outputs NAME; or fix the inputs: --shape NAME=1,3,512,512",
                          tensor=tensor.name)


def _segmenter(outputs: Sequence[Tensor], card: Card) -> Iterator[Finding]:
    if len(outputs) not in (1, 2):
        yield Finding(ONE_MASK, f"the model has {_counted(outputs)}",
                      f"--outputs {outputs[0].name}" if outputs else "export the network with its mask as output")
    if not outputs:
        return
    mask = outputs[-1]
    if mask.element.name in ("INT32", "INT64"):
        yield Finding(NO_INDICES, f"'{mask.name}' is {mask.element.name.lower()} {_shape(mask)}",
                      "leave --argmax out, or export the network without its argmax", tensor=mask.name)
        return
    if mask.rank != 4 or (mask.is_static and mask.shape[0] != 1):
        yield Finding(MASK_SHAPE, f"'{mask.name}' is {_shape(mask)}", "export the network with scores "
                      "[1, classes, height, width]: before argmax, squeeze or resizing", tensor=mask.name)
    elif mask.is_static and mask.static_shape[3] > 256:
        yield Finding(MASK_CLASSES, f"'{mask.name}' {_shape(mask)} has {mask.static_shape[3]} channels",
                      f"if the classes are the second axis: --layout {mask.name}=nhwc", tensor=mask.name)
    if mask.element.name not in ("FLOAT32", "INT8", "UINT8") or (mask.element.name != "FLOAT32" and
                                                                 mask.quantization is None):
        yield Finding(MASK_TYPE, f"'{mask.name}' is {mask.element.name.lower()}",
                      "export the network with a float32 mask", tensor=mask.name)
    if card.labels and mask.rank == 4 and mask.is_static and mask.static_shape[3] != len(card.labels):
        yield _unfit(mask, mask.static_shape[3], card)


def _heads(outputs: Sequence[Tensor], card: Card) -> Iterator[Finding]:
    yield from _heads_types(outputs)
    for tensor in outputs:
        if tensor.is_static and (not tensor.rank or tensor.shape[0] != 1):
            yield Finding(HEADS_SHAPE, f"'{tensor.name}' is {_shape(tensor)}", "export the network for a batch of 1",
                          tensor=tensor.name)
        elif tensor.is_static and card.task == "image-classifier":
            many = [d for d in tensor.static_shape if d != 1]
            if len(many) > 1:
                yield Finding(HEADS_SHAPE, f"'{tensor.name}' is {_shape(tensor)}: each entry would be a class",
                              "keep the scores of the classes: --outputs NAME", tensor=tensor.name)
            elif card.labels and (many or [1])[0] != len(card.labels):
                yield _unfit(tensor, (many or [1])[0], card)


def _heads_types(outputs: Sequence[Tensor]) -> Iterator[Finding]:
    kinds = {t.element.name for t in outputs}
    for tensor in outputs:
        if tensor.element.name not in ("FLOAT32", "UINT8") or len(kinds) > 1 or (
                tensor.element.name == "UINT8" and tensor.quantization is None):
            yield Finding(HEADS_TYPE, f"'{tensor.name}' is {tensor.element.name.lower()}",
                          "keep float32 outputs only: --outputs NAME; or cast it in the network", tensor=tensor.name)


def _detector(outputs: Sequence[Tensor], card: Card) -> Iterator[Finding]:
    if len(outputs) not in (2, 4):
        yield Finding(DETECTOR_OUTPUTS, f"the model has {_counted(outputs)}",
                      "name them in that order: --outputs BOXES,SCORES or --outputs BOXES,CLASSES,SCORES,NUMBER; one "
                      "output that holds both must be split in the network")
        return
    yield from _heads_types(outputs)
    if all(t.is_static for t in outputs):
        shapes = [list(t.static_shape) for t in outputs]
        n, classes = (*shapes[0], 0, 0)[1], (0, *shapes[1])[-1]
        wanted = [[1, n, 4], [1, n], [1, n], [1]] if len(outputs) == 4 else [[1, n, 4], [1, n, classes]]
        if shapes != wanted:
            yield Finding(DETECTOR_SHAPES, f"the outputs are {_names(outputs)}",
                          "name them in that order with --outputs, and give them these shapes in the network")
        elif len(outputs) == 2 and card.labels and classes != len(card.labels):
            yield _unfit(outputs[1], classes, card)
    orders = tuple(CORNERS) if len(outputs) == 4 else ("cycxhw", "cxcywh")
    if card.boxes is None or card.boxes.order not in orders:
        yield Finding(BOX_FORMAT, "the metadata do not say what the numbers of a box are" if card.boxes is None else
                      f"the boxes are {card.boxes.order}", f"--boxes {orders[0]} or --boxes {orders[1]}")


def _unfit(tensor: Tensor, classes: int, card: Card) -> Finding:
    return Finding(LABELS_FIT, f"'{tensor.name}' has {classes} classes, and the file has {len(card.labels)} labels",
                   f"give {classes} lines: --labels labels.txt", tensor=tensor.name)


def _label_files(card: Card) -> Iterator[Finding]:
    if card.label_files and not card.labels:
        yield Finding(LABELS_FILE, f"the metadata name {', '.join(card.label_files)}, which does not lie in the file",
                      f"convert again: --task {card.task} --labels labels.txt")


_OUTPUTS = {"image-segmenter": _segmenter, "image-classifier": _heads, "image-embedder": _heads,
            "object-detector": _detector}


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(str(d) for d in tensor.shape)}]"


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"'{t.name}' {_shape(t)}" for t in tensors) or "none"


def _counted(outputs: Sequence[Tensor]) -> str:
    return f"{len(outputs)} output{'' if len(outputs) == 1 else 's'}: {_names(outputs)}"


def before(options: ConvertOptions) -> list[Finding]:
    """MediaPipe runs tasks, not models."""
    if options.task:
        return []
    return [Finding(TASK, "which of MediaPipe's tasks the model is for is not said",
                    f"fidelite convert MODEL.onnx --task {TASKS[0]} (or: {', '.join(TASKS[1:])})")]


PROFILE = Profile(
    name="mediapipe",
    title="MediaPipe's vision tasks",
    rules=(TASK, ONE_GRAPH, ONE_PICTURE, PICTURE_TYPE, NORMALIZATION, STATIC, LABELS_FILE, LABELS_FIT, ONE_MASK,
           MASK_SHAPE, MASK_TYPE, NO_INDICES, MASK_CLASSES, HEADS_TYPE, HEADS_SHAPE, DETECTOR_OUTPUTS, DETECTOR_SHAPES,
           BOX_FORMAT),
    check=check,
    run_here="run in MediaPipe's packages for Python and for browsers (headless Chromium), on the CPU; not on a phone",
    before=before,
    error="F485",
)
