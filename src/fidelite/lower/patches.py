"""Convolutions as products with gathered patches: for weights that the run time computes, and more than 3 axes.

x [N,C,...] is flattened to [N,C,L], with one more element of 0 behind it for what lies in the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from fidelite.lower.windows import Window
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


def _combined(along: Sequence[tuple[np.ndarray, np.ndarray]], sizes: Sequence[int], taps: Sequence[int],
              position: Callable[[np.ndarray, np.ndarray], np.ndarray], outside: int) -> np.ndarray:
    """Flat places [P,K] from those along each axis: ([out,kernel] element, [out,kernel] whether there is one).

    `position` makes a place of the flat element (over `sizes`) and of the flat tap (over `taps`).
    """
    element, tap, inside = (np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64), np.ones((1, 1), bool))
    for i, (at, valid) in enumerate(along):
        rows = element.shape[0] * at.shape[0]

        def joined(old: np.ndarray, new: np.ndarray, rows: int = rows) -> np.ndarray:
            return (old[:, None, :, None] + new[None, :, None, :]).reshape(rows, -1)

        element = joined(element, at * prod(sizes[i + 1:]))
        tap = joined(tap, np.broadcast_to(np.arange(at.shape[1]) * prod(taps[i + 1:]), at.shape))
        inside = joined(~inside, ~valid) == 0
    return np.where(inside, position(element, tap), outside)


def _with_zero(flat: Tensor, needed: bool, b: Builder) -> Tensor:
    return b.pad(flat, (0, 0, 0), (0, 0, 1)) if needed else flat


def convolve_patches(x: Tensor, weights: Tensor, window: Window, groups: int, b: Builder) -> Tensor:
    """x [N,C,...], weights [O,C/groups,...] -> [N,O,...]."""
    n, channels, *_ = x.shape
    c = b.static_dim(channels, "the channels of a convolution")
    sizes = [b.static_dim(d, "a convolution whose weights the run time computes") for d in x.shape[2:]]
    along: list[tuple[np.ndarray, np.ndarray]] = []
    for i, size in enumerate(sizes):
        pads = window.padding(i, size)
        assert pads is not None
        out = (size + sum(pads) - window.reach(i)) // window.strides[i] + 1
        at = np.arange(out)[:, None] * window.strides[i] + np.arange(window.kernel[i]) * window.dilations[i] - pads[0]
        along.append((at, (at >= 0) & (at < size)))
    length, taps, filters = prod(sizes), prod(window.kernel), b.static_dim(weights.shape[0], "a convolution's filters")
    places = _combined(along, sizes, window.kernel, lambda element, tap: element, length)
    flat = _with_zero(b.reshape(x, (n, c, length)), bool((places == length).any()), b)
    patches = b.gather(flat, b.int32(places.T.reshape(-1).tolist()), 2)  # [N, C, taps * places]
    columns = b.reshape(patches, (n, groups, c // groups * taps, places.shape[0]))
    rows = b.reshape(weights, (1, groups, filters // groups, c // groups * taps))
    return b.reshape(b.batch_matmul(rows, columns), (n, filters, *(a.shape[0] for a, _ in along)))


def convolve_patches_transposed(x: Tensor, weights: Tensor, window: Window, outs: Sequence[int], groups: int,
                                b: Builder) -> Tensor:
    """x [N,C,...], weights [C,O/groups,...] -> [N,O,*outs], `window.before` cut off in front."""
    n, channels, *_ = x.shape
    c = b.static_dim(channels, "the channels of a convolution")
    sizes = [b.static_dim(d, "a convolution whose weights the run time computes") for d in x.shape[2:]]
    along: list[tuple[np.ndarray, np.ndarray]] = []
    for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        at = np.arange(out)[:, None] + window.before[i] - np.arange(window.kernel[i]) * window.dilations[i]
        stride = window.strides[i]
        along.append((at // stride, (at % stride == 0) & (at >= 0) & (at < size * stride)))
    length, taps = prod(sizes), prod(window.kernel)
    filters = b.static_dim(weights.shape[1], "a convolution's filters")
    places = _combined(along, sizes, window.kernel, lambda element, tap: tap * length + element, taps * length)
    rows = b.transpose(b.reshape(weights, (1, groups, c // groups, filters * taps)), (0, 1, 3, 2))
    made = b.batch_matmul(rows, b.reshape(x, (n, groups, c // groups, length)))  # [N, G, O/G * taps, L]
    flat = b.reshape(made, (n, groups * filters, taps * length))
    flat = _with_zero(flat, bool((places == taps * length).any()), b)
    gathered = b.gather(flat, b.int32(places.reshape(-1).tolist()), 2)
    summed = b.reduce("SUM", b.reshape(gathered, (n, groups * filters, *places.shape)), [3], keep_dims=False)
    return b.reshape(summed, (n, groups * filters, *outs))


def with_bias(result: Tensor, bias: Tensor | None, b: Builder) -> Tensor:
    """[N,O,...] plus bias [O]."""
    return result if bias is None else b.add(result, b.reshape(bias, (1, bias.shape[0], *[1] * (result.rank - 2))))
