"""GridSample: elements at computed places of an image, gathered as rows of channels and weighed; and AffineGrid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fidelite.errors import UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.staged import Staged, Value
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor

_A = -0.75
"""The factor of the cubic kernel (Keys, 1981), which ONNX leaves open and ONNX Runtime and PyTorch fix."""
_EXACT_FLOATS = 1 << 24
_MARGINS = {"nearest": (-1, 0, 1, 1), "linear": (-2, 0, 2, 2), "cubic": (-3, 1, 4, 4)}
"""By mode: how far below 0 and above the size a coordinate may be held without any element coming into reach, and how
many zeros that takes in front and behind."""

Taps = Sequence[tuple[Value, "Value | None"]]
"""Places along one axis, counted in floats, with their weights (None: 1)."""


@dataclass(frozen=True)
class _Rule:
    mode: str
    padding: str
    aligned: bool


@lowers("GridSample", since=16, until=19, partial="dynamic sizes of the sampled image; integers but for nearest")
def grid_sample(node: Node, b: Builder) -> Tensor:
    names = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
    return _grid_sample(node, b, names.get(node.str_("mode", "bilinear"), ""))


@lowers("GridSample", since=20, partial="dynamic sizes of the sampled image; integers but for nearest")
def grid_sample_named(node: Node, b: Builder) -> Tensor:
    """Schema 20 adds volumes, and calls the modes linear and cubic; ONNX Runtime still knows the older names."""
    mode = node.str_("mode", "linear")
    return _grid_sample(node, b, {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


def _grid_sample(node: Node, b: Builder, mode: str) -> Tensor:
    """x [N, C, sizes], grid [N, out, len(sizes)] with the last size first -> [N, C, out]."""
    x, grid = node.input(0), node.input(1)
    rule = _Rule(mode, node.str_("padding_mode", "zeros"), bool(node.int_("align_corners", 0)))
    if mode not in _MARGINS or rule.padding not in ("zeros", "border", "reflection"):
        raise UnsupportedAttribute(f"its mode or padding_mode '{rule.padding}' is unknown",
                                   remedy="ONNX knows linear, nearest and cubic; zeros, border and reflection")
    if mode == "cubic" and x.rank != 4:
        raise UnsupportedAttribute("cubic sampling of a volume is not defined by ONNX Runtime",
                                   remedy="use mode linear")
    if mode != "nearest" and not x.element.is_float:
        raise UnsupportedType(f"{mode} sampling of {x.element.name} has no defined rounding",
                              remedy="cast to float32 before it")
    sizes = [b.static_dim(d, "the size of an image that is sampled") for d in x.shape[2:]]
    element = x.element
    if mode != "nearest":
        x = b.float32(x)
    x = b.channels_last(x)
    if rule.padding == "zeros":
        _, _, front, behind = _MARGINS[mode]
        x = b.pad(x, [0, *[front] * len(sizes), 0], [0, *[behind] * len(sizes), 0])
    padded = [b.static_dim(d, "a size") for d in x.shape[1:-1]]
    n, channels, out, places = x.shape[0], x.shape[-1], grid.shape[1:-1], product(grid.shape[1:-1])
    s = Staged(b)
    at = _located(s, s.reshape(s.known(grid), (grid.shape[0], places, len(sizes))), rule, sizes)
    taps = _taps(s, at, rule, sizes)
    result = weighed(s, b.reshape(x, (n, prod(padded), channels)), taps, padded)
    return b.cast(b.channels_first(b.reshape(result, (n, *out, channels))), element)


def _located(s: Staged, grid: Value, rule: _Rule, sizes: Sequence[int]) -> Value:
    """-1..1 as coordinates of elements, in ONNX Runtime's order of operations. Coordinates from which only zeros are
    in reach are held near."""
    lengths = np.asarray(sizes[::-1], np.float32)
    at = s.binary("ADD", grid, 1)
    if rule.aligned:
        at = s.binary("MUL", s.binary("MUL", at, 0.5), lengths - 1)
    else:
        at = s.binary("MUL", s.binary("SUB", s.binary("MUL", at, lengths), 1), 0.5)
    if rule.mode == "nearest":
        at = s.unary("ROUND", at)
    if rule.padding == "zeros":
        low, high, _, _ = _MARGINS[rule.mode]
        at = s.clamp(at, low, lengths + np.float32(high))
    return at


def _taps(s: Staged, at: Value, rule: _Rule, sizes: Sequence[int]) -> list[Taps]:
    """For each axis of the image, first to last, the places and weights that make up an element."""
    lengths = np.asarray(sizes[::-1], np.float32)
    if rule.mode == "nearest":
        pairs: list[tuple[Value, Value | None]] = [(_inside(s, at, rule, lengths), None)]
    else:
        base = s.unary("FLOOR", at)
        rest = s.binary("SUB", at, base)
        weights = _linear(s, rest) if rule.mode == "linear" else _cubic(s, rest)
        first = 0 if rule.mode == "linear" else -1
        pairs = [(_inside(s, s.binary("ADD", base, first + k) if first + k else base, rule, lengths), w)
                 for k, w in enumerate(weights)]
    return [[(s.part(place, i), None if w is None else s.part(w, i)) for place, w in pairs]
            for i in reversed(range(len(sizes)))]


def _inside(s: Staged, place: Value, rule: _Rule, lengths: np.ndarray) -> Value:
    """Whole places brought into the image, or, for zeros, to where they lie in the padded one."""
    if rule.padding == "zeros":
        return s.binary("ADD", place, _MARGINS[rule.mode][2])
    if rule.padding == "border":
        return s.clamp(place, 0, lengths - 1)
    # Mirrored at the middle of the outermost elements, or (not aligned) at their outer edges.
    period = 2 * (lengths - 1) if rule.aligned else 2 * lengths
    far = period if rule.aligned else period - 1
    folded = s.binary("FLOOR_MOD", place, np.maximum(period, np.float32(1)))
    return s.binary("MINIMUM", folded, s.binary("SUB", np.maximum(far, np.float32(0)), folded)) \
        if np.all(period) else s.clamp(s.binary("MINIMUM", folded, s.binary("SUB", far, folded)), 0, lengths - 1)


def _linear(s: Staged, rest: Value) -> list[Value]:
    return [s.binary("SUB", 1, rest), rest]


def _cubic(s: Staged, rest: Value) -> list[Value]:
    """Keys' kernel at distances rest + 1, rest, 1 - rest and 2 - rest."""
    back = s.binary("SUB", 1, rest)
    return [_outer(s, rest), _inner(s, rest), _inner(s, back), _outer(s, back)]


