"""Linear models and support vectors of ai.onnx.ml."""

from __future__ import annotations

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.functions import exp, plus, times
from fidelite.lower.matmul import linear
from fidelite.lower.ml_features import DOMAIN
from fidelite.lower.ml_scores import as_rows, best, labels_of, transformed
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


def _scores(node: Node, b: Builder, count: int) -> Tensor:
    """x [N, C] times coefficients [count, C] transposed, plus intercepts."""
    x = as_rows(b, node.input(0))
    weights = np.asarray(node.floats("coefficients"), np.float32).reshape(count, -1)
    given = node.floats("intercepts", ())
    bias = np.asarray(given if len(given) == count else [0.0] * count, np.float32)
    return linear(b, x, b.constant(weights), b.constant(bias))


@lowers("LinearRegressor", domain=DOMAIN, partial="PROBIT")
def linear_regressor(node: Node, b: Builder) -> Tensor:
    return transformed(b, _scores(node, b, node.int_("targets", 1)), node.str_("post_transform", "NONE"))


@lowers("LinearClassifier", domain=DOMAIN, partial="labels that are strings; PROBIT")
def linear_classifier(node: Node, b: Builder) -> list[Tensor]:
    """The label of the largest score, and the scores. Of two classes one score may do: the second's."""
    labels, post = node.ints("classlabels_ints", ()), node.str_("post_transform", "NONE")
    count = len(node.floats("intercepts", ())) or len(labels)
    scores = _scores(node, b, count)
    if count == 1 and len(labels) == 2:
        if post == "PROBIT":
            transformed(b, scores, post)
        second = b.compare("GREATER", b.reshape(scores, (scores.shape[0],)), b.scalar(0.0, scores))
        first = b.logistic(times(b, scores, -1.0)) if post == "LOGISTIC" else b.sub(b.scalar(1.0, scores), scores)
        other = b.logistic(scores) if post == "LOGISTIC" else scores
        return [labels_of(node, b, b.cast(second, ElementType.INT32)), b.concat([first, other], 1)]
    return [labels_of(node, b, best(b, scores)), transformed(b, scores, post)]


@lowers("SVMRegressor", domain=DOMAIN, partial="powers that are no whole number")
def svm_regressor(node: Node, b: Builder) -> Tensor:
    """The sum over the support vectors of a coefficient times the kernel of x and the vector, plus rho; with
    `one_class` its sign."""
    x, count = as_rows(b, node.input(0)), node.int_("n_supports", 0)
    rho = float(node.floats("rho")[0])
    coefficients = np.asarray(node.floats("coefficients"), np.float32)
    if count == 0:
        total = linear(b, x, b.constant(coefficients.reshape(1, -1)), None)
    else:
        vectors = np.asarray(node.floats("support_vectors"), np.float32).reshape(count, -1)
        total = linear(b, _kernel(node, b, x, vectors), b.constant(coefficients.reshape(1, -1)), None)
    result = plus(b, total, rho)
    if not node.int_("one_class", 0):
        return transformed(b, result, node.str_("post_transform", "NONE"))
    positive = b.compare("GREATER", result, b.scalar(0.0, result))
    return b.select(positive, b.scalar(1.0, result), b.scalar(-1.0, result))


def _kernel(node: Node, b: Builder, x: Tensor, vectors: np.ndarray) -> Tensor:
    """[N, support vectors]: of the parameters, gamma scales, coef0 is added, degree is the power."""
    name, parameters = node.str_("kernel_type", "LINEAR"), node.floats("kernel_params", ())
    gamma, coef0, degree = parameters if len(parameters) == 3 else (0.0, 0.0, 0.0)
    if name == "RBF":
        squares = b.binary("SQUARED_DIFFERENCE", b.unsqueeze(x, [1]), b.constant(vectors[None]))
        return exp(b, times(b, b.reduce("SUM", squares, [2], keep_dims=False), -gamma))
    product = linear(b, x, b.constant(vectors), None)
    if name == "LINEAR":
        return product
    inner = plus(b, times(b, product, gamma), coef0)
    if name == "SIGMOID":
        return b.unary("TANH", inner)
    if name != "POLY":
        raise InvalidModel(f"there is no kernel '{name}'", where=node.where(),
                           remedy="use LINEAR, POLY, RBF or SIGMOID")
    if not float(degree).is_integer() or degree < 1:
        raise UnsupportedAttribute(f"a polynomial kernel of the degree {degree}", remedy="use a whole degree")
    return b.binary("POW", inner, b.scalar(degree, inner))
