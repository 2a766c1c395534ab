"""ONNX values and tensors as TFLite has them: element types, constants, shapes as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.errors import InternalError, UnsupportedType, Where
from fidelite.lower.carried import carried_array, carried_type
from fidelite.tflite.constant import Constant
from fidelite.tflite.dims import is_static
from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    import onnx_ir


def element_type(value: onnx_ir.Value) -> ElementType:
    """The TFLite element type of an ONNX value. Raises UnsupportedType where TFLite has none."""
    if value.dtype is None:
        raise UnsupportedType(f"'{value.name}' has no element type", remedy="export the model again")
    return onnx_element_type(value.dtype, value.name or "")


def onnx_element_type(dtype: onnx_ir.DataType, name: str = "") -> ElementType:
    """The type that values of an ONNX type have in the file: its own, or one that carries it (`lower.carried`)."""
    if (row := carried_type(dtype)) is not None:
        return row.element
    names = {"FLOAT": "FLOAT32", "DOUBLE": "FLOAT64"}
    wanted = names.get(dtype.name, dtype.name)
    if wanted in ElementType.__members__:
        return ElementType[wanted]
    raise UnsupportedType(f"'{name}' has the element type {dtype.name}, which TFLite does not have",
                          remedy="use float32, float16, an integer or a boolean type",
                          where=Where(), details={"type": dtype.name})


def constant_of(tensor: onnx_ir.TensorProtocol, name: str) -> Constant:
    """A deferred constant over an ONNX tensor: mapped where it is external, read when it is written."""
    element = onnx_element_type(tensor.dtype, name)
    shape = tuple(int(d) for d in tensor.shape)  # type: ignore[union-attr]
    if not is_static(shape):
        raise InternalError(f"initializer '{name}' has a dynamic shape")
    if tensor.size * element.bits // 8 <= 1024:
        return Constant.of(carried_array(np.asarray(tensor.numpy()).reshape(shape)))
    return Constant(element, shape, lambda: carried_array(tensor.numpy()), ("onnx", id(tensor)))


def shape_text(shape: Sequence[Any]) -> str:
    return "[" + ",".join(str(d) for d in shape) + "]"
