"""What layout decides: exact operator lists for the classics, never dearer than the start, the same each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.lower.driver import lower_model
from fidelite.optimize.layout.decide import decide
from fidelite.optimize.layout.problem import build, start
from fidelite.prepare.fold import fold
from fidelite.prepare.graph import prepare
from tests.lower.support import Array
from tests.optimize.classics import CLASSICS
from tests.optimize.idioms import IDIOMS
from tests.optimize.networks import STEPS, NetworkMaker
from tests.optimize.support import check_network, differences, layout_of, op_list, ops_of

LISTS = [
    ("residual", "source", "TRANSPOSE CONV_2D CONV_2D TRANSPOSE ADD"),
    ("residual", "both", "CONV_2D CONV_2D ADD"),
    ("squeeze_excite", "source", "TRANSPOSE CONV_2D MEAN CONV_2D CONV_2D LOGISTIC MUL CONV_2D TRANSPOSE"),
    ("squeeze_excite", "both", "CONV_2D MEAN CONV_2D CONV_2D LOGISTIC MUL CONV_2D"),
    ("tokens", "source", "TRANSPOSE CONV_2D RESHAPE FULLY_CONNECTED"),
    ("tokens", "in", "CONV_2D RESHAPE FULLY_CONNECTED"),
    ("concatenated", "source", "TRANSPOSE CONV_2D MAX_POOL_2D CONCATENATION CONV_2D TRANSPOSE"),
    ("concatenated", "both", "CONV_2D MAX_POOL_2D CONCATENATION CONV_2D"),
    ("normalised", "source", "TRANSPOSE CONV_2D TRANSPOSE"),
    ("normalised", "both", "CONV_2D"),
    ("crd", "source", "TRANSPOSE CONV_2D DEPTH_TO_SPACE CONV_2D TRANSPOSE"),
    ("crd", "both", "CONV_2D DEPTH_TO_SPACE CONV_2D"),
    ("dcr", "both", "CONV_2D DEPTH_TO_SPACE CONV_2D"),
]


@pytest.mark.parametrize(("name", "layout", "expected"), LISTS)
def test_operators_of_the_classics(name: str, layout: str, expected: str) -> None:
    net, model = CLASSICS[name]()
    result = fidelite.convert(model, verify=False, layout=layout_of(model, layout))
    assert op_list(result.model) == expected.split()
    assert not differences(model, result, net.feeds(), xnnpack=True)


@pytest.mark.parametrize("name", sorted(CLASSICS))
def test_classics_under_every_layout(name: str) -> None:
    net, model = CLASSICS[name]()
    assert not check_network(model, net.feeds())


def test_a_float_output_in_the_middle_costs_one_transpose() -> None:
    net, model = CLASSICS["squeeze_excite"]()
    model.graph.output.append(helper.make_tensor_value_info("v1", TensorProto.FLOAT, [1, 8, 6, 6]))
    result = fidelite.convert(model, verify=False, layout=layout_of(model, "in"))
    assert ops_of(result.model)["TRANSPOSE"] == 2
    assert not differences(model, result, net.feeds(), xnnpack=True)


@pytest.mark.parametrize("seed", range(0, 120, 3))
def test_never_dearer_than_the_start(seed: int) -> None:
    model = NetworkMaker(seed, dynamic=seed % 5 == 4).model(4 + seed % 9, [*STEPS, *IDIOMS])
    graph = lower_model(prepare(onnx_ir.from_proto(model)), fold=fold).model.main
    problem = build(graph)
    labels = decide(problem)
    for operator, label in labels.items():
        assert problem.binding(operator, label) is not None
    before = sum(problem.cost(root, start(problem)) for root in problem.readers)
    assert sum(problem.cost(root, labels) for root in problem.readers) <= before


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    paths: list[str] = []
    for seed in (3, 17, 59):
        paths.append(str(tmp_path / f"net{seed}.onnx"))
        onnx.save(NetworkMaker(seed).model(12, [*STEPS, *IDIOMS]), paths[-1])

    def digests() -> list[str]:
        return [hashlib.sha256(fidelite.convert(p, verify=False).bytes).hexdigest() for p in paths]

    script = ("import sys, hashlib, fidelite\nfor p in sys.argv[1:]:\n"
              "    print(hashlib.sha256(fidelite.convert(p, verify=False).bytes).hexdigest())")
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True,
                          env=environment)
    assert digests() == digests() == done.stdout.split()


def _small(nodes: list[onnx.NodeProto], shape: list[int | str], outputs: dict[str, list[int | str]],
           **constants: Array) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], infos,
                              [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_two_outputs_that_are_one_value_turned_twice() -> None:
    """The first output took the value's place, and the second still read what was no more."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
             helper.make_node("Sigmoid", ["a"], ["c"])]
    model = _small(nodes, [2, 3, 3], {"b": [2, 3, 3], "a": [2, 3, 3], "c": [2, 3, 3]})
    assert not check_network(model, {"x": np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)})


def test_a_graph_that_gains_nothing_is_in_order() -> None:
    """TRANSPOSEs that stay are made anew, and must come before what reads them."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 3, 2]),
             helper.make_node("Conv", ["t", "w"], ["y"], pads=[1] * 4)]
    model = _small(nodes, [1, 3, 5, 5], {"y": [3, 4, 5, 5]}, w=rng.standard_normal((4, 1, 3, 3)).astype(np.float32))
    result = fidelite.convert(model, verify=False)
    feeds = {"x": rng.standard_normal((1, 3, 5, 5)).astype(np.float32)}
    assert op_list(result.model) == ["TRANSPOSE", "CONV_2D", "TRANSPOSE"]
    assert not differences(model, result, feeds, xnnpack=False)


def test_several_symbols() -> None:
    """Moves of unit axes cost nothing, but a RESHAPE cannot say two sizes that it does not know."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Mul", ["b", "x"], ["c"]),
             helper.make_node("ReduceMean", ["c", "axis"], ["m"], keepdims=0),
             helper.make_node("Add", ["c", "m"], ["y"])]
    model = _small(nodes, ["N", 1, "H", "W"], {"y": ["N", 1, "H", "W"], "b": ["N", 1, "H", "W"]},
                   w=rng.standard_normal((1, 1, 3, 3)).astype(np.float32), axis=np.asarray([0]))
    assert not check_network(model, {"x": rng.standard_normal((2, 1, 5, 6)).astype(np.float32)})


def test_gathering_by_indices_that_are_computed() -> None:
    """Indices are no broadcast operand: they keep their rank whatever order the data have."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
             helper.make_node("Pad", ["a", "pads"], ["b"], mode="reflect"),
             helper.make_node("Conv", ["b", "w"], ["y"])]
    model = _small(nodes, [1, 3, "H", "W"], {"y": [1, 3, "H2", "W2"]},
                   w=rng.standard_normal((3, 3, 3, 3)).astype(np.float32),
                   pads=np.asarray([0, 0, 2, 1, 0, 0, 2, 1], np.int64))
    assert not check_network(model, {"x": rng.standard_normal((1, 3, 5, 6)).astype(np.float32)})
