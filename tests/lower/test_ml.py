"""Operators of ai.onnx.ml against ONNX Runtime: features, linear models, support vectors, trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from fidelite.errors import FideliteError, UnsupportedAttribute, UnsupportedType
from fidelite.tflite.graph import Model
from tests.lower.elements import SEEDS, values
from tests.lower.support import Array, check, lowered

DOMAIN = "ai.onnx.ml"
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")


def model_of(op: str, feeds: Mapping[str, Array], *, outputs: int = 1, version: int = 1, **attributes: Any) -> Any:
    node = helper.make_node(op, list(feeds), [f"y{i}" for i in range(outputs)], name=f"the_{op}", domain=DOMAIN,
                            **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in feeds.items()]
    results = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)]
    graph = helper.make_graph([node], "g", infos, results)
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, version)])
    return onnx.shape_inference.infer_shapes(model)


def agrees(op: str, feeds: Mapping[str, Array], *, rtol: float = 1e-5, expected: Mapping[str, Array] | None = None,
           **arguments: Any) -> Model:
    return check(model_of(op, feeds, **arguments), feeds, rtol=rtol, expected=expected)


def floats(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# -- features


@given(SEEDS, st.integers(1, 4), st.integers(1, 5), st.sampled_from(["float32", "int32", "int64", "float64"]),
       st.booleans())
def test_scaler(seed: int, rows: int, width: int, dtype: str, single: bool) -> None:
    count = 1 if single else width
    agrees("Scaler", {"x": values((rows, width), dtype, seed)}, offset=floats(seed, count).tolist(),
           scale=floats(seed + 1, count).tolist())


@given(SEEDS, st.integers(1, 4), st.integers(1, 5), st.sampled_from(["MAX", "L1", "L2"]),
       st.sampled_from(["float32", "int64"]))
def test_normalizer(seed: int, rows: int, width: int, norm: str, dtype: str) -> None:
    x = values((rows, width), dtype, seed)
    x[0] = 0
    agrees("Normalizer", {"x": x}, norm=norm)


@given(SEEDS, st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.sampled_from([-0.5, 0.0, 1.0, 1.5]))
def test_binarizer(seed: int, shape: tuple[int, ...], threshold: float) -> None:
    agrees("Binarizer", {"x": np.round(values(shape, "float32", seed) * 2) / 2}, threshold=threshold)
    whole = values(shape, "int64", seed)  # ONNX Runtime's takes no integers
    agrees("Binarizer", {"x": whole}, threshold=threshold, expected={"y0": (whole > threshold).astype(np.int64)})


@given(SEEDS, st.booleans(), st.booleans())
def test_imputer(seed: int, single: bool, nan: bool) -> None:
    x = np.round(values((4, 3), "float32", seed, -1, 1))
    x[::2, 1] = np.nan
    agrees("Imputer", {"x": x}, imputed_value_floats=floats(seed, 1 if single else 3).tolist(),
           replaced_value_float=float("nan") if nan else 1.0)
    whole = values((4, 3), "int64", seed, -1, 1)
    agrees("Imputer", {"x": whole}, imputed_value_int64s=[7] if single else [7, 8, 9], replaced_value_int64=0)


@given(SEEDS, st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), st.data(),
       st.sampled_from(["float32", "float64", "int32", "int64"]))
def test_array_feature_extractor(seed: int, shape: tuple[int, ...], data: st.DataObject, dtype: str) -> None:
    places = data.draw(st.lists(st.integers(0, shape[-1] - 1), min_size=1, max_size=5))
    agrees("ArrayFeatureExtractor", {"x": values(shape, dtype, seed), "i": np.array(places)})


@given(SEEDS, st.integers(-2, 2), st.integers(-2, 2))
def test_feature_vectorizer(seed: int, more: int, less: int) -> None:
    """Rows shorter and longer than they are said to be."""
    feeds = {"a": values((2, 3), "float32", seed), "b": values((2, 4), "float32", seed + 1)}
    agrees("FeatureVectorizer", feeds, inputdimensions=[3 + more, 4 + less])


@given(SEEDS, st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple), st.sampled_from(["int64", "float32"]))
def test_one_hot_encoder(seed: int, shape: tuple[int, ...], dtype: str) -> None:
    agrees("OneHotEncoder", {"x": np.round(values(shape, dtype, seed))}, cats_int64s=[3, -1, 0, 2])


@pytest.mark.parametrize(("keys", "results"), [("int64s", "int64s"), ("int64s", "floats"), ("floats", "int64s"),
                                               ("floats", "floats")])
@given(seed=SEEDS, version=st.sampled_from([2, 4]))
def test_label_encoder(keys: str, results: str, seed: int, version: int) -> None:
    attributes: dict[str, Any] = {f"keys_{keys}": [3, 1, -2] if keys == "int64s" else [3.0, 1.0, float("nan")],
                                  f"values_{results}": [10, 20, 30] if results == "int64s" else [0.5, -1.5, 2.5],
                                  f"default_{results[:-1]}": 7 if results == "int64s" else 7.5}
    x = np.round(values((2, 3), "int64" if keys == "int64s" else "float32", seed))
    if keys == "floats":
        x[0, 0] = np.nan
    agrees("LabelEncoder", {"x": x}, version=version, **attributes)


# -- linear models and support vectors


@given(SEEDS, st.integers(1, 3), st.sampled_from(TRANSFORMS), st.booleans())
def test_linear_regressor(seed: int, targets: int, post: str, biased: bool) -> None:
    post = "NONE" if targets == 1 else post
    bias: dict[str, Any] = {"intercepts": floats(seed + 1, targets).tolist()} if biased else {}
    agrees("LinearRegressor", {"x": floats(seed, 4, 3)}, coefficients=floats(seed, targets, 3).reshape(-1).tolist(),
           targets=targets, post_transform=post, rtol=1e-4, **bias)


@given(SEEDS, st.integers(1, 4), st.sampled_from(TRANSFORMS))
def test_linear_classifier(seed: int, count: int, post: str) -> None:
    agrees("LinearClassifier", {"x": floats(seed, 5, 3)}, outputs=2, rtol=1e-4,
           coefficients=floats(seed, count, 3).reshape(-1).tolist(), intercepts=floats(seed + 1, count).tolist(),
           classlabels_ints=[9, 4, 7, 1][:max(count, 2)], post_transform=post)


@given(SEEDS, st.sampled_from(["LINEAR", "POLY", "RBF", "SIGMOID"]), st.integers(0, 1), st.integers(1, 4))
def test_svm_regressor(seed: int, kernel: str, one_class: int, supports: int) -> None:
    agrees("SVMRegressor", {"x": floats(seed, 5, 3)}, coefficients=floats(seed, supports).tolist(), rtol=1e-4,
           support_vectors=floats(seed + 1, supports, 3).reshape(-1).tolist(), n_supports=supports, rho=[0.3],
           kernel_type=kernel, kernel_params=[0.5, 0.25, 3.0], one_class=one_class)


# -- trees


class Trees:
    """Random trees of up to three levels; features and thresholds are halves, so that they are often equal."""

    def __init__(self, seed: int, count: int, features: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rows: list[tuple[int, int, int, float, str, int, int, int]] = []
        self.leaves: list[tuple[int, int]] = []
        self.features = features
        for tree in range(count):
            self.next = 0
            self._grow(tree, 0)

    def _grow(self, tree: int, depth: int) -> int:
        at, self.next = self.next, self.next + 1
        place = len(self.rows)
        self.rows.append((tree, at, 0, 0.0, "LEAF", 0, 0, 0))
        if depth == 3 or (depth and self.rng.random() < 0.3):
            self.leaves.append((tree, at))
            return at
        mode = str(self.rng.choice(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]))
        feature, value = int(self.rng.integers(self.features)), float(np.round(self.rng.uniform(-2, 2)) / 2)
        tracks, true = int(self.rng.integers(2)), self._grow(tree, depth + 1)
        self.rows[place] = (tree, at, feature, value, mode, true, self._grow(tree, depth + 1), tracks)
        return at

    def attributes(self, side: str, targets: list[list[int]], *, positive: bool = False) -> dict[str, Any]:
        """`targets` are those of each leaf, by the tree's number modulo their count."""
        names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
                 "missing_value_tracks_true")
        columns = zip(*self.rows, strict=True)
        found: dict[str, Any] = {f"nodes_{n}": list(c) for n, c in zip(names, columns, strict=True)}
        rows = [(tree, leaf, t) for tree, leaf in self.leaves for t in targets[tree % len(targets)]]
        weights = self.rng.uniform(0 if positive else -1, 1, len(rows)).astype(np.float32)
        return found | {f"{side}_treeids": [r[0] for r in rows], f"{side}_nodeids": [r[1] for r in rows],
                        f"{side}_ids": [r[2] for r in rows], f"{side}_weights": weights.tolist()}


