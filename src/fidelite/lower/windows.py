"""Sliding windows: what Conv, ConvTranspose and the pools have in common (kernel, strides, dilations, padding)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fidelite.errors import InvalidModel
from fidelite.lower.node import Node
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import SAME, VALID


@dataclass(frozen=True, slots=True)
class Window:
    """Per spatial axis. `pads` is None where `auto_pad` decides (SAME_UPPER, SAME_LOWER)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    auto_pad: str

    def with_leading_unit(self) -> Window:
        """The same window over one more, leading, spatial axis of size 1."""
        return Window((1, *self.kernel), (1, *self.strides), (1, *self.dilations), (0, *self.before),
                      (0, *self.after), self.auto_pad)

    def reach(self, axis: int) -> int:
        """How many elements the window covers along `axis`, holes included."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def same_padding(self, axis: int, size: int) -> tuple[int, int]:
        """SAME_UPPER padding of an axis of `size`: output = ceil(size / stride), the odd element goes to the end."""
        stride = self.strides[axis]
        total = max((-(-size // stride) - 1) * stride + self.reach(axis) - size, 0)
        return total // 2, total - total // 2

    def padding(self, axis: int, size: Dim) -> tuple[int, int] | None:
        """Elements added before and after an axis of `size`; None where that depends on a symbolic size."""
        if self.auto_pad in ("NOTSET", "VALID"):
            return self.before[axis], self.after[axis]
        if not isinstance(size, int):
            if self.strides[axis] != 1:
                return None
            size = self.reach(axis)  # with stride 1 the padding does not depend on the size
        small, large = self.same_padding(axis, size)
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)


def read_window(node: Node, kernel: Sequence[int]) -> Window:
    """The window attributes of `node`, whose kernel has the given spatial sizes. Raises InvalidModel if they clash."""
    rank = len(kernel)
    auto_pad = node.str_("auto_pad", "NOTSET") or "NOTSET"
    pads = node.ints("pads", None) or [0] * (2 * rank)
    if auto_pad == "VALID":
        pads = [0] * (2 * rank)
    strides = node.ints("strides", None) or [1] * rank
    dilations = node.ints("dilations", None) or [1] * rank
    if not len(strides) == len(dilations) == len(pads) // 2 == rank:
        raise InvalidModel(f"{node.op} has a kernel of {rank} spatial dimensions, and strides, dilations or pads of "
                           "another number", where=node.where(), remedy="export the model again")
    return Window(tuple(kernel), tuple(strides), tuple(dilations), tuple(pads[:rank]), tuple(pads[rank:]), auto_pad)


def apply_padding(b: Builder, x: Tensor, window: Window, value: float | int = 0) -> tuple[Tensor, int]:
    """A channels-last `x`, padded (and cropped) where the window asks for it, and the LiteRT padding that is left.

    Where LiteRT's SAME pads just so, nothing is added and SAME is returned; else explicit PAD and VALID.
    """
    sizes = x.shape[1:-1]
    pads = [window.padding(axis, size) for axis, size in enumerate(sizes)]
    if any(p is None for p in pads):
        if window.auto_pad == "SAME_UPPER" and value == 0:
            return x, SAME
        b.static(x, f"auto_pad {window.auto_pad} with strides")
    known = [p for p in pads if p is not None]
    if not any(any(p) for p in known):
        return x, VALID
    if all(_is_same(window, axis, sizes[axis], pair) for axis, pair in enumerate(known)):
        return x, SAME
    return pad_or_crop(b, x, [0, *(p[0] for p in known), 0], [0, *(p[1] for p in known), 0], value), VALID


def _is_same(window: Window, axis: int, size: Dim, pair: tuple[int, int]) -> bool:
    """Whether LiteRT's SAME adds exactly `pair` along `axis`."""
    if isinstance(size, int):
        return window.same_padding(axis, size) == pair
    return window.strides[axis] == 1 and window.same_padding(axis, window.reach(axis)) == pair


def pad_or_crop(b: Builder, x: Tensor, before: Sequence[int], after: Sequence[int], value: float | int = 0) -> Tensor:
    """Constant padding where positive, cropping where negative."""
    if any(p < 0 for p in (*before, *after)):
        begin = [max(-p, 0) for p in before]
        x = b.slice(x, begin, [d - s + min(p, 0) for d, s, p in zip(x.shape, begin, after, strict=True)])
    return b.pad(x, [max(p, 0) for p in before], [max(p, 0) for p in after], value)
