"""ConvTranspose: by TRANSPOSE_CONV, or as a convolution of the input with zeros spread between its elements.

Element o of the result gathers x[i] * w[k] over all i * stride + k * dilation = o + pads_begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fidelite.errors import InvalidModel
from fidelite.lower.convolution import convolve
from fidelite.lower.node import Node
from fidelite.lower.patches import convolve_patches_transposed, with_bias
from fidelite.lower.registry import lowers
from fidelite.lower.windows import Window, pad_or_crop, read_window
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Apply
from fidelite.tflite.dims import Dim, product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import SAME, VALID

_MANY_GROUPS = 4
"""From here on one grouped convolution over spread-out zeros beats one TRANSPOSE_CONV per group."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A window whose `before` and `after` are what is cut off the full result; `sizes` is what is left."""

    window: Window
    sizes: tuple[Dim, ...]


@lowers("ConvTranspose", partial="sizes known only at run time together with weights known only there, or with more "
                                 "than 3 spatial dimensions")
def conv_transpose(node: Node, b: Builder) -> Tensor:
    x, weights = node.input(0), node.input(1)
    spatial = x.rank - 2
    if spatial < 1:
        raise InvalidModel("a convolution over no spatial dimension", remedy="export the model again")
    element, groups = x.element, node.int_("group", 1)
    spread = _read(node, x, b.static(weights, "ConvTranspose")[2:], b)
    shape = (x.shape[0], b.static_dim(weights.shape[1], "a convolution's filters") * groups, *spread.sizes)
    if 0 in shape:
        return b.constant(np.zeros([b.static_dim(d, "an empty result") for d in shape], element.dtype))
    bias = node.optional(2)
    x, weights, bias = b.float32(x), b.float32(weights), None if bias is None else b.float32(bias)
    if weights.constant is None or spatial > 3:
        outs = [b.static_dim(d, "a convolution whose weights the run time computes") for d in spread.sizes]
        result = convolve_patches_transposed(x, weights, spread.window, outs, groups, b)
        return b.cast(with_bias(result, bias, b), element)
    fused, added = (bias, None) if bias is None or bias.is_constant else (None, bias)
    if spatial == 1:
        x, weights = b.unsqueeze(x, [2]), b.unsqueeze(weights, [2])
        spread = Spread(spread.window.with_leading_unit(), (1, *spread.sizes))
    last = b.channels_last(x)
    direct = spatial < 3 and groups < _MANY_GROUPS and max(spread.window.strides) > 1 == max(spread.window.dilations)
    result = (_directly if direct else _by_convolution)(last, weights, fused, spread, groups, b)
    if added is not None:
        result = b.add(result, added)
    result = b.channels_first(result)
    return b.cast(b.squeeze(result, [2]) if spatial == 1 else result, element)


