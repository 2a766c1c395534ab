"""What a `.tflite` says to MediaPipe about itself, as data: to metadata and labels, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fidelite.errors import LoadError
from fidelite.options import ACTIVATIONS
from fidelite.tasks import metadata as facts

if TYPE_CHECKING:
    from fidelite.tflite.graph import Model, Tensor

LABELS_FILE = "labels.txt"
_DESCRIPTION = "Made for MediaPipe's {}."
_CLASSES = {"image-segmenter": "ImageSegmenter", "image-classifier": "ImageClassifier",
            "object-detector": "ObjectDetector", "image-embedder": "ImageEmbedder"}
# The names by which MediaPipe finds the outputs of a detector (detection_postprocessing_graph.cc).
_DETECTOR_NAMES = {4: ("location", "category", "score", "number of detections"), 2: ("location", "score")}
# Where left, top, right and bottom stand in a box of a detector that suppresses overlaps itself.
CORNERS: Mapping[str, tuple[int, ...]] = {"xyxy": (0, 1, 2, 3), "yxyx": (1, 0, 3, 2)}


@dataclass(frozen=True, slots=True)
class Boxes:
    """What the four numbers of a box are. `xyxy` and `yxyx` are corners; `cxcywh` and `cycxhw` centre and size.

    `width` and `height` are what 1.0 of the picture is in the network's units: 1 for ratios, the picture's size for
    pixels.
    """

    order: str
    width: float = 1.0
    height: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {"order": self.order, "width": self.width, "height": self.height}


@dataclass(frozen=True, slots=True)
class Card:
    """What MediaPipe must know of a model for `task`. `mean` and `std` are of y = (x - mean) / std, x in 0..255, which
    MediaPipe computes before a float32 input; both empty for uint8."""

    task: str
    labels: tuple[str, ...] = ()
    activation: str = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    boxes: Boxes | None = None
    label_files: tuple[str, ...] = field(default=(), compare=False)
    """Names of label files that the metadata speak of, as they were read; missing ones among them."""

    @property
    def title(self) -> str:
        """The name of the task's class in MediaPipe."""
        return _CLASSES.get(self.task, "a task")

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "labels": list(self.labels), "activation": self.activation,
                "mean": list(self.mean), "std": list(self.std),
                "boxes": None if self.boxes is None else self.boxes.to_json()}


def attach(card: Card, model: Model) -> None:
    """Write the card into the model: its metadata, and the labels as a file behind the tables."""
    main = model.main
    names = _DETECTOR_NAMES.get(len(main.outputs), ()) if card.task == "object-detector" else ()
    graph: dict[str, Any] = {
        "input_tensor_metadata": [_input(card, tensor) for tensor in main.inputs],
        "output_tensor_metadata": [
            _output(card, names[i] if names else tensor.name, _label_type(card, i, len(main.outputs)))
            for i, tensor in enumerate(main.outputs)],
    }
    if custom := _custom(card, main.outputs):
        graph["custom_metadata"] = custom
    model.metadata[facts.METADATA] = facts.pack_metadata({
        "name": main.name, "description": _DESCRIPTION.format(card.title), "subgraph_metadata": [graph],
        "min_parser_version": facts.PARSER_VERSION})
    model.files.pop(LABELS_FILE, None)
    if card.labels:
        model.files[LABELS_FILE] = "\n".join(card.labels).encode("utf-8")


def _input(card: Card, tensor: Tensor) -> dict[str, Any]:
    properties: dict[str, Any] = {"color_space": facts.RGB}
    if tensor.rank == 4 and tensor.is_static:
        _, height, width, _ = tensor.static_shape
        properties["default_size"] = {"width": width, "height": height}
    found: dict[str, Any] = {"name": tensor.name, "content": {"content_properties": {"ImageProperties": properties}}}
    if card.mean:
        found["process_units"] = [{"options": {"NormalizationOptions": {"mean": card.mean, "std": card.std}}}]
    return found


def _output(card: Card, name: str, label_type: int) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name}
    if name == "location" and card.boxes is not None:
        found["content"] = {"content_properties": {"BoundingBoxProperties": {
            "index": CORNERS.get(card.boxes.order, CORNERS["xyxy"]), "type": facts.BOUNDARIES,
            "coordinate_type": facts.RATIO}}, "range": {"min": 2, "max": 2}}
    if label_type and card.labels:
        found["associated_files"] = [{"name": LABELS_FILE, "type": label_type}]
    return found


def _label_type(card: Card, index: int, outputs: int) -> int:
    """The type of the labels' file of output number `index`; 0 where it has none."""
    if card.task == "object-detector":
        kind = facts.TENSOR_VALUE_LABELS if outputs == 4 else facts.TENSOR_AXIS_LABELS
        return kind if index == 1 else 0
    if card.task == "image-segmenter":
        return facts.TENSOR_AXIS_LABELS if index == outputs - 1 else 0
    return facts.TENSOR_AXIS_LABELS if card.task == "image-classifier" else 0


