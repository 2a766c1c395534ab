"""Operators that gather, scatter, order and reduce."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from fidelite.write.saved_model.table import Call, Family

FAMILY = Family({})

_REDUCTIONS = {"SUM": "reduce_sum", "MEAN": "reduce_mean", "REDUCE_PROD": "reduce_prod", "REDUCE_MAX": "reduce_max",
               "REDUCE_MIN": "reduce_min", "REDUCE_ANY": "reduce_any", "REDUCE_ALL": "reduce_all"}
# What a scatter does with the old and the new value, by the operator in its graph ("": the new one stays).
_SCATTERS = {"": "TensorScatterUpdate", "STABLEHLO_ADD": "TensorScatterAdd", "STABLEHLO_MAXIMUM": "TensorScatterMax",
             "STABLEHLO_MINIMUM": "TensorScatterMin"}


def _reduce(name: str, call: Call) -> Any:
    return attrgetter(name)(call.tf)(call[0], axis=call[1], keepdims=bool(call.option("keepDims", False)))


for _op, _name in _REDUCTIONS.items():
    FAMILY.makes(_op)(partial(_reduce, _name))


@FAMILY.makes("ARG_MAX", "ARG_MIN")
def _arg(call: Call) -> Any:
    pick = call.tf.argmax if call.operator.op == "ARG_MAX" else call.tf.argmin
    return pick(call[0], axis=call.tf.reshape(call[1], []), output_type=call.dtype())


@FAMILY.makes("CUMSUM")
def _cumsum(call: Call) -> Any:
    return call.tf.cumsum(call[0], axis=call.tf.reshape(call[1], []), exclusive=bool(call.option("exclusive", False)),
                          reverse=bool(call.option("reverse", False)))


@FAMILY.makes("TOPK_V2")
def _top_k(call: Call) -> Any:
    return call.tf.math.top_k(call[0], k=call.tf.reshape(call[1], []), sorted=True)


@FAMILY.makes("UNIQUE")
def _unique(call: Call) -> Any:
    return call.tf.unique(call[0], out_idx=call.dtype(1))


@FAMILY.makes("WHERE")
def _where(call: Call) -> Any:
    return call.tf.where(call[0])


@FAMILY.makes("ONE_HOT")
def _one_hot(call: Call) -> Any:
    return call.tf.one_hot(call[0], call.tf.reshape(call[1], []), on_value=call.tf.reshape(call[2], []),
                           off_value=call.tf.reshape(call[3], []), axis=int(call.option("axis", -1)))


@FAMILY.makes("GATHER")
def _gather(call: Call) -> Any:
    return call.tf.gather(call[0], call[1], axis=int(call.option("axis", 0)),
                          batch_dims=int(call.option("batchDims", 0)))


@FAMILY.makes("GATHER_ND")
def _gather_nd(call: Call) -> Any:
    return call.tf.gather_nd(call[0], call[1])


@FAMILY.makes("SCATTER_ND")
def _scatter_nd(call: Call) -> Any:
    return call.tf.scatter_nd(*call.operands)


@FAMILY.makes("STABLEHLO_SCATTER")
def _scatter(call: Call) -> Any:
    """Into the first axes; the update's window axes come last. What lies outside is left out, as LiteRT does."""
    tf, (x, indices, updates) = call.tf, call.operands
    region = call.operator.graphs[0]
    inner = region.operators[0].op if len(region) else ""
    if x.dtype == tf.bool:  # OR is the larger, AND the smaller
        inner = {"STABLEHLO_ADD": "STABLEHLO_MAXIMUM"}.get(inner, inner)
        scattered = _scattered(tf, _SCATTERS[inner], tf.cast(x, tf.int32), indices, tf.cast(updates, tf.int32))
        return tf.cast(scattered, tf.bool)
    return _scattered(tf, _SCATTERS[inner], x, indices, updates)


def _scattered(tf: Any, name: str, x: Any, indices: Any, updates: Any) -> Any:
    """TensorFlow fails on an index outside, so what would go there goes to one more place that is cut off again."""
    depth = int(indices.shape[-1])
    limits = tf.cast(tf.shape(x)[:depth], indices.dtype)
    inside = tf.reduce_all((indices >= 0) & (indices < limits), axis=-1, keepdims=True)
    nowhere = tf.concat([limits[:1], tf.zeros_like(limits[1:])], axis=0)
    widened = tf.pad(x, [[0, 1]] + [[0, 0]] * (len(x.shape) - 1))
    places = tf.where(inside, indices, nowhere)
    return getattr(tf.raw_ops, name)(tensor=widened, indices=places, updates=updates)[:-1]


@FAMILY.makes("NON_MAX_SUPPRESSION_V4")
def _non_max_suppression(call: Call) -> Any:
    """Indices padded with zeros to the most that may come out, and how many there are."""
    tf = call.tf
    most, overlap, least = (tf.reshape(call[i], []) for i in (2, 3, 4))
    return tf.raw_ops.NonMaxSuppressionV4(boxes=call[0], scores=call[1], max_output_size=most, iou_threshold=overlap,
                                          score_threshold=least, pad_to_max_output_size=True)


@FAMILY.makes("RANDOM_UNIFORM")
def _random_uniform(call: Call) -> Any:
    return call.tf.random.uniform(call[0], dtype=call.dtype())


@FAMILY.makes("RANDOM_STANDARD_NORMAL")
def _random_normal(call: Call) -> Any:
    return call.tf.random.normal(call[0], dtype=call.dtype())
