"""Element types of ONNX that LiteRT does not compute in, and what carries their values instead.

Every value of such a type is one of the carrier's, so nothing is lost on the way; what makes values of the type (a
cast, a quantization) rounds to it by arithmetic (`lower.narrow`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True, slots=True)
class Carried:
    """`element` is the type in the file, `dtype` numpy's (ml_dtypes') name of the source's own."""

    element: ElementType
    dtype: str
    reason: str


_FLOAT8 = "LiteRT has no kernel that reads or writes it"
_PACKED = "LiteRT packs it, and has no arithmetic, no comparison and no selection for it"
_ABSENT = "TFLite has no such type"

CARRIED: Mapping[str, Carried] = {
    "FLOAT8E4M3FN": Carried(ElementType.FLOAT32, "float8_e4m3fn", _FLOAT8),
    "FLOAT8E4M3FNUZ": Carried(ElementType.FLOAT32, "float8_e4m3fnuz", _ABSENT),
    "FLOAT8E5M2": Carried(ElementType.FLOAT32, "float8_e5m2", _FLOAT8),
    "FLOAT8E5M2FNUZ": Carried(ElementType.FLOAT32, "float8_e5m2fnuz", _ABSENT),
    "FLOAT8E8M0": Carried(ElementType.FLOAT32, "float8_e8m0fnu", _ABSENT),
    "FLOAT6E2M3": Carried(ElementType.FLOAT32, "float6_e2m3fn", _ABSENT),
    "FLOAT6E3M2": Carried(ElementType.FLOAT32, "float6_e3m2fn", _ABSENT),
    "FLOAT4E2M1": Carried(ElementType.FLOAT32, "float4_e2m1fn", _ABSENT),
    "INT4": Carried(ElementType.INT8, "int4", _PACKED),
    "UINT4": Carried(ElementType.UINT8, "uint4", _PACKED),
    "INT2": Carried(ElementType.INT8, "int2", _PACKED),
    "UINT2": Carried(ElementType.UINT8, "uint2", _ABSENT),
}
"""By ONNX's name of the type."""
_BY_DTYPE = {row.dtype: row for row in CARRIED.values()}


def carried_type(dtype: onnx_ir.DataType | None) -> Carried | None:
    """How values of an ONNX type are carried; None where LiteRT has the type itself."""
    return None if dtype is None else CARRIED.get(dtype.name)


def carried_array(array: np.ndarray) -> np.ndarray:
    """An array of an ONNX tensor in the type that carries it."""
    row = _BY_DTYPE.get(array.dtype.name)
    return array if row is None else array.astype(row.element.dtype)
