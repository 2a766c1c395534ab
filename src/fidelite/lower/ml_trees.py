"""Ensembles of decision trees (ai.onnx.ml): all trees are walked at once, one level after the other.

A node's decision for each row is made beforehand; a step down looks up a tree's decision at its place and from it the
next place. Leaves lead to themselves. Comparisons are made in float32, as ONNX Runtime does for float32 features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.functions import times
from fidelite.lower.ml_features import DOMAIN
from fidelite.lower.ml_scores import as_rows, best, labels_of, transformed
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_I32, _F32 = ElementType.INT32, ElementType.FLOAT32
_COMPARISONS: Mapping[str, str] = {
    "BRANCH_LEQ": "LESS_EQUAL", "BRANCH_LT": "LESS", "BRANCH_GTE": "GREATER_EQUAL", "BRANCH_GT": "GREATER",
    "BRANCH_EQ": "EQUAL", "BRANCH_NEQ": "NOT_EQUAL"}
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_POST = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@dataclass
class Forest:
    """Nodes in one row; leaves are nodes whose branches are themselves."""

    roots: list[int]
    features: np.ndarray
    values: np.ndarray
    modes: list[str]
    """'LEAF', or a comparison."""
    tracks: np.ndarray
    """Whether a missing feature (NaN) goes the true way."""
    true: np.ndarray
    false: np.ndarray
    weights: dict[int, list[tuple[int, float]]]
    """By leaf: what it adds to which target."""
    members: dict[int, list[float]]
    """By node of mode BRANCH_MEMBER: the values that go the true way."""

    def leaves(self, root: int) -> list[int]:
        found: list[int] = []
        pending = [root]
        while pending:
            at = pending.pop()
            if self.modes[at] == "LEAF":
                found.append(at)
            else:
                pending += [int(self.true[at]), int(self.false[at])]
        return found

    def depth(self) -> int:
        """Steps from the roots to the furthest leaf."""
        deepest, pending = 0, [(root, 0) for root in self.roots]
        while pending:
            at, steps = pending.pop()
            if steps > len(self.modes):
                raise InvalidModel("a tree leads back to itself", remedy="export the model again")
            deepest = max(deepest, steps)
            if self.modes[at] != "LEAF":
                pending += [(int(self.true[at]), steps + 1), (int(self.false[at]), steps + 1)]
        return deepest

    def scores_all(self, target: int) -> bool:
        """Whether every row gets something for `target`: there is a tree all of whose leaves have it."""
        return any(all(any(t == target for t, _ in self.weights.get(leaf, ())) for leaf in self.leaves(root))
                   for root in self.roots)


def _forest(node: Node, side: str) -> Forest:
    """Of TreeEnsembleRegressor ("target") and TreeEnsembleClassifier ("class")."""
    trees, ids = node.ints("nodes_treeids"), node.ints("nodes_nodeids")
    place = {key: i for i, key in enumerate(zip(trees, ids, strict=True))}
    modes = list(node.strings("nodes_modes"))

    def branch(name: str) -> np.ndarray:
        ends = node.ints(name)
        return np.array([i if modes[i] == "LEAF" else place[tree, ends[i]] for i, tree in enumerate(trees)], np.int32)

    true, false = branch("nodes_truenodeids"), branch("nodes_falsenodeids")
    inner = [i for i, mode in enumerate(modes) if mode != "LEAF"]
    reached = {int(end) for i in inner for end in (true[i], false[i])}
    weights: dict[int, list[tuple[int, float]]] = {}
    rows = zip(node.ints(f"{side}_treeids"), node.ints(f"{side}_nodeids"), node.ints(f"{side}_ids"),
               _numbers(node, f"{side}_weights"), strict=True)
    for tree, leaf, target, weight in rows:
        weights.setdefault(place[tree, leaf], []).append((target, weight))
    roots = [i for i in range(len(modes)) if i not in reached]
    return Forest(roots, np.asarray(node.ints("nodes_featureids"), np.int32),
                  np.asarray(_numbers(node, "nodes_values"), np.float32), modes,
                  np.asarray(node.ints("nodes_missing_value_tracks_true", ()) or [0] * len(modes), bool), true, false,
                  weights, {})


def _numbers(node: Node, name: str) -> list[float]:
    """An attribute of floats, or (since schema 3, for float64) the tensor of that name."""
    if node.has(f"{name}_as_tensor"):
        tensor = node.tensor(f"{name}_as_tensor")
        assert tensor is not None
        return [float(v) for v in np.asarray(tensor, np.float64).reshape(-1)]
    return list(node.floats(name))


# -- the walk


def _reached(b: Builder, x: Tensor, forest: Forest) -> Tensor:
    """int32 [N, trees]: the leaf of each tree that each row of x [N, C] comes to."""
    decisions = _decisions(b, x, forest)
    children = b.constant(np.stack([forest.false, forest.true], 1).reshape(-1).astype(np.int32))
    places = b.broadcast_to(b.constant(np.asarray(forest.roots, np.int32)[None]), (x.shape[0], len(forest.roots)))
    for _ in range(forest.depth()):
        chosen = b.gather(decisions, places, 1, batch_dims=1)
        places = b.gather(children, b.add(b.mul(places, b.int32(2)), chosen), 0)
    return places


def _decisions(b: Builder, x: Tensor, forest: Forest) -> Tensor:
    """int32 [N, nodes]: 1 where a row goes the true way. Nodes of one mode are compared together."""
    parts: list[Tensor] = []
    order: list[int] = []
    for mode in dict.fromkeys(forest.modes):
        nodes = [i for i, m in enumerate(forest.modes) if m == mode]
        if mode == "LEAF":
            continue
        found = b.gather(x, b.constant(forest.features[nodes]), 1)
        if mode == "BRANCH_MEMBER":
            goes = _is_member(b, found, [forest.members[i] for i in nodes])
        elif mode in _COMPARISONS:
            goes = b.compare(_COMPARISONS[mode], found, b.constant(forest.values[nodes][None]))
        else:
            raise UnsupportedAttribute(f"there is no mode '{mode}' of a tree's node", remedy="export the model again")
        tracks = forest.tracks[nodes]
        if tracks.any():
            missing = b.logical("LOGICAL_AND", b.compare("NOT_EQUAL", found, found), b.constant(tracks[None]))
            goes = b.logical("LOGICAL_OR", goes, missing)
        parts.append(b.cast(goes, _I32))
        order += nodes
    leaves = [i for i, m in enumerate(forest.modes) if m == "LEAF"]
    if not order:
        return b.broadcast_to(b.constant(np.zeros((1, len(leaves)), np.int32)), (x.shape[0], len(leaves)))
    joined = b.concat(parts, 1)
    source = np.zeros(len(forest.modes), np.int32)  # of a leaf, any decision serves
    source[order] = np.arange(len(order))
    return b.gather(joined, b.constant(source), 1)


def _is_member(b: Builder, found: Tensor, sets: Sequence[Sequence[float]]) -> Tensor:
    """Whether found [N, nodes] is in each node's set."""
    most = max(map(len, sets))
    table = np.full((1, len(sets), most), np.nan, np.float32)
    for i, members in enumerate(sets):
        table[0, i, :len(members)] = members
    return b.reduce("REDUCE_ANY", b.compare("EQUAL", b.unsqueeze(found, [2]), b.constant(table)), [2], keep_dims=False)


