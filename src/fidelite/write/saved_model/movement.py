"""Operators that move, cut and join."""

from __future__ import annotations

from typing import Any

from fidelite.write.saved_model.table import Call, Family

FAMILY = Family({})


@FAMILY.makes("RESHAPE")
def _reshape(call: Call) -> Any:
    return call.tf.reshape(call[0], call[1] if call.has(1) else call.option("newShape"))


@FAMILY.makes("TRANSPOSE")
def _transpose(call: Call) -> Any:
    return call.tf.transpose(call[0], call[1])


@FAMILY.makes("EXPAND_DIMS")
def _expand_dims(call: Call) -> Any:
    axis = call.known(1)
    return call.tf.expand_dims(call[0], call[1] if axis is None else int(axis.reshape(())))


@FAMILY.makes("SQUEEZE")
def _squeeze(call: Call) -> Any:
    return call.tf.squeeze(call[0], axis=[int(a) for a in call.option("squeezeDims") or ()])


@FAMILY.makes("BROADCAST_TO")
def _broadcast_to(call: Call) -> Any:
    return call.tf.broadcast_to(call[0], call[1])


@FAMILY.makes("BROADCAST_ARGS")
def _broadcast_args(call: Call) -> Any:
    return call.tf.raw_ops.BroadcastArgs(s0=call[0], s1=call[1])


@FAMILY.makes("CONCATENATION")
def _concatenation(call: Call) -> Any:
    return call.tf.concat(list(call.operands), axis=int(call.option("axis", 0)))


@FAMILY.makes("PACK")
def _pack(call: Call) -> Any:
    return call.tf.stack(list(call.operands), axis=int(call.option("axis", 0)))


@FAMILY.makes("UNPACK")
def _unpack(call: Call) -> Any:
    return call.tf.unstack(call[0], num=len(call.operator.outputs), axis=int(call.option("axis", 0)))


@FAMILY.makes("SPLIT")
def _split(call: Call) -> Any:
    return call.tf.split(call[1], len(call.operator.outputs), axis=call[0])


@FAMILY.makes("SPLIT_V")
def _split_v(call: Call) -> Any:
    return call.tf.split(call[0], call[1], axis=call.tf.reshape(call[2], []), num=len(call.operator.outputs))


@FAMILY.makes("TILE")
def _tile(call: Call) -> Any:
    if call[0].dtype == call.tf.uint16:  # the one type that TensorFlow's has not
        signed = call.tf.tile(call.tf.bitcast(call[0], call.tf.int16), call[1])
        return call.tf.bitcast(signed, call.tf.uint16)
    return call.tf.tile(call[0], call[1])


@FAMILY.makes("SLICE")
def _slice(call: Call) -> Any:
    return call.tf.slice(*call.operands)


@FAMILY.makes("STRIDED_SLICE")
def _strided_slice(call: Call) -> Any:
    masks = {tf_name: int(call.option(name, 0)) for tf_name, name in (
        ("begin_mask", "beginMask"), ("end_mask", "endMask"), ("ellipsis_mask", "ellipsisMask"),
        ("new_axis_mask", "newAxisMask"), ("shrink_axis_mask", "shrinkAxisMask"))}
    return call.tf.strided_slice(*call.operands, **masks)


@FAMILY.makes("PAD")
def _pad(call: Call) -> Any:
    return call.tf.pad(call[0], call[1])


@FAMILY.makes("PADV2")
def _pad_v2(call: Call) -> Any:
    return call.tf.raw_ops.PadV2(input=call[0], paddings=call[1], constant_values=call.tf.reshape(call[2], []))


@FAMILY.makes("MIRROR_PAD")
def _mirror_pad(call: Call) -> Any:
    return call.tf.pad(call[0], call[1], mode="SYMMETRIC" if call.option("mode", 0) == 1 else "REFLECT")


@FAMILY.makes("REVERSE_V2")
def _reverse(call: Call) -> Any:
    return call.tf.reverse(call[0], call[1])


@FAMILY.makes("REVERSE_SEQUENCE")
def _reverse_sequence(call: Call) -> Any:
    return call.tf.reverse_sequence(call[0], call[1], seq_axis=int(call.option("seqDim", 0)),
                                    batch_axis=int(call.option("batchDim", 0)))


@FAMILY.makes("SPACE_TO_DEPTH")
def _space_to_depth(call: Call) -> Any:
    return call.tf.nn.space_to_depth(call[0], int(call.option("blockSize")))


@FAMILY.makes("DEPTH_TO_SPACE")
def _depth_to_space(call: Call) -> Any:
    return call.tf.nn.depth_to_space(call[0], int(call.option("blockSize")))


@FAMILY.makes("SPACE_TO_BATCH_ND")
def _space_to_batch(call: Call) -> Any:
    return call.tf.space_to_batch(call[0], call[1], call[2])


@FAMILY.makes("BATCH_TO_SPACE_ND")
def _batch_to_space(call: Call) -> Any:
    return call.tf.batch_to_space(call[0], call[1], call[2])


@FAMILY.makes("DYNAMIC_UPDATE_SLICE")
def _dynamic_update_slice(call: Call) -> Any:
    """The box put in by its mask: TensorFlow's own operator for it is XLA's. LiteRT moves a box that leaves the tensor
    back inside."""
    tf, (x, updates, begin) = call.tf, call.operands
    room = tf.shape(x) - tf.shape(updates)
    start = tf.clip_by_value(tf.cast(begin, tf.int32), 0, room)
    widths = tf.stack([start, room - start], axis=1)
    inside = tf.pad(tf.ones_like(updates, tf.bool), widths)
    return tf.where(inside, tf.pad(updates, widths), x)


@FAMILY.makes("SHAPE")
def _shape(call: Call) -> Any:
    return call.tf.shape(call[0], out_type=call.dtype())


@FAMILY.makes("FILL")
def _fill(call: Call) -> Any:
    return call.tf.fill(call[0], call.tf.reshape(call[1], []))


@FAMILY.makes("RANGE")
def _range(call: Call) -> Any:
    return call.tf.range(*(call.tf.reshape(x, []) for x in call.operands))
