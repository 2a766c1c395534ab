"""Operators of ai.onnx.ml that prepare features: scaling, filling in, encoding, choosing."""

from __future__ import annotations

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

DOMAIN = "ai.onnx.ml"
_F32, _I64 = ElementType.FLOAT32, ElementType.INT64
_AGAIN = "export the model again"


@lowers("Scaler", domain=DOMAIN)
def scaler(node: Node, b: Builder) -> Tensor:
    """(x - offset) * scale, with one of each or one per feature (the last axis)."""
    x = b.float32(node.input(0))
    offset, scale = (np.asarray(node.floats(name), np.float32) for name in ("offset", "scale"))
    return b.mul(b.sub(x, b.constant(offset)), b.constant(scale))


@lowers("Normalizer", domain=DOMAIN)
def normalizer(node: Node, b: Builder) -> Tensor:
    """x divided by the largest element, the sum of sizes (L1) or the root of the sum of squares (L2) of its row;
    a row whose divisor is 0 stays."""
    x, norm = b.float32(node.input(0)), node.str_("norm", "MAX")
    axis = x.rank - 1
    if norm == "MAX":
        divisor = b.reduce("REDUCE_MAX", x, [axis], keep_dims=True)
    elif norm == "L1":
        divisor = b.reduce("SUM", b.unary("ABS", x), [axis], keep_dims=True)
    elif norm == "L2":
        divisor = b.unary("SQRT", b.reduce("SUM", b.unary("SQUARE", x), [axis], keep_dims=True))
    else:
        raise InvalidModel(f"there is no norm '{norm}'", where=node.where(), remedy="use MAX, L1 or L2")
    empty = b.compare("EQUAL", divisor, b.scalar(0.0, divisor))
    return b.div(x, b.select(empty, b.scalar(1.0, divisor), divisor))


@lowers("Binarizer", domain=DOMAIN)
def binarizer(node: Node, b: Builder) -> Tensor:
    """1 where x is above the threshold, else 0, in x's type."""
    x, threshold = node.input(0), node.float_("threshold", 0.0)
    if x.element.is_integer:  # of whole numbers, those above its floor
        info = np.iinfo(x.element.dtype)
        threshold = float(np.clip(np.floor(threshold), info.min, info.max))
    above = b.compare("GREATER", x, b.scalar(threshold, x))
    return b.select(above, b.scalar(1, x), b.scalar(0, x))


@lowers("Imputer", domain=DOMAIN)
def imputer(node: Node, b: Builder) -> Tensor:
    """A value (NaN too) replaced by another one, or by one per feature (the last axis)."""
    x = node.input(0)
    floats = x.element.is_float
    values = np.asarray(node.floats("imputed_value_floats") if floats else node.ints("imputed_value_int64s"))
    wanted = node.float_("replaced_value_float", 0.0) if floats else node.int_("replaced_value_int64", 0)
    if floats and np.isnan(wanted):
        missing = b.compare("NOT_EQUAL", x, x)
    else:
        missing = b.compare("EQUAL", x, b.scalar(wanted, x))
    return b.select(missing, b.constant(values.astype(x.element.dtype)), x)


@lowers("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(node: Node, b: Builder) -> Tensor:
    """The elements of x's last axis at the places y (flattened); a vector counts as one row."""
    x, y = node.input(0), node.input(1)
    rows = b.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    return b.gather(rows, b.reshape(y, (product(y.shape),)), rows.rank - 1)


@lowers("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(node: Node, b: Builder) -> Tensor:
    """Rows of several inputs behind one another, each cut or filled with zeros to its length."""
    parts: list[Tensor] = []
    for x, size in zip(node.inputs(), node.ints("inputdimensions"), strict=True):
        rows = b.float32(b.reshape(x, (1, *x.shape)) if x.rank == 1 else x)
        width = b.static_dim(rows.shape[1], "the number of features")
        if width > size:
            rows = b.slice(rows, [0, 0], [rows.shape[0], size])
        parts.append(b.pad(rows, [0, 0], [0, size - width]) if width < size else rows)
    return b.concat(parts, 1)


@lowers("OneHotEncoder", domain=DOMAIN, partial="strings; zeros 0, which fails for numbers that are no category")
def one_hot_encoder(node: Node, b: Builder) -> Tensor:
    """float32 [..., categories]: 1 at the category that x is, elsewhere 0."""
    if node.has("cats_strings"):
        raise _strings()
    x, categories = node.input(0), np.asarray(node.ints("cats_int64s"), np.int64)
    if x.element is not _I64:
        x = b.cast(x, _I64)
    return b.cast(b.compare("EQUAL", b.unsqueeze(x, [x.rank]), b.constant(categories)), _F32)


def _strings() -> UnsupportedType:
    return UnsupportedType("LiteRT has no operators for strings", remedy="use numbers for labels and categories")


@lowers("LabelEncoder", since=2, domain=DOMAIN, partial="strings")
def label_encoder(node: Node, b: Builder) -> Tensor:
    """Numbers looked up in a table, whose last entry of a key counts; what is in none becomes the default. NaN is a
    key like any other since schema 4, and none before."""
    x = node.input(0)
    keys, values, default = _table(node)
    kept = {k if k == k else "nan": i for i, k in enumerate(keys.tolist())}  # NaN equals NaN here
    order = sorted(kept.values())
    keys, values = keys[order], values[order]
    element = ElementType.of(values.dtype)
    wide = b.unsqueeze(x, [x.rank])
    same = b.compare("EQUAL", wide, b.constant(keys.astype(x.element.dtype)))
    if node.version >= 4 and x.element.is_float and np.isnan(keys).any():
        unordered = b.logical("LOGICAL_AND", b.compare("NOT_EQUAL", wide, wide), b.constant(np.isnan(keys)))
        same = b.logical("LOGICAL_OR", same, unordered)
    place = b.arg("ARG_MAX", b.cast(same, ElementType.INT32), x.rank, ElementType.INT32)
    found = b.gather(b.constant(values), place, 0)
    return b.select(b.reduce("REDUCE_ANY", same, [x.rank], keep_dims=False), found, b.scalar(default, element))


def _table(node: Node) -> tuple[np.ndarray, np.ndarray, float | int]:
    """Keys, values and the default of a LabelEncoder."""
    found: list[np.ndarray] = []
    for side in ("keys", "values"):
        if (tensor := node.tensor(f"{side}_tensor")) is not None:
            found.append(np.asarray(tensor).reshape(-1))
        elif node.has(f"{side}_int64s"):
            found.append(np.asarray(node.ints(f"{side}_int64s"), np.int64))
        elif node.has(f"{side}_floats"):
            found.append(np.asarray(node.floats(f"{side}_floats"), np.float32))
        else:
            raise _strings()
    keys, values = found
    if len(keys) != len(values) or not len(keys):
        raise InvalidModel(f"{len(keys)} keys and {len(values)} values", where=node.where(), remedy=_AGAIN)
    if keys.dtype.kind not in "iuf" or values.dtype.kind not in "iuf":
        raise _strings()
    if (default := node.tensor("default_tensor")) is not None:
        return keys, values, np.asarray(default).reshape(-1)[0].item()
    return keys, values, node.int_("default_int64", -1) if values.dtype.kind in "iu" else node.float_(
        "default_float", -0.0)