def _totals(b: Builder, x: Tensor, forest: Forest, targets: int, aggregate: str, base: Sequence[float]) -> Tensor:
    """float32 [N, targets]: what the leaves add up to, and the base values."""
    table = np.zeros((len(forest.modes), targets), np.float32)
    for leaf, rows in forest.weights.items():
        for target, weight in rows:
            table[leaf, target] += np.float32(weight)
    full = all(forest.scores_all(t) for t in range(targets))
    every = full if len(forest.roots) == 1 else all(
        {t for t, _ in forest.weights.get(leaf, ())} == set(range(targets))
        for root in forest.roots for leaf in forest.leaves(root))
    if (any(base) and not full) or (aggregate in ("MIN", "MAX") and not every):
        raise UnsupportedAttribute("some leaves say nothing of some targets, which then keep out of what follows",
                                   remedy="give each leaf a weight for every target (0 where it has none)")
    found = b.gather(b.constant(table), _reached(b, x, forest), 0)  # [N, trees, targets]
    op = {"SUM": "SUM", "AVERAGE": "SUM", "MIN": "REDUCE_MIN", "MAX": "REDUCE_MAX"}[aggregate]
    total = b.reduce(op, found, [1], keep_dims=False)
    if aggregate == "AVERAGE":
        total = times(b, total, 1.0 / len(forest.roots))
    return b.add(total, b.constant(np.asarray(base, np.float32)[None])) if any(base) else total


# -- the operators


@lowers("TreeEnsembleRegressor", domain=DOMAIN, partial="PROBIT; leaves without a weight for each target, with base "
                                                        "values, MIN or MAX")
def tree_ensemble_regressor(node: Node, b: Builder) -> Tensor:
    base = _numbers(node, "base_values") if node.has("base_values") or node.has("base_values_as_tensor") else []
    totals = _totals(b, as_rows(b, node.input(0)), _forest(node, "target"), node.int_("n_targets"),
                     node.str_("aggregate_function", "SUM"), base)
    return transformed(b, totals, node.str_("post_transform", "NONE"))


@lowers("TreeEnsembleClassifier", domain=DOMAIN, partial="labels that are strings; PROBIT; leaves without a weight "
                                                         "for each class; two classes with weights of their own")