def _read(node: Node, x: Tensor, kernel: Sequence[int], b: Builder) -> Spread:
    """The window, with what `auto_pad`, `output_shape` and `output_padding` make of its pads."""
    window = read_window(node, kernel)
    rank = len(kernel)
    more = node.ints("output_padding", None) or (0,) * rank
    wanted = node.ints("output_shape", None)
    same = window.auto_pad.startswith("SAME")
    if len(more) != rank or (wanted is not None and len(wanted) not in (rank, rank + 2)):
        raise InvalidModel("ConvTranspose has a kernel of one number of dimensions, and an output_padding or "
                           "output_shape of another", remedy="export the model again")
    before, after, sizes = list[int](), list[int](), list[Dim]()
    for i, size in enumerate(x.shape[2:]):
        made = (size - 1) * window.strides[i] + window.reach(i)
        if wanted is not None or same:
            out = wanted[len(wanted) - rank + i] if wanted is not None else size * window.strides[i]
            # A result that is wanted longer than the kernel makes it has zeros at its end.
            total = max(b.static_dim(made + more[i] - out, "the padding of ConvTranspose"), 0)
            before.append(total // 2 if window.auto_pad == "SAME_UPPER" else total - total // 2)
        else:
            out = made + more[i] - (window.before[i] + window.after[i])
            before.append(window.before[i])
        after.append(b.static_dim(made - out, "the padding of ConvTranspose") - before[i])
        sizes.append(out)
    return Spread(replace(window, before=tuple(before), after=tuple(after), auto_pad="NOTSET"), tuple(sizes))


# -- channels-last x [N,H,W,C] or [N,D,H,W,C], weights [C,O/groups,...]


def _directly(x: Tensor, weights: Tensor, bias: Tensor | None, spread: Spread, groups: int, b: Builder) -> Tensor:
    """By TRANSPOSE_CONV, one for each group."""
    window = spread.window
    kernel = b.transpose(weights, (1, 2, 3, 0))  # [O,KH,KW,C]
    if groups == 1 and all(_is_same(x.shape[i + 1], spread, i) for i in range(2)):
        return b.transpose_conv(x, kernel, bias, (x.shape[0], *spread.sizes, kernel.shape[0]), strides=window.strides,
                                padding=SAME)
    # Where more is wanted than the kernel makes: further input elements of zero.
    earlier = [-(-max(-p, 0) // s) for p, s in zip(window.before, window.strides, strict=True)]
    later = [-(-max(-p, 0) // s) for p, s in zip(window.after, window.strides, strict=True)]
    x = b.pad(x, (0, *earlier, 0), (0, *later, 0))
    sizes = [(x.shape[i + 1] - 1) * window.strides[i] + window.kernel[i] for i in range(2)]
    if groups == 1:
        parts = [(x, kernel, bias)]
    else:
        channels = b.static_dim(x.shape[3], "the channels of a grouped convolution") // groups
        parts = [(piece, _part(kernel, 3, i, groups, b), None if bias is None else _part(bias, 0, i, groups, b))
                 for i, piece in enumerate(b.split(x, [channels] * groups, axis=3))]
    result = b.concat([b.transpose_conv(piece, part, own, (x.shape[0], *sizes, part.shape[0]), strides=window.strides,
                                        padding=VALID) for piece, part, own in parts], axis=3)
    begin = [p + e * s for p, e, s in zip(window.before, earlier, window.strides, strict=True)]
    return b.slice(result, (0, *begin, 0), (x.shape[0], *spread.sizes, result.shape[3]))


def _is_same(size: Dim, spread: Spread, axis: int) -> bool:
    """Whether LiteRT's SAME cuts just this off: it takes ceil(out / stride) = size, and half of the rest in front."""
    window = spread.window
    missing = size * window.strides[axis] - spread.sizes[axis]
    if not isinstance(missing, int) or not 0 <= missing < window.strides[axis]:
        return False
    total = window.kernel[axis] - window.strides[axis] + missing
    return total >= 0 and window.before[axis] == total // 2


def _part(constant: Tensor, axis: int, index: int, parts: int, b: Builder) -> Tensor:
    """One of the equal parts of a constant along an axis."""
    assert constant.constant is not None
    size = constant.static_shape[axis] // parts
    chosen = (slice(None),) * axis + (slice(index * size, (index + 1) * size),)
    shape = tuple(size if i == axis else d for i, d in enumerate(constant.static_shape))
    return b.constant(constant.constant.then(Apply(("part", axis, index, parts), lambda a: a[chosen], shape=shape)))


def _by_convolution(x: Tensor, weights: Tensor, bias: Tensor | None, spread: Spread, groups: int,
                    b: Builder) -> Tensor:
    """As a convolution of stride 1, with the kernel turned round, over x with zeros between its elements."""
    window = spread.window
    axes = range(len(window.kernel))
    after = list(window.after)
    for i, stride in enumerate(window.strides):
        if stride > 1:
            x = _spread_out(x, i + 1, stride, b)
            after[i] += stride - 1
    x = pad_or_crop(b, x, [0, *(window.reach(i) - 1 - window.before[i] for i in axes), 0],
                    [0, *(window.reach(i) - 1 - after[i] for i in axes), 0])
    once = replace(window, strides=(1,) * len(window.kernel))
    return convolve(x, _turned(weights, groups, b), bias, once, groups, VALID, b)


def _spread_out(x: Tensor, axis: int, stride: int, b: Builder) -> Tensor:
    """`stride` - 1 zeros behind every element along `axis`."""
    lead, tail = x.shape[:axis], x.shape[axis + 1:]
    single = b.reshape(x, (product((*lead, x.shape[axis])), 1, product(tail)))
    return b.reshape(b.pad(single, (0, 0, 0), (0, stride - 1, 0)), (*lead, x.shape[axis] * stride, *tail))


def _turned(weights: Tensor, groups: int, b: Builder) -> Tensor:
    """[C,O/groups,...] -> [O,C/groups,...], every spatial axis reversed."""
    assert weights.constant is not None
    channels, filters, *kernel = weights.static_shape
    shape = (filters * groups, channels // groups, *kernel)

    def turn(array: np.ndarray) -> np.ndarray:
        split = array.reshape(groups, channels // groups, filters, *kernel).swapaxes(1, 2)
        return np.flip(split, tuple(range(3, split.ndim))).reshape(shape)

    return b.constant(weights.constant.then(Apply(("turned", groups), turn, shape=shape)))