def halves(seed: int, rows: int, width: int) -> Array:
    x = np.round(np.random.default_rng(seed).uniform(-2.5, 2.5, (rows, width))).astype(np.float32) / 2
    x[0, 0] = np.nan
    return x


@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.sampled_from(["SUM", "AVERAGE", "MIN", "MAX"]),
       st.sampled_from(TRANSFORMS), st.booleans())
def test_tree_ensemble_regressor(seed: int, trees: int, targets: int, aggregate: str, post: str, base: bool) -> None:
    forest, post = Trees(seed, trees, 3), "NONE" if targets == 1 else post
    attributes = forest.attributes("target", [list(range(targets))])
    if base:
        attributes["base_values"] = floats(seed, targets).tolist()
    agrees("TreeEnsembleRegressor", {"x": halves(seed, 6, 3)}, rtol=1e-5, n_targets=targets, post_transform=post,
           aggregate_function=aggregate, **attributes)


@given(SEEDS, st.integers(1, 4), st.integers(3, 4), st.sampled_from(["NONE", "LOGISTIC", "SOFTMAX"]), st.booleans())
def test_tree_ensemble_classifier(seed: int, trees: int, classes: int, post: str, boosted: bool) -> None:
    """Each leaf has a weight for each class, or each tree serves one class."""
    forest = Trees(seed, classes * trees if boosted else trees, 3)
    targets = [[c] for c in range(classes)] if boosted else [list(range(classes))]
    agrees("TreeEnsembleClassifier", {"x": halves(seed, 6, 3)}, outputs=2, classlabels_int64s=[5, 3, 8, 1][:classes],
           post_transform=post, **forest.attributes("class", targets, positive=True))


