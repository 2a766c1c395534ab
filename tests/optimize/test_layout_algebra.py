"""The layout's algebra against numpy and against brute force."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fidelite.optimize.layout.cut import Network
from fidelite.optimize.layout.permutation import (
    Permutation,
    compose,
    identity,
    inverse,
    is_identity,
    restrict,
    same_bytes,
)
from fidelite.optimize.layout.reshape import factor_groups, reshape_label
from fidelite.optimize.views import Shape, Step, effect_of, plan_of
from fidelite.tflite.dims import SymbolicDim
from tests.lower.support import Array

SIZES = (1, 2, 3, 4, 6)


def permutations(rank: int) -> st.SearchStrategy[Permutation]:
    return st.permutations(range(rank)).map(tuple)


def numbered(shape: tuple[int, ...]) -> Array:
    return np.arange(prod(shape)).reshape(shape)


@st.composite
def shapes(draw: st.DrawFn, most: int = 5) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=most)))


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes of as many elements: the same prime factors grouped twice, with units strewn in."""
    factors = draw(st.lists(st.sampled_from((2, 2, 3)), min_size=1, max_size=5))

    def grouped() -> tuple[int, ...]:
        shape: list[int] = []
        at = 0
        while at < len(factors):
            if draw(st.booleans()) and len(shape) < 6:
                shape.append(1)
            size = draw(st.integers(1, len(factors) - at))
            shape.append(prod(factors[at:at + size]))
            at += size
        return tuple(shape + [1] * draw(st.integers(0, 2)))

    return grouped(), grouped()


@given(shapes(), st.data())
def test_permutations(shape: tuple[int, ...], data: st.DataObject) -> None:
    p, q = (data.draw(permutations(len(shape))) for _ in range(2))
    x = numbered(shape)
    np.testing.assert_array_equal(x.transpose(p).transpose(q), x.transpose(compose(p, q)))
    np.testing.assert_array_equal(x.transpose(p).transpose(inverse(p)), x)
    assert is_identity(compose(p, inverse(p)))
    assert is_identity(identity(len(shape)))
    stored_alike = x.transpose(p).tobytes() == x.transpose(q).tobytes()
    assert same_bytes(p, q, shape) <= stored_alike
    kept = data.draw(st.sets(st.sampled_from(range(len(shape)))))
    order = restrict(p, kept)
    assert [sorted(kept)[a] for a in order] == [a for a in p if a in kept]


@given(reshapes())
def test_factor_groups(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    before, after = pair
    groups = factor_groups(before, after)
    assert groups is not None
    assert [a for axes, _ in groups for a in axes] == list(range(len(before)))
    assert [a for _, axes in groups for a in axes] == list(range(len(after)))
    for left, right in groups:
        assert prod(before[a] for a in left) == prod(after[a] for a in right)


@given(reshapes(), st.data())
def test_reshape_label(pair: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject) -> None:
    before, after = pair
    label = data.draw(permutations(len(before)))
    result = reshape_label(before, after, label)
    if result is None:
        return
    assert sorted(result) == list(range(len(after)))
    want = numbered(before).reshape(after).transpose(result)
    np.testing.assert_array_equal(numbered(before).transpose(label).reshape(want.shape), want)


def test_reshape_label_keeps_the_identity() -> None:
    assert reshape_label((2, 3, 4), (6, 4), (0, 1, 2)) == (0, 1)
    assert reshape_label((1, 8, 4, 4), (1, 8, 16), (0, 2, 3, 1)) == (0, 2, 1)
    assert reshape_label((2, 3, 4), (6, 4), (1, 0, 2)) is None  # merged axes would change their order


def test_symbols_pair_one_to_one() -> None:
    n = SymbolicDim.symbol("N")
    assert factor_groups((n, 3, 4), (n, 12)) == [((0,), (0,)), ((1, 2), (1,))]
    assert factor_groups((n, 3), (n * 3,)) is None


@given(shapes(4), st.data())
def test_chains_of_views(shape: tuple[int, ...], data: st.DataObject) -> None:
    """The shortest plan does what the chain does, and so does every chain of the same effect."""
    steps: list[Step] = []
    x = numbered(shape)
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            order = data.draw(permutations(x.ndim))
            steps.append(("TRANSPOSE", order))
            x = x.transpose(order)
        else:
            target = _another_shape(x.shape, data)
            steps.append(("RESHAPE", target))
            x = x.reshape(target)
    plan = plan_of(shape, steps)
    effect = effect_of(shape, steps)
    for merged, permutation, target in [(plan.merged, plan.permutation, plan.target)] if plan else []:
        np.testing.assert_array_equal(numbered(shape).reshape(merged).transpose(permutation).reshape(target), x)
        assert plan is not None
        assert plan.operators <= 3
    if effect is not None:
        merged, permutation, target = effect
        np.testing.assert_array_equal(numbered(shape).reshape(merged).transpose(permutation).reshape(target), x)


def _another_shape(shape: Shape, data: st.DataObject) -> Shape:
    """Merge two neighbours, split an axis, or add or drop a unit."""
    choices: list[Shape] = [(*shape, 1), (1, *shape)]
    choices += [(*shape[:i], shape[i] * shape[i + 1], *shape[i + 2:]) for i in range(len(shape) - 1)]
    choices += [(*shape[:i], 2, shape[i] // 2, *shape[i + 1:]) for i in range(len(shape)) if shape[i] % 2 == 0]
    choices += [(*shape[:i], *shape[i + 1:]) for i in range(len(shape)) if shape[i] == 1]
    return data.draw(st.sampled_from(choices))


@given(st.integers(0, 5), st.data())
def test_cut_against_brute_force(inner: int, data: st.DataObject) -> None:
    network = Network()
    nodes = [network.SOURCE, network.SINK, *(network.node() for _ in range(inner))]
    pairs = [(u, v) for u in nodes for v in nodes if u != v and (u, v) != (network.SOURCE, network.SINK)]
    edges = data.draw(st.lists(st.tuples(st.sampled_from(pairs), st.integers(0, 9)), max_size=14)) if inner else []
    for (u, v), capacity in edges:
        network.add(u, v, capacity)

    def cost(side: set[int]) -> int:
        return sum(c for (u, v), c in edges if u in side and v not in side)

    side = network.source_side()
    assert network.SOURCE in side
    assert network.SINK not in side
    least = min(cost({network.SOURCE, *chosen}) for k in range(inner + 1)
                for chosen in itertools.combinations(nodes[2:], k))
    assert cost(side) == least