def _custom(card: Card, outputs: Sequence[Tensor]) -> dict[str, Any]:
    if card.task == "image-segmenter":
        return {facts.SEGMENTER: {"activation": ACTIVATIONS.index(card.activation),
                                  "min_parser_version": facts.CUSTOM_PARSER_VERSION}}
    if card.task == "object-detector" and len(outputs) == 2 and card.boxes is not None:
        return {facts.DETECTOR: _decoding(card, card.boxes, outputs)}
    return {}


def _decoding(card: Card, boxes: Boxes, outputs: Sequence[Tensor]) -> dict[str, Any]:
    """Boxes that the network decodes itself: one anchor for all, of the picture's size with its centre at 0.

    MediaPipe computes centre / scale * anchor size + anchor centre, and size / scale * anchor size
    (TensorsToDetectionsCalculator::DecodeBoxes).
    """
    boxes_of, scores_of = (t.static_shape if t.rank == 3 and t.is_static else (1, 0, 0) for t in outputs)
    count, classes = boxes_of[1], scores_of[2]
    anchor = {"x_center": 0.0, "y_center": 0.0, "width": 1.0, "height": 1.0}
    return {
        "min_parser_version": facts.CUSTOM_PARSER_VERSION,
        "ssd_anchors_options": {"fixed_anchors_schema": {"anchors": [anchor] * count}},
        "tensors_decoding_options": {
            "num_classes": classes, "num_boxes": count, "num_coords": 4, "keypoint_coord_offset": 0,
            "num_keypoints": 0, "num_values_per_keypoint": 2, "x_scale": boxes.width, "y_scale": boxes.height,
            "w_scale": boxes.width, "h_scale": boxes.height, "apply_exponential_on_box_size": False,
            "sigmoid_score": card.activation == "sigmoid"},
    }


def read_card(metadata: Mapping[str, bytes], files: Mapping[str, bytes]) -> Card | None:
    """The card of a file with this metadata and these files behind its tables; None where it has no metadata.

    The task is "" where nothing tells it. Raises LoadError (F308) where the metadata is damaged.
    """
    content = metadata.get(facts.METADATA)
    if content is None:
        return None
    try:
        data = facts.unpack_metadata(content)
    except ValueError as error:
        raise LoadError(f"the file's {facts.METADATA} is damaged ({error})", code="F308",
                        remedy="convert the file again") from error
    graph = next(iter(data.get("subgraph_metadata", ())), {})
    inputs, outputs = graph.get("input_tensor_metadata", []), graph.get("output_tensor_metadata", [])
    custom = graph.get("custom_metadata", {})
    named = [f.get("name", "") for o in outputs for f in o.get("associated_files", ())
             if f.get("type") in (facts.TENSOR_AXIS_LABELS, facts.TENSOR_VALUE_LABELS)]
    labels = next((files[name].decode("utf-8", "replace").splitlines() for name in named if name in files), [])
    normalization = next((u["options"]["NormalizationOptions"] for i in inputs[:1] for u in i.get("process_units", ())
                          if "NormalizationOptions" in u.get("options", {})), {})
    return Card(_task(data, outputs, custom, named), tuple(labels), _activation(custom),
                tuple(normalization.get("mean", ())), tuple(normalization.get("std", ())), _boxes(outputs, custom),
                tuple(dict.fromkeys(named)))


def _task(data: Mapping[str, Any], outputs: Sequence[Any], custom: Mapping[str, Any], named: Sequence[str]) -> str:
    for task, title in _CLASSES.items():
        if data.get("description") == _DESCRIPTION.format(title):
            return task
    if facts.SEGMENTER in custom:
        return "image-segmenter"
    if facts.DETECTOR in custom or any("BoundingBoxProperties" in _properties(o) for o in outputs):
        return "object-detector"
    return "image-classifier" if named else ""


def _properties(output: Mapping[str, Any]) -> Mapping[str, Any]:
    return output.get("content", {}).get("content_properties", {})


def _activation(custom: Mapping[str, Any]) -> str:
    number = custom.get(facts.SEGMENTER, {}).get("activation", 0)
    if custom.get(facts.DETECTOR, {}).get("tensors_decoding_options", {}).get("sigmoid_score"):
        return "sigmoid"
    return ACTIVATIONS[number] if number < len(ACTIVATIONS) else f"activation {number}"


def _boxes(outputs: Sequence[Any], custom: Mapping[str, Any]) -> Boxes | None:
    decoding = custom.get(facts.DETECTOR, {}).get("tensors_decoding_options")
    if decoding is not None:
        return Boxes("cycxhw", decoding.get("x_scale", 0.0), decoding.get("y_scale", 0.0))
    found = next((_properties(o)["BoundingBoxProperties"] for o in outputs
                  if "BoundingBoxProperties" in _properties(o)), None)
    if found is None:
        return None
    index = tuple(found.get("index", ())) or CORNERS["xyxy"]
    return Boxes(next((order for order, corners in CORNERS.items() if corners == index), str(list(index))))
