"""Inputs to ask a model with: structured, unlike one another, and the same each time.

White noise is a poor question: a network that pools gives nearly the same answer to any of it. Pictures here
are smooth at several scales, with edges and a little noise, and differ between samples in contrast and
brightness.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import BadSample, UsageError
from fidelite.runtime.protocol import Array, Port, dtype_of

Floats = NDArray[np.float64]
Kind = Literal["picture", "index", "mask", "values"]

_CONTRAST = (1.0, 0.6, 1.4)
_BRIGHTNESS = (0.0, 0.4, -0.4)
_FINEST = 64
_WHOLE = 1 << 53
DEFAULT_HIGH = 7
"""The largest integer given where no range is known. Small, since most integers index something."""


@dataclass(frozen=True, slots=True)
class InputHint:
    """What is known of an input beyond its type: the range of its values (both ends included) and their kind.

    "picture": smooth along all axes but the batch and the channels, "index": whole numbers spread over the
    range with both ends among them, "mask": ones, then zeros along the last axis, "values": a normal mix. By
    default, floats of rank 3 and more and 8-bit integers of rank 4 and more are pictures. `channel_axis` is
    where a picture's channels lie (default 1; for rank 3: 0). `tried` are numbers that the model compares a
    single number with: each takes another way through it, so the samples go through them first.
    """

    low: float | None = None
    high: float | None = None
    kind: Kind | None = None
    channel_axis: int | None = None
    tried: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise UsageError(f"an input's range cannot go from {self.low} to {self.high}")


def make_inputs(
    ports: Sequence[Port],
    *,
    count: int = 3,
    seed: int = 0,
    hints: Mapping[str, InputHint] | None = None,
    symbols: Mapping[str, int] | None = None,
) -> list[dict[str, Array]]:
    """`count` samples, each with an array for every port.

    `symbols` gives sizes to free dimensions: by the symbol's name, or as "input:axis" for any. What an input
    gets depends on its name, shape and type, the seed and the sample's number only. Raises `BadSample` for a
    dimension without a size, and for an element type that holds no numbers.
    """
    hints, symbols = hints or {}, symbols or {}
    shapes = {p.name: resolve_shape(p, symbols) for p in ports}
    return [
        {p.name: _array(p, shapes[p.name], hints.get(p.name, InputHint()), seed, index) for p in ports}
        for index in range(count)
    ]


def resolve_shape(port: Port, symbols: Mapping[str, int]) -> tuple[int, ...]:
    """The port's shape with the free dimensions' sizes put in. Raises `BadSample` where one has none."""
    sizes: list[int] = []
    for axis, dim in enumerate(port.shape):
        known = symbols.get(f"{port.name}:{axis}")
        if known is None and isinstance(dim, str):
            known = symbols.get(dim)
        size = dim if isinstance(dim, int) else known
        if size is None:
            which = f"'{dim}'" if dim else f"at axis {axis}"
            wanted = ",".join(str(d) if isinstance(d, int) else "N" for d in port.shape)
            raise BadSample(
                f"the dimension {which} of input '{port.name}' is free; say how large it is to be",
                remedy=f"--shape {port.name}={wanted}",
                details={"input": port.name, "axis": axis, "shape": list(port.shape)},
            )
        sizes.append(size)
    return tuple(sizes)


def _array(port: Port, shape: tuple[int, ...], hint: InputHint, seed: int, index: int) -> Array:
    try:
        dtype = dtype_of(port.dtype)
    except TypeError as error:
        raise BadSample(
            f"input '{port.name}' is {port.dtype}: there is no making up values for it",
            remedy="--samples FILE.npz",
        ) from error
    rng = np.random.default_rng([seed, zlib.crc32(port.name.encode("utf-8")), index])
    if port.dtype == "bool":
        chosen = _mask(rng, shape, index) if hint.kind == "mask" else _booleans(rng, shape, index)
        return chosen.astype(dtype)
    if port.dtype.startswith("complex"):
        real, imaginary = (_floats(rng, shape, hint, index) for _ in range(2))
        return (real + 1j * imaginary).astype(dtype)
    if port.dtype.startswith(("int", "uint")):
        return _integers(rng, shape, hint, index, dtype).astype(dtype)
    return _floats(rng, shape, hint, index).astype(dtype)


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], hint: InputHint, index: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    least, most = integer_range(dtype)
    kind = hint.kind or ("picture" if len(shape) >= 4 and dtype.name in ("uint8", "int8") else "index")
    if kind == "picture" and hint.low is None and hint.high is None:
        low, high = least, most
    else:
        low = max(least, 0 if hint.low is None else int(np.ceil(hint.low)))
        high = min(most, max(low, DEFAULT_HIGH) if hint.high is None else int(np.floor(hint.high)))
    if low > high:
        raise BadSample(f"no {dtype.name} lies between {hint.low} and {hint.high}")
    if kind == "mask":
        return _mask(rng, shape, index)
    if kind == "picture":
        low, high = max(low, -_WHOLE), min(high, _WHOLE)  # beyond, float64 skips whole numbers
        smooth = _within(_picture(rng, shape, hint.channel_axis), low, high, index)
        return np.rint(smooth).astype(np.int64)
    values = rng.integers(low, high, shape, dtype=np.int64, endpoint=True)
    if values.size == 1:
        first = [v for v in hint.tried if least <= v <= most] or [low, high]
        if index < len(first):
            values[...] = first[index]
    elif values.size > 1:
        values.flat[rng.choice(values.size, 2, replace=False)] = (low, high)
    return values


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest number of an integer type, as far as int64 reaches."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return int(info.min), min(int(info.max), 2**63 - 1)
    import ml_dtypes

    small = ml_dtypes.iinfo(dtype)
    return int(small.min), int(small.max)


def _booleans(rng: np.random.Generator, shape: tuple[int, ...], index: int) -> NDArray[np.bool_]:
    chosen = np.asarray(rng.random(shape) < 0.5)
    if chosen.size == 1:
        chosen = np.full(shape, index % 2 == 0)
    elif chosen.size:
        chosen.flat[rng.choice(chosen.size, 2, replace=False)] = (True, False)
    return chosen


def _mask(rng: np.random.Generator, shape: tuple[int, ...], index: int) -> NDArray[np.bool_]:
    """Ones up to a length, as attention masks are; the first sample's are all ones."""
    if not shape:
        return np.array(index % 2 == 0)
    last = shape[-1]
    lengths = rng.integers((last + 1) // 2, max(last, 1), (*shape[:-1], 1), endpoint=True)
    if index == 0:
        lengths[...] = last
    return np.broadcast_to(np.arange(last) < lengths, shape)


def _floats(rng: np.random.Generator, shape: tuple[int, ...], hint: InputHint, index: int) -> Floats:
    kind = hint.kind or ("picture" if len(shape) >= 3 else "values")
    if kind == "mask":
        return _mask(rng, shape, index).astype(np.float64)
    if kind == "index":
        low, high = hint.low or 0, DEFAULT_HIGH if hint.high is None else hint.high
        return _integers(rng, shape, InputHint(low, high, "index"), index, np.dtype(np.int64)) * 1.0
    unit = _picture(rng, shape, hint.channel_axis) if kind == "picture" else _values(rng, shape)
    if hint.low is not None and hint.high is not None:
        return _within(unit, hint.low, hint.high, index)
    return np.clip(_lit(unit, index), hint.low, hint.high)


def _lit(unit: Floats, index: int) -> Floats:
    """The sample's own contrast and brightness, so that no two samples look alike to a network that pools."""
    more = 1.0 + 0.15 * (index // len(_CONTRAST))
    place = index % len(_CONTRAST)
    return unit * (_CONTRAST[place] * more) + _BRIGHTNESS[place] * more


def _within(unit: Floats, low: float, high: float, index: int) -> Floats:
    """A mix of mean 0 and deviation 1, brought into a range of which most is used."""
    return np.clip((low + high) / 2 + _lit(unit, index) * (high - low) / 4, low, high)


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Normal noise upon a slow wave along the last axis."""
    noise = np.asarray(rng.standard_normal(shape))
    if noise.size < 8:
        return noise
    phase, turns = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 3)
    wave = np.sin(phase + turns * 2 * np.pi * np.linspace(0, 1, shape[-1]))
    return 0.8 * noise + 0.85 * wave


def _picture(rng: np.random.Generator, shape: tuple[int, ...], channel_axis: int | None) -> Floats:
    """Noise of several octaves, a slope, edges and a grain; mean 0 and deviation 1 over the sample."""
    if len(shape) < 3:
        return _values(rng, shape)
    axis = (0 if len(shape) == 3 else 1) if channel_axis is None else channel_axis % len(shape)
    lead, channels = (1 if len(shape) == 3 else shape[0 if axis else 1]), shape[axis]
    kept = [a for a in range(len(shape)) if a != axis]
    spatial = tuple(shape[a] for a in (kept if len(shape) == 3 else kept[1:]))
    picture = _octaves(rng, (lead, 1), spatial) + 0.6 * _octaves(rng, (lead, channels), spatial)
    grids = np.meshgrid(*(np.linspace(-1, 1, s) for s in spatial), indexing="ij")
    for strength, sharp in ((0.7, False), (0.5, True), (0.4, True), (0.3, True)):
        place = sum(d * g for d, g in zip(rng.standard_normal(len(grids)), grids, strict=True))
        place = np.asarray(place - rng.uniform(-0.5, 0.5))
        weights = rng.standard_normal((lead, channels, *(1 for _ in spatial)))
        picture += strength * weights * (np.sign(place) if sharp else place)
    picture += 0.1 * rng.standard_normal(picture.shape)
    picture -= picture.mean() if picture.size else 0.0
    picture /= (picture.std() if picture.size > 1 else 0.0) or 1.0
    if len(shape) == 3:
        return np.moveaxis(picture[0], 0, axis)
    return np.moveaxis(picture, 1, axis)


def _octaves(rng: np.random.Generator, planes: tuple[int, int], spatial: tuple[int, ...]) -> Floats:
    """Coarse noise on grids of 2, 4, 8, ... points per axis, smoothly interpolated, the finer the fainter."""
    total: Any = np.zeros((*planes, *spatial), np.float32)
    finest = min(_FINEST, max(spatial, default=1))
    for octave in range(1, max(finest.bit_length(), 2)):
        points = [min(2**octave, size) for size in spatial]
        coarse: Any = rng.standard_normal((*planes, *points), np.float32)
        for axis, (size, grid) in enumerate(zip(spatial, points, strict=True), start=2):
            coarse = _stretch(coarse, axis, size, grid)
        total += coarse * np.float32(0.65 ** (octave - 1))
    return total


def _stretch(coarse: Floats, axis: int, size: int, grid: int) -> Floats:
    """An axis of `grid` points interpolated to `size` with eased steps."""
    if size == grid:
        return coarse
    place = np.linspace(0, grid - 1, size)
    left = np.minimum(place.astype(np.int64), max(grid - 2, 0))
    share = place - left
    eased = (share * share * (3 - 2 * share)).astype(coarse.dtype)
    share = eased.reshape(-1, *(1 for _ in range(coarse.ndim - axis - 1)))
    right = np.minimum(left + 1, grid - 1)
    return coarse.take(left, axis) * (1 - share) + coarse.take(right, axis) * share
