"""Chains of nodes, and how conversion time grows with them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.conversions import Tell
from benchmarks.peers import Fidelite
from benchmarks.stats import marginal_growth
from benchmarks.work import Unavailable, measured

Kind = Literal["convolutions", "elementwise"]
KINDS: tuple[Kind, ...] = ("convolutions", "elementwise")
SIZES = (1_000, 4_000, 16_000)
CHANNELS, SIDE = 8, 8
Nodes = list[onnx.NodeProto]
Weights = list[onnx.TensorProto]


class _Chain:
    """Grows node by node; `last` is the value at its end."""

    def __init__(self, seed: int) -> None:
        self.nodes: Nodes = []
        self.weights: Weights = []
        self.last = "input"
        self.numbers = np.random.default_rng(seed)

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        values = self.numbers.standard_normal(shape) / np.sqrt(CHANNELS)
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(self, op: str, *others: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *others], [name], name=f"n_{name}", **attributes))
        self.last = name
        return name


def _convolutions(chain: _Chain, nodes: int) -> None:
    """Conv 1x1, Relu, Add of what came before: residual blocks, each with weights of its own."""
    before = chain.last
    while len(chain.nodes) < nodes:
        step = len(chain.nodes) % 3
        if step == 0:
            before = chain.last
            chain.add("Conv", chain.weight(CHANNELS, CHANNELS, 1, 1), chain.weight(CHANNELS), kernel_shape=[1, 1])
        elif step == 1:
            chain.add("Relu")
        else:
            chain.add("Add", before)


def _elementwise(chain: _Chain, nodes: int) -> None:
    """Mul by a weight, Sigmoid, Add of a weight, Tanh."""
    while len(chain.nodes) < nodes:
        op = ("Mul", "Sigmoid", "Add", "Tanh")[len(chain.nodes) % 4]
        chain.add(op, *([chain.weight(CHANNELS, 1, 1)] if op in ("Mul", "Add") else []))


_GROW: dict[Kind, Callable[[_Chain, int], None]] = {"convolutions": _convolutions, "elementwise": _elementwise}


def chain_model(kind: Kind, nodes: int, seed: int = 0) -> onnx.ModelProto:
    """A model of exactly `nodes` nodes in a row, [1, 8, 8, 8] to the same, opset 18."""
    chain = _Chain(seed)
    _GROW[kind](chain, nodes)
    chain.nodes[-1].output[0] = "output"
    shape = [1, CHANNELS, SIDE, SIDE]
    edge = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output")]
    graph = helper.make_graph(chain.nodes, f"{kind}_{nodes}", edge[:1], edge[1:], chain.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _write(folder: Path, kind: Kind, nodes: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}_{nodes}.onnx"
    if not path.is_file():
        onnx.save_model(chain_model(kind, nodes), path)
    return path


def measure(work: Path, fidelite: Fidelite, runs: int, tell: Tell, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """CPU seconds of whole conversions without proof, median of `runs`, and how the cost of one more node grows."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        try:
            if fidelite.missing is not None:
                raise Unavailable(fidelite.missing)
            for run in range(runs):
                for size in sizes:
                    tell(f"scaling: {kind}, {size} nodes, run {run + 1} of {runs}")
                    folder = work / "scaling"
                    model = _write(folder, kind, size)
                    command = fidelite.command(model, folder / f"{kind}.tflite")
                    seconds[size].append(measured(command, folder, name=kind, cwd=folder).cpu)
            medians = {size: statistics.median(seconds[size]) for size in sizes}
            found[kind] = {
                "cpu": {str(size): medians[size] for size in sizes},
                "ms_per_node": {str(size): 1000 * medians[size] / size for size in sizes},
                "marginal_growth": marginal_growth(sizes, [medians[size] for size in sizes]),
            }
        except (Unavailable, ValueError) as reason:
            measured_so_far = {str(size): statistics.median(s) for size, s in seconds.items() if s}
            found[kind] = {"cpu": measured_so_far, "reason": str(reason)}
    return found
