"""DFT and STFT of known lengths: a product with the matrix of the transform, and a convolution with its rows."""

from __future__ import annotations

import numpy as np

from fidelite.errors import ContradictoryModel, InvalidModel, UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor

MOST_ENTRIES = 1 << 25
"""Entries of a transform's matrix that are written into a file at most (128 MiB)."""


@lowers("DFT", until=19, partial="dynamic lengths; matrices of more than 2^25 entries")
def dft(node: Node, b: Builder) -> Tensor:
    return _dft(node, b, node.int_("axis", 1))


@lowers("DFT", since=20, partial="dynamic lengths; matrices of more than 2^25 entries")
def dft_along_operand(node: Node, b: Builder) -> Tensor:
    """Schema 20 takes the axis as an operand, and means the last one of the signal where there is none."""
    return _dft(node, b, -2 if node.optional(2) is None else node.ints_at(2, "axis")[0])


def _dft(node: Node, b: Builder, axis: int) -> Tensor:
    """x [..., n, ..., 1 or 2] with real and imaginary parts at the end."""
    x = node.input(0)
    element, x = x.element, b.float32(x)
    axis = node.normalized(axis, x.rank)
    if axis == x.rank - 1:
        raise InvalidModel("its axis is that of the real and imaginary parts", remedy="export the model again")
    size, parts = (b.static_dim(x.shape[a], "the length of a DFT") for a in (axis, -1))
    inverse, one_sided = bool(node.int_("inverse", 0)), bool(node.int_("onesided", 0))
    given = node.optional_constant(1, "dft_length")
    length = int(given.reshape(-1)[0]) if given is not None else \
        2 * (size - 1) if inverse and one_sided else size
    if length < 1:
        raise InvalidModel(f"its length is {length}", remedy="export the model again")
    matrix = inverse_of_one_sided(size, parts, length) if inverse and one_sided else \
        transform(size, parts, length, length // 2 + 1 if one_sided else length, inverse=inverse)
    order = [*(a for a in range(x.rank) if a not in (axis, x.rank - 1)), axis, x.rank - 1]
    x = b.transpose(x, order)
    flat = b.reshape(x, (*x.shape[:-2], size * parts))
    rows, columns = matrix.shape[:2]
    product = b.fully_connected(flat, b.constant(matrix.reshape(rows * columns, size * parts)), None)
    result = b.transpose(b.reshape(product, (*x.shape[:-2], rows, columns)), [order.index(a) for a in range(x.rank)])
    return b.cast(result, element)


def transform(size: int, parts: int, length: int, rows: int, *, inverse: bool = False) -> np.ndarray:
    """y_k = sum_n x_n exp(-2 pi i k n / length) for the first `rows` k, as float32 [rows, 2, size, parts]: real and
    imaginary parts of y from those (one or two) of x. The inverse has the other sign, and is divided by the length.

    x beyond the length is left out.
    """
    _limit(rows * 2 * size * parts)
    angle = _angles(rows, size, length)
    real, imaginary = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    both = np.stack([np.stack([real, -imaginary], -1), np.stack([imaginary, real], -1)], 1)[..., :parts]
    both[:, :, length:] = 0
    return (both / length if inverse else both).astype(np.float32)


def inverse_of_one_sided(size: int, parts: int, length: int) -> np.ndarray:
    """The real signal of `length` whose spectrum's first half is given: float32 [length, 1, size, parts].

    Every frequency but the first, and the last of an even length, stands for its conjugate too.
    """
    _limit(length * size * parts)
    angle = _angles(length, size, length)
    twice = np.where((np.arange(size) == 0) | (np.arange(size) * 2 == length), 1, 2)
    both = np.stack([np.cos(angle) * twice, -np.sin(angle) * twice], -1)
    both[:, length // 2 + 1:] = 0
    return (both[..., :parts] / length).astype(np.float32)[:, None]


def _angles(rows: int, columns: int, length: int) -> np.ndarray:
    turns = np.outer(np.arange(rows), np.arange(columns)) % length
    return 2 * np.pi * turns / length


def _limit(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise UnsupportedAttribute(f"the matrix of this transform has {entries} entries, and at most {MOST_ENTRIES} "
                                   "are written", remedy="transform shorter frames, or outside of the model")


@lowers("STFT", partial="frame_step, window and frame_length that are not constant")
def stft(node: Node, b: Builder) -> Tensor:
    """signal [N, length, 1 or 2] -> [N, frames, frequencies, 2]: the rows of the transform, times the window, slide
    over the signal."""
    x = node.input(0)
    element, x = x.element, b.float32(x)
    if x.rank == 2:
        x = b.reshape(x, (*x.shape, 1))
    parts = b.static_dim(x.shape[2], "the parts of a signal")
    step = node.ints_at(1, "frame_step")[0]
    window, given = node.optional_constant(2, "window"), node.optional_constant(3, "frame_length")
    if given is not None:
        length = int(given.reshape(-1)[0])
    else:
        length = b.static_dim(x.shape[1], "the length of an STFT's signal") if window is None else window.size
    if window is not None and window.size != length:
        raise ContradictoryModel(f"its window has {window.size} entries, and its frames {length}",
                                 remedy="export the model again")
    rows = length // 2 + 1 if node.int_("onesided", 1) else length
    matrix = transform(length, parts, length, rows)
    if window is not None:
        matrix = matrix * window.astype(np.float32)[:, None]
    frames = b.conv_2d(b.reshape(x, (x.shape[0], 1, x.shape[1], parts)),
                       b.constant(matrix.reshape(rows * 2, 1, length, parts)), None, strides=(1, step))
    return b.cast(b.reshape(frames, (x.shape[0], frames.shape[2], rows, 2)), element)