def _inner(s: Staged, t: Value) -> Value:
    """((a + 2) t - (a + 3)) t^2 + 1."""
    line = s.binary("SUB", s.binary("MUL", t, _A + 2), _A + 3)
    return s.binary("ADD", s.binary("MUL", s.binary("MUL", line, t), t), 1)


def _outer(s: Staged, t: Value) -> Value:
    """((a u - 5a) u + 8a) u - 4a with u = t + 1."""
    u = s.binary("ADD", t, 1)
    line = s.binary("ADD", s.binary("MUL", s.binary("SUB", s.binary("MUL", u, _A), 5 * _A), u), 8 * _A)
    return s.binary("SUB", s.binary("MUL", line, u), 4 * _A)


def weighed(s: Staged, rows: Tensor, taps: Sequence[Taps], sizes: Sequence[int]) -> Tensor:
    """rows [N, product(sizes), C] at the taps of every axis [N, P, 1], weighed along the last axis first:
    [N, P, C]."""
    whole = prod(sizes) >= _EXACT_FLOATS  # beyond, floats do not count every place
    strides = [prod(sizes[i + 1:]) for i in range(len(sizes))]

    def gathered(chosen: Sequence[Value]) -> Tensor:
        axis = len(chosen)
        if axis == len(sizes):
            index = s.int32(s.total(chosen))
            n, places = (index.shape[0], index.shape[1])
            return s.b.gather(rows, s.tensor(s.reshape(index, (n, places))), 1, batch_dims=1)
        parts: list[Value] = []
        for place, weight in taps[axis]:
            place = s.int32(place) if whole else place
            scaled = place if strides[axis] == 1 else s.binary("MUL", place, strides[axis])
            part = gathered([*chosen, scaled])
            parts.append(part if weight is None else s.binary("MUL", part, weight))
        return s.tensor(s.total(parts))

    return gathered([])


# -- AffineGrid

@lowers("AffineGrid", partial="sizes that only the run time knows, unless the result's shape is declared")
def affine_grid(node: Node, b: Builder) -> Tensor:
    """theta [N, axes, axes + 1] times the places of an image's elements in -1..1: [N, sizes, axes], last axis first.

    ONNX's own definition in other operators drops the batch where it is 1.
    """
    theta, aligned = node.input(0), bool(node.int_("align_corners", 0))
    declared = node.declared_shape()
    if node.known_dims(1) is None and declared is not None:
        sizes = declared[1:-1]
    else:
        sizes = [b.static_dim(d, "the size of an AffineGrid") for d in node.dims_at(1, "size")[2:]]
    steps = [_spread(n, aligned) for n in sizes]
    places = np.stack([*reversed(np.meshgrid(*steps, indexing="ij")), np.ones(sizes, np.float32)], -1)
    flat = b.constant(places.reshape(1, prod(sizes), len(sizes) + 1))
    grid = b.batch_matmul(flat, b.float32(theta), adj_y=True)
    return b.cast(b.reshape(grid, (theta.shape[0], *sizes, len(sizes))), theta.element)


def _spread(count: int, aligned: bool) -> np.ndarray:
    """Places of `count` elements in -1..1: from edge to edge, or (not aligned) in the middle of equal parts."""
    two = np.float32(2)
    if aligned:
        step, start = two / np.float32(max(count - 1, 1)), np.float32(-1)
    else:
        step = two / np.float32(max(count, 1))
        start = step / two - np.float32(1)
    return start + np.arange(count, dtype=np.float32) * step
