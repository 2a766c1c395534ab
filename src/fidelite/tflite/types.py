"""Element types of TFLite tensors, with the codes of the TFLite schema (`TensorType`)."""

from __future__ import annotations

import enum
from functools import cache

import ml_dtypes
import numpy as np


class ElementType(enum.Enum):
    """An element type. Values are the codes in the TFLite schema."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    UINT8 = 3
    INT64 = 4
    STRING = 5
    BOOL = 6
    INT16 = 7
    COMPLEX64 = 8
    INT8 = 9
    FLOAT64 = 10
    COMPLEX128 = 11
    UINT64 = 12
    RESOURCE = 13
    VARIANT = 14
    UINT32 = 15
    UINT16 = 16
    INT4 = 17
    BFLOAT16 = 18
    INT2 = 19
    UINT4 = 20
    FLOAT8_E4M3FN = 21
    FLOAT8_E5M2 = 22

    @property
    def dtype(self) -> np.dtype:
        """The numpy type (4-bit integers and bfloat16 from ml_dtypes). Raises KeyError for STRING and handles."""
        return _DTYPES[self]

    @property
    def bits(self) -> int:
        """Bits of one element in the file (4-bit integers are packed)."""
        return {ElementType.INT4: 4, ElementType.UINT4: 4, ElementType.INT2: 2}.get(self, self.dtype.itemsize * 8)

    @property
    def is_float(self) -> bool:
        return self in _FLOATS

    @property
    def is_integer(self) -> bool:
        return self in _INTEGERS

    @property
    def is_signed_integer(self) -> bool:
        return self in _INTEGERS and not self.name.startswith("U")

    @staticmethod
    def of(dtype: np.dtype | type) -> ElementType:
        """The element type of a numpy type. Raises KeyError where TFLite has none."""
        return _by_dtype()[np.dtype(dtype)]


_DTYPES: dict[ElementType, np.dtype] = {
    ElementType.FLOAT32: np.dtype(np.float32),
    ElementType.FLOAT16: np.dtype(np.float16),
    ElementType.INT32: np.dtype(np.int32),
    ElementType.UINT8: np.dtype(np.uint8),
    ElementType.INT64: np.dtype(np.int64),
    ElementType.BOOL: np.dtype(np.bool_),
    ElementType.INT16: np.dtype(np.int16),
    ElementType.COMPLEX64: np.dtype(np.complex64),
    ElementType.INT8: np.dtype(np.int8),
    ElementType.FLOAT64: np.dtype(np.float64),
    ElementType.COMPLEX128: np.dtype(np.complex128),
    ElementType.UINT64: np.dtype(np.uint64),
    ElementType.UINT32: np.dtype(np.uint32),
    ElementType.UINT16: np.dtype(np.uint16),
    ElementType.INT4: np.dtype(ml_dtypes.int4),
    ElementType.UINT4: np.dtype(ml_dtypes.uint4),
    ElementType.INT2: np.dtype(ml_dtypes.int2),
    ElementType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    ElementType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    ElementType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
}
_FLOATS = frozenset(t for t in ElementType if "FLOAT" in t.name)
_INTEGERS = frozenset(t for t in ElementType if "INT" in t.name)


@cache
def _by_dtype() -> dict[np.dtype, ElementType]:
    return {dtype: element for element, dtype in _DTYPES.items()}


# Short names, as the tables of op facts write them.
SHORT: dict[str, ElementType] = {
    "f32": ElementType.FLOAT32,
    "f16": ElementType.FLOAT16,
    "bf16": ElementType.BFLOAT16,
    "f64": ElementType.FLOAT64,
    "i4": ElementType.INT4,
    "i8": ElementType.INT8,
    "u8": ElementType.UINT8,
    "i16": ElementType.INT16,
    "u16": ElementType.UINT16,
    "i32": ElementType.INT32,
    "u32": ElementType.UINT32,
    "i64": ElementType.INT64,
    "u64": ElementType.UINT64,
    "bool": ElementType.BOOL,
    "c64": ElementType.COMPLEX64,
}
SHORT_NAMES: dict[ElementType, str] = {element: short for short, element in SHORT.items()}
