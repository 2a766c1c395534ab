"""What the tests of elementwise operators draw: shapes that broadcast, values, schema versions, symbolic axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from fidelite.errors import RuntimeCrash
from fidelite.tflite.graph import Model
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, one_node, run_onnx

Shape = tuple[int, ...]
FLOATS = ("float32", "float16", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
SEEDS = st.integers(0, 99)
TOLERANCES = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-5}


@cache
def versions(op: str, first: int = 7, newest: int = 26) -> tuple[int, ...]:
    """An opset for each schema version of `op` that ONNX Runtime knows."""
    since = {s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op and not s.domain}
    return tuple(sorted({max(v, first) for v in since if v <= newest}))


def shapes(max_rank: int = 5) -> st.SearchStrategy[Shape]:
    """Also equal, unit and empty dimensions, scalars, and now and then more dimensions than XNNPACK takes."""
    usual = st.lists(st.sampled_from([1, 2, 3, 3, 5]), max_size=max_rank).map(tuple)
    rare = st.sampled_from([(0,), (2, 0, 3), (1, 0), (2, 1, 2, 1, 2, 1, 3), (1, 2, 1, 2, 1, 2, 1, 2)])
    return st.one_of(usual, usual, usual, rare)


@st.composite
def broadcasting(draw: st.DrawFn, count: int) -> tuple[Shape, ...]:
    """`count` shapes that broadcast together."""
    whole = draw(shapes())
    result: list[Shape] = []
    for _ in range(count):
        dims = tuple(1 if draw(st.integers(0, 3)) == 0 else d for d in whole)
        start = draw(st.integers(0, len(dims))) if draw(st.booleans()) else 0
        result.append(dims[start:])
    result[draw(st.integers(0, count - 1))] = whole
    return tuple(result)


def values(shape: Shape, dtype: str, seed: int, low: float = -4.0, high: float = 4.0) -> Array:
    """Evenly spread over low..high (which integers include), cut to the type's range."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.startswith(("int", "uint")):
        info = np.iinfo(dtype)
        return rng.integers(max(int(low), info.min), min(int(high), info.max), shape, dtype=dtype, endpoint=True)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


def full_range(shape: Shape, dtype: str, seed: int) -> Array:
    """All bits random."""
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def agrees(op: str, feeds: Mapping[str, Array], *, opset: int, reference: Callable[..., Any] | None = None,
           symbolic: bool = False, constants: Mapping[str, Array] | None = None, rtol: float | None = None,
           atol: float = 1e-6, **arguments: Any) -> Model:
    """Check one node against ONNX Runtime, or against `reference` (of all feeds) where that has no kernel.

    With `symbolic`, only the run time knows any dimension.
    """
    feeds = {name: np.asarray(array) for name, array in feeds.items()}
    model = one_node(op, feeds, opset=opset, constants=constants, **arguments)
    if symbolic:
        model = with_symbols(model, {name: range(a.ndim) for name, a in feeds.items()})
    wanted: dict[str, Array] | None = None
    if reference is not None:
        try:
            wanted = run_onnx(model, feeds)
        except RuntimeCrash:
            result = reference(*feeds.values())
            results = result if isinstance(result, tuple) else (result,)
            wanted = {f"y{i}": np.asarray(r) for i, r in enumerate(results)}
    dtype = next(iter(feeds.values())).dtype.name
    return check(model, feeds, rtol=TOLERANCES.get(dtype, 1e-5) if rtol is None else rtol, atol=atol, expected=wanted)
