"""Models whose input dimensions only the run time knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx


def with_symbols(model: onnx.ModelProto, axes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """`model` with the given axes of its inputs made symbolic, and all inferred shapes inferred anew."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.value_info[:]
    for value in changed.graph.input:
        for axis in axes.get(value.name, ()):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}{axis}"
    for value in changed.graph.output:
        value.ClearField("type")
    return onnx.shape_inference.infer_shapes(changed, data_prop=True)