@given(SEEDS, st.integers(1, 4), st.sampled_from(["NONE", "LOGISTIC"]), st.booleans(), st.booleans())
def test_tree_ensemble_classifier_of_one_score(seed: int, trees: int, post: str, positive: bool, base: bool) -> None:
    forest = Trees(seed, trees, 3)
    more: dict[str, Any] = {"base_values": [0.25]} if base else {}
    agrees("TreeEnsembleClassifier", {"x": halves(seed, 6, 3)}, outputs=2, classlabels_int64s=[5, 3],
           post_transform=post, **forest.attributes("class", [[0]], positive=positive), **more)


@given(SEEDS, st.sampled_from([0, 1, 2, 3]), st.sampled_from(["float32", "float64"]))
def test_tree_ensemble(seed: int, aggregate: int, dtype: str) -> None:
    """Three nodes and four leaves, one node a set, and a tree that is one leaf."""
    rng = np.random.default_rng(seed)
    splits = np.round(rng.uniform(-2, 2, 4)).astype(dtype) / 2
    tensors = {"nodes_splits": splits, "nodes_modes": np.array([0, 6, int(rng.integers(6)), 0], np.uint8),
               "leaf_weights": rng.uniform(-1, 1, 5).astype(dtype),
               "membership_values": np.array([1, 2, np.nan], dtype)}
    attributes: dict[str, Any] = {name: onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()}
    agrees("TreeEnsemble", {"x": np.nan_to_num(halves(seed, 6, 3)).astype(dtype)}, version=5, n_targets=1,
           aggregate_function=aggregate, tree_roots=[0, 3], nodes_featureids=[0, 1, 2, 0], nodes_trueleafs=[0, 1, 1, 1],
           nodes_truenodeids=[1, 0, 2, 4], nodes_falseleafs=[0, 1, 1, 1], nodes_falsenodeids=[2, 1, 3, 4],
           leaf_targetids=[0] * 5, **attributes)


# -- refusals


@pytest.mark.parametrize(("op", "feeds", "attributes", "error"), [
    ("LinearClassifier", {"x": floats(0, 2, 3)}, {"coefficients": [0.5] * 6, "classlabels_strings": ["a", "b"],
                                                  "intercepts": [0.0, 0.0]}, UnsupportedType),
    ("LinearRegressor", {"x": floats(0, 2, 3)}, {"coefficients": [0.5] * 3, "post_transform": "PROBIT"},
     UnsupportedAttribute),
    ("LinearRegressor", {"x": floats(0, 2, 3)}, {"coefficients": [0.5] * 3, "post_transform": "LOGISTIC"},
     UnsupportedAttribute),
    ("OneHotEncoder", {"x": np.ones(3, np.int64)}, {"cats_strings": ["a"]}, UnsupportedType),
    ("LabelEncoder", {"x": np.ones(3, np.int64)}, {"keys_int64s": [1], "values_strings": ["a"], "version": 2},
     UnsupportedType),
    ("SVMRegressor", {"x": floats(0, 2, 3)}, {
        "coefficients": [0.5], "support_vectors": [1.0] * 3, "n_supports": 1, "rho": [0.0], "kernel_type": "POLY",
        "kernel_params": [1.0, 0.0, 1.5]}, UnsupportedAttribute)])
def test_refusals(op: str, feeds: dict[str, Array], attributes: dict[str, Any], error: type[FideliteError]) -> None:
    with pytest.raises(error):
        lowered(model_of(op, feeds, outputs=2 if op == "LinearClassifier" else 1, **attributes))


def test_leaves_that_say_nothing_of_a_target() -> None:
    """What ONNX Runtime makes of them hangs on which leaves are met."""
    forest = Trees(0, 2, 3)
    two = Trees(0, 2, 3).attributes("class", [[0, 1]])
    with pytest.raises(UnsupportedAttribute, match="two classes"):
        lowered(model_of("TreeEnsembleClassifier", {"x": halves(0, 2, 3)}, outputs=2, classlabels_int64s=[5, 3], **two))
    attributes = forest.attributes("target", [[0], [1]])
    with pytest.raises(UnsupportedAttribute, match="say nothing"):
        lowered(model_of("TreeEnsembleRegressor", {"x": halves(0, 2, 3)}, n_targets=2, aggregate_function="MIN",
                         **attributes))
