"""Operators that networks are made of. TFLite stores a convolution's weights with the output channels first,
TensorFlow with the channels last."""

from __future__ import annotations

from typing import Any

from fidelite.tflite.ops import SAME
from fidelite.write.saved_model.elementwise import activated
from fidelite.write.saved_model.table import Call, Family

FAMILY = Family({})


def _padding(call: Call) -> str:
    return "SAME" if call.option("padding", SAME) == SAME else "VALID"


def _steps(call: Call, kind: str, axes: str) -> list[int]:
    """`strideH` and the like, or `dilationHFactor`, for the axes named."""
    names = [f"stride{a}" if kind == "stride" else f"dilation{a}Factor" for a in axes]
    return [int(call.option(name, 1)) for name in names]


def _biased(call: Call, x: Any, index: int = 2, *, grouped: bool = False) -> Any:
    """TensorFlow fuses a convolution with its BiasAdd, and then cannot run one in groups (2.21); a sum it leaves."""
    if call.has(index):
        x = x + call[index] if grouped else call.tf.nn.bias_add(x, call[index])
    return activated(call, x)


@FAMILY.makes("CONV_2D")
def _conv_2d(call: Call) -> Any:
    x = call.tf.nn.conv2d(call[0], call.weight(1, (1, 2, 3, 0)), strides=_steps(call, "stride", "HW"),
                          padding=_padding(call), dilations=_steps(call, "dilation", "HW"))
    return _biased(call, x, grouped=call.tensor(0).shape[3] != call.tensor(1).shape[3])


@FAMILY.makes("DEPTHWISE_CONV_2D")
def _depthwise_conv_2d(call: Call) -> Any:
    """TensorFlow's own takes one stride for both axes, and none beside a dilation; a convolution in as many groups as
    channels takes any."""
    tf, strides, dilations = call.tf, _steps(call, "stride", "HW"), _steps(call, "dilation", "HW")
    multiplier = int(call.option("depthMultiplier", 1))
    if strides[0] != strides[1] or (max(strides) > 1 and max(dilations) > 1):
        filters = call.weight(1, (1, 2, 0, 3))  # [KH, KW, 1, C * multiplier]
        x = tf.nn.conv2d(call[0], filters, strides=strides, padding=_padding(call), dilations=dilations)
        return _biased(call, x, grouped=True)
    filters = call.weight(1, (1, 2, 3, 0))  # [KH, KW, C * multiplier, 1]
    if multiplier > 1:
        _, height, width, channels = call.tensor(1).static_shape
        filters = tf.reshape(filters, [height, width, channels // multiplier, multiplier])
    x = tf.nn.depthwise_conv2d(call[0], filters, strides=[1, *strides, 1], padding=_padding(call), dilations=dilations)
    return _biased(call, x)


@FAMILY.makes("TRANSPOSE_CONV")
def _transpose_conv(call: Call) -> Any:
    x = call.tf.nn.conv2d_transpose(call[2], call.weight(1, (1, 2, 0, 3)), output_shape=call[0],
                                    strides=_steps(call, "stride", "HW"), padding=_padding(call))
    return _biased(call, x, 3)


@FAMILY.makes("CONV_3D")
def _conv_3d(call: Call) -> Any:
    x = call.tf.nn.conv3d(call[0], call.weight(1, (0, 1, 2, 3, 4)), strides=[1, *_steps(call, "stride", "DHW"), 1],
                          padding=_padding(call), dilations=[1, *_steps(call, "dilation", "DHW"), 1])
    return _biased(call, x)


@FAMILY.makes("CONV_3D_TRANSPOSE")
def _conv_3d_transpose(call: Call) -> Any:
    x = call.tf.nn.conv3d_transpose(call[2], call.weight(1, (0, 1, 2, 3, 4)), output_shape=call[0],
                                    strides=[1, *_steps(call, "stride", "DHW"), 1], padding=_padding(call))
    return _biased(call, x, 3)


@FAMILY.makes("FULLY_CONNECTED")
def _fully_connected(call: Call) -> Any:
    """x [..., I] times weights [O, I] transposed."""
    tf, x = call.tf, call[0]
    if call.tensor(0).rank != 2 and not call.option("keepNumDims", False):
        x = tf.reshape(x, [-1, call.tensor(1).shape[1]])
    return _biased(call, tf.linalg.matmul(x, call.weight(1, (1, 0))))


@FAMILY.makes("BATCH_MATMUL")
def _batch_matmul(call: Call) -> Any:
    identity = range(call.tensor(1).rank)
    return call.tf.linalg.matmul(call[0], call.weight(1, tuple(identity)), transpose_a=bool(call.option("adjX", False)),
                                 transpose_b=bool(call.option("adjY", False)))


@FAMILY.makes("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(call: Call) -> Any:
    """Averages leave padding out on both sides."""
    pool = call.tf.nn.avg_pool2d if call.operator.op == "AVERAGE_POOL_2D" else call.tf.nn.max_pool2d
    kernel = [int(call.option("filterHeight")), int(call.option("filterWidth"))]
    return activated(call, pool(call[0], ksize=kernel, strides=_steps(call, "stride", "HW"), padding=_padding(call)))


@FAMILY.makes("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(call: Call) -> Any:
    """tf.image.resize offers half-pixel centres only; the operators under it offer all three ways."""
    raw = call.tf.raw_ops
    resize = raw.ResizeBilinear if call.operator.op == "RESIZE_BILINEAR" else raw.ResizeNearestNeighbor
    return resize(images=call[0], size=call[1], align_corners=bool(call.option("alignCorners", False)),
                  half_pixel_centers=bool(call.option("halfPixelCenters", False)))


@FAMILY.makes("LOCAL_RESPONSE_NORMALIZATION")
def _local_response_normalization(call: Call) -> Any:
    figures = {name: float(call.option(name, default)) for name, default in (("bias", 0.0), ("alpha", 0.0),
                                                                             ("beta", 0.0))}
    return call.tf.nn.local_response_normalization(call[0], depth_radius=int(call.option("radius", 0)), **figures)