def tree_ensemble_classifier(node: Node, b: Builder) -> list[Tensor]:
    """The label of the largest total, and the totals. Of two classes, weights of class 0 alone are the second's."""
    forest, labels = _forest(node, "class"), node.ints("classlabels_int64s", ())
    post = node.str_("post_transform", "NONE")
    base = _numbers(node, "base_values") if node.has("base_values") or node.has("base_values_as_tensor") else []
    x = as_rows(b, node.input(0))
    used = {t for rows in forest.weights.values() for t, _ in rows}
    if len(labels) == 2 and used == {0} and len(base) <= 1:
        return _of_one_score(node, b, _totals(b, x, forest, 1, "SUM", base), forest, post)
    if len(labels) == 2:
        raise UnsupportedAttribute("what decides between two classes with weights of their own differs from runtime to "
                                   "runtime", remedy="give weights to class 0 alone: they count for the second label")
    if not all(forest.scores_all(t) for t in range(len(labels))):
        raise UnsupportedAttribute("some leaves say nothing of some classes, which then cannot be chosen",
                                   remedy="give each leaf a weight for every class (0 where it has none)")
    totals = _totals(b, x, forest, len(labels), "SUM", base)
    return [labels_of(node, b, best(b, totals), "classlabels_int64s"), transformed(b, totals, post)]


def _of_one_score(node: Node, b: Builder, score: Tensor, forest: Forest, post: str) -> list[Tensor]:
    """A probability (no weight is negative), or a score around 0, [N, 1]."""
    if post == "PROBIT":
        transformed(b, score, post)
    positive = all(weight >= 0 for rows in forest.weights.values() for _, weight in rows)
    above = b.compare("GREATER", b.reshape(score, (score.shape[0],)), b.scalar(0.5 if positive else 0.0, score))
    label = labels_of(node, b, b.cast(above, _I32), "classlabels_int64s")
    negative = times(b, score, -1.0)
    if post == "LOGISTIC":
        return [label, b.logistic(b.concat([negative, score], 1))]
    first = b.sub(b.scalar(1.0, score), score) if positive else negative
    return [label, b.concat([first, score], 1)]


@lowers("TreeEnsemble", since=5, domain=DOMAIN, partial="PROBIT; leaves without a weight for each target, with MIN or "
                                                        "MAX")
def tree_ensemble(node: Node, b: Builder) -> Tensor:
    """Nodes and leaves apart, and sets to be a member of."""
    splits, modes = node.tensor("nodes_splits"), node.tensor("nodes_modes")
    weights = node.tensor("leaf_weights")
    assert splits is not None
    assert modes is not None
    assert weights is not None
    inner = len(node.ints("nodes_featureids"))
    leaves = node.ints("leaf_targetids")

    def branch(side: str) -> np.ndarray:
        ends = [end + (inner if leaf else 0) for end, leaf in
                zip(node.ints(f"nodes_{side}nodeids"), node.ints(f"nodes_{side}leafs"), strict=True)]
        return np.array([*ends, *range(inner, inner + len(leaves))], np.int32)

    names = [_MODES[int(m)] for m in np.asarray(modes).reshape(-1)]
    tracks = node.ints("nodes_missing_value_tracks_true", ()) or [0] * inner
    rows = {inner + i: [(int(t), float(w))] for i, (t, w) in
            enumerate(zip(leaves, np.asarray(weights, np.float64).reshape(-1), strict=True))}
    forest = Forest(list(node.ints("tree_roots")),
                    np.asarray([*node.ints("nodes_featureids"), *[0] * len(leaves)], np.int32),
                    np.concatenate([np.asarray(splits, np.float32).reshape(-1), np.zeros(len(leaves), np.float32)]),
                    [*names, *["LEAF"] * len(leaves)], np.asarray([*tracks, *[0] * len(leaves)], bool),
                    branch("true"), branch("false"), rows, _members(node, names))
    totals = _totals(b, as_rows(b, node.input(0)), forest, node.int_("n_targets"),
                     _AGGREGATES[node.int_("aggregate_function", 1)], [])
    return b.cast(transformed(b, totals, _POST[node.int_("post_transform", 0)]), node.input(0).element)


def _members(node: Node, modes: Sequence[str]) -> dict[int, list[float]]:
    """The sets of the nodes of mode BRANCH_MEMBER, which NaN separates."""
    given = node.tensor("membership_values")
    sets: list[list[float]] = [[]]
    for value in [] if given is None else np.asarray(given, np.float32).reshape(-1).tolist():
        if value == value:
            sets[-1].append(value)
        else:
            sets.append([])
    nodes = [i for i, mode in enumerate(modes) if mode == "BRANCH_MEMBER"]
    return dict(zip(nodes, sets, strict=False))
