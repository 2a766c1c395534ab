"""The metadata of a `.tflite` as MediaPipe's tasks read it: schema, bytes.

The tables are those of `metadata_schema.fbs` (1.5.0), `image_segmenter_metadata_schema.fbs` and
`object_detector_metadata_schema.fbs` (1.0.0) in mediapipe/tasks/metadata of MediaPipe. Fields that end a table and
that no vision task reads are left out; a reader passes over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fidelite.tasks.tables import Data, Schema, Unions, pack, unpack

METADATA = "TFLITE_METADATA"
"""The name of the metadata buffer in the model."""
SEGMENTER = "SEGMENTER_METADATA"
DETECTOR = "DETECTOR_METADATA"
PARSER_VERSION = "1.5.0"
CUSTOM_PARSER_VERSION = "1.0.0"

TENSOR_AXIS_LABELS = 2
TENSOR_VALUE_LABELS = 3
RGB = 1
BOUNDARIES = 1
RATIO = 0

_MODEL: Schema = {
    "ModelMetadata": (
        ("name", "string"), ("description", "string"), ("version", "string"),
        ("subgraph_metadata", "[SubGraphMetadata]"), ("author", "string"), ("license", "string"),
        ("associated_files", "[AssociatedFile]"), ("min_parser_version", "string")),
    "SubGraphMetadata": (
        ("name", "string"), ("description", "string"), ("input_tensor_metadata", "[TensorMetadata]"),
        ("output_tensor_metadata", "[TensorMetadata]"), ("associated_files", "[AssociatedFile]"),
        ("input_process_units", "[ProcessUnit]"), ("output_process_units", "[ProcessUnit]"),
        ("input_tensor_groups", "[TensorGroup]"), ("output_tensor_groups", "[TensorGroup]"),
        ("custom_metadata", "[CustomMetadata]")),
    "TensorMetadata": (
        ("name", "string"), ("description", "string"), ("dimension_names", "[string]"), ("content", "Content"),
        ("process_units", "[ProcessUnit]"), ("stats", "Stats"), ("associated_files", "[AssociatedFile]")),
    "TensorGroup": (("name", "string"), ("tensor_names", "[string]")),
    "CustomMetadata": (("name", "string"), ("data", "bytes")),
    "AssociatedFile": (("name", "string"), ("description", "string"), ("type", "byte"), ("locale", "string"),
                       ("version", "string")),
    "Content": (("content_properties", "|ContentProperties"), ("range", "ValueRange")),
    "ValueRange": (("min", "int"), ("max", "int")),
    "FeatureProperties": (),
    "ImageProperties": (("color_space", "byte"), ("default_size", "ImageSize")),
    "ImageSize": (("width", "uint"), ("height", "uint")),
    "BoundingBoxProperties": (("index", "[uint]"), ("type", "byte"), ("coordinate_type", "byte")),
    "AudioProperties": (("sample_rate", "uint"), ("channels", "uint")),
    "ProcessUnit": (("options", "|ProcessUnitOptions"),),
    "NormalizationOptions": (("mean", "[float]"), ("std", "[float]")),
    "ScoreCalibrationOptions": (("score_transformation", "byte"), ("default_score", "float")),
    "ScoreThresholdingOptions": (("global_score_threshold", "float"),),
    "Stats": (("max", "[float]"), ("min", "[float]")),
}
_MODEL_UNIONS: Unions = {
    "ContentProperties": ("FeatureProperties", "ImageProperties", "BoundingBoxProperties", "AudioProperties"),
    "ProcessUnitOptions": ("NormalizationOptions", "ScoreCalibrationOptions", "ScoreThresholdingOptions"),
}
_CUSTOM: Mapping[str, tuple[str, Schema]] = {
    SEGMENTER: ("ImageSegmenterOptions", {
        "ImageSegmenterOptions": (("activation", "byte"), ("min_parser_version", "string"))}),
    DETECTOR: ("ObjectDetectorOptions", {
        "ObjectDetectorOptions": (
            ("min_parser_version", "string"), ("ssd_anchors_options", "SsdAnchorsOptions"),
            ("tensors_decoding_options", "TensorsDecodingOptions")),
        "SsdAnchorsOptions": (("fixed_anchors_schema", "FixedAnchorsSchema"),),
        "FixedAnchorsSchema": (("anchors", "[FixedAnchor]"),),
        "FixedAnchor": (("x_center", "float"), ("y_center", "float"), ("width", "float"), ("height", "float")),
        "TensorsDecodingOptions": (
            ("num_classes", "int"), ("num_boxes", "int"), ("num_coords", "int"), ("keypoint_coord_offset", "int"),
            ("num_keypoints", "int"), ("num_values_per_keypoint", "int"), ("x_scale", "float"), ("y_scale", "float"),
            ("w_scale", "float"), ("h_scale", "float"), ("apply_exponential_on_box_size", "bool"),
            ("sigmoid_score", "bool"))}),
}


def pack_metadata(data: Mapping[str, Any]) -> bytes:
    """A `ModelMetadata` as bytes. `custom_metadata` is a mapping of names to the tables that belong to them."""
    graphs = [dict(graph) for graph in data["subgraph_metadata"]]
    for graph in graphs:
        if custom := graph.get("custom_metadata"):
            graph["custom_metadata"] = [{"name": name, "data": _pack_custom(name, table)}
                                        for name, table in custom.items()]
    return pack(_MODEL, _MODEL_UNIONS, "ModelMetadata", {**data, "subgraph_metadata": graphs}, b"M001")


def unpack_metadata(content: bytes) -> Data:
    """What `pack_metadata` packed; custom metadata of other names stays bytes. Raises ValueError if damaged."""
    data = unpack(_MODEL, _MODEL_UNIONS, "ModelMetadata", content, b"M001")
    for graph in data.get("subgraph_metadata", ()):
        if "custom_metadata" in graph:
            graph["custom_metadata"] = {c.get("name", ""): _unpack_custom(c.get("name", ""), c.get("data", b""))
                                        for c in graph["custom_metadata"]}
    return data


def _pack_custom(name: str, table: Mapping[str, Any]) -> bytes:
    root, schema = _CUSTOM[name]
    return pack(schema, {}, root, table, b"V001")


def _unpack_custom(name: str, content: bytes) -> Any:
    if name not in _CUSTOM:
        return content
    root, schema = _CUSTOM[name]
    return unpack(schema, {}, root, content, b"V001")
