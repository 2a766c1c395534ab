"""Conv and its kin. LiteRT convolves channels-last; the transposes around it are for the layout pass to place."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.errors import InvalidModel
from fidelite.lower.node import Node
from fidelite.lower.patches import convolve_patches, with_bias
from fidelite.lower.registry import lowers
from fidelite.lower.windows import Window, apply_padding, read_window
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor


@lowers("Conv", partial="sizes known only at run time together with weights known only there, or with more than 3 "
                        "spatial dimensions")
def conv(node: Node, b: Builder) -> Tensor:
    return convolution(node, b, node.input(0), node.input(1), node.optional(2))


def convolution(node: Node, b: Builder, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """x [N,C,...] and weights [O,C/groups,...], with the attributes of `node`, in x's type."""
    spatial = x.rank - 2
    if spatial < 1:
        raise InvalidModel("a convolution over no spatial dimension", remedy="export the model again")
    element = x.element
    x, weights = b.float32(x), b.float32(weights)
    bias = None if bias is None else b.float32(bias)
    window, groups = read_window(node, b.static(weights, "Conv")[2:]), node.int_("group", 1)
    if weights.constant is None or spatial > 3:
        return b.cast(with_bias(convolve_patches(x, weights, window, groups, b), bias, b), element)
    if spatial == 1:
        x, weights, window = b.unsqueeze(x, [2]), b.unsqueeze(weights, [2]), window.with_leading_unit()
    result = _conv_nd(x, weights, bias, window, groups, b)
    return b.cast(b.squeeze(result, [2]) if spatial == 1 else result, element)


def _conv_nd(x: Tensor, weights: Tensor, bias: Tensor | None, window: Window, groups: int, b: Builder) -> Tensor:
    """x [N,C,...], weights [O,C/groups,...] -> [N,O,...], with 2 or 3 spatial dimensions."""
    fused, added = (bias, None) if bias is None or bias.is_constant else (None, bias)
    last, padding = apply_padding(b, b.channels_last(x), window)
    result = convolve(last, weights, fused, window, groups, padding, b)
    if added is not None:
        result = b.add(result, added)
    return b.channels_first(result)


def convolve(x: Tensor, weights: Tensor, bias: Tensor | None, window: Window, groups: int, padding: int,
             b: Builder) -> Tensor:
    """Channels-last x with 2 or 3 spatial dimensions, constant weights [O,C/groups,...]; of `window`, the strides
    and dilations count."""
    return (_conv_3d if len(window.kernel) == 3 else _conv_2d)(x, weights, bias, window, groups, padding, b)


def _conv_2d(x: Tensor, weights: Tensor, bias: Tensor | None, window: Window, groups: int, padding: int,
             b: Builder) -> Tensor:
    options = {"strides": window.strides, "dilations": window.dilations, "padding": padding}
    channels: Dim = x.shape[3]
    filters = b.static(weights, "Conv")[0]
    if groups > 1 and groups == channels:  # [O,1,KH,KW] -> [1,KH,KW,O]
        kernel = b.transpose(weights, (1, 2, 3, 0))
        return b.depthwise_conv_2d(x, kernel, bias, multiplier=filters // groups, **options)  # type: ignore[arg-type]
    return b.conv_2d(x, b.transpose(weights, (0, 2, 3, 1)), bias, **options)  # type: ignore[arg-type]


def _conv_3d(x: Tensor, weights: Tensor, bias: Tensor | None, window: Window, groups: int, padding: int,
             b: Builder) -> Tensor:
    """LiteRT's CONV_3D has no groups: each group is convolved alone. [O,I,D,H,W] -> [D,H,W,I,O]."""
    parts = _grouped(x, weights, bias, groups, b)
    results = [b.conv_3d(part, b.transpose(w, (2, 3, 4, 1, 0)), own, strides=window.strides,
                         dilations=window.dilations, padding=padding) for part, w, own in parts]
    return b.concat(results, axis=4)


def _grouped(x: Tensor, weights: Tensor, bias: Tensor | None, groups: int,
             b: Builder) -> Sequence[tuple[Tensor, Tensor, Tensor | None]]:
    """The operands of each group: a slice of the channels (last axis), of the filters (first) and of the bias."""
    if groups == 1:
        return [(x, weights, bias)]
    channels = b.static_dim(x.shape[-1], "the channels of a grouped convolution")
    filters = b.static(weights, "Conv")[0]
    pieces = b.split(x, [channels // groups] * groups, axis=-1)
    size = filters // groups
    result: list[tuple[Tensor, Tensor, Tensor | None]] = []
    for i, piece in enumerate(pieces):
        part = slice(i * size, (i + 1) * size)
        assert weights.constant is not None
        own = None if bias is None or bias.constant is None else b.constant(bias.constant.numpy()[part])
        result.append((piece, b.constant(weights.constant.numpy()[part]), own))
    return result
