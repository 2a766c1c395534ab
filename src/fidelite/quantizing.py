"""Integer inference, from the user's data to the integer graph: what the pipeline does for int8 and int16x8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from fidelite.calibrating import CalibrationData, open_calibration
from fidelite.calibrating.data import SYNTHETIC_SAMPLES
from fidelite.errors import Notice
from fidelite.options import ConvertOptions
from fidelite.runtime.protocol import Arrays, Port
from fidelite.using import Known

if TYPE_CHECKING:
    from fidelite.edge import Edge
    from fidelite.quantize.static import Quantized
    from fidelite.tflite.graph import Model, Tensor

HELD_OUT = 3
"""Samples kept for the proof of the integer file, where there are enough to calibrate without them."""
ENOUGH = 12


@dataclass
class Quantization:
    """What became of a model, and the samples to prove it with."""

    quantized: Quantized
    proof: Sequence[Arrays]
    held_out: bool
    notices: list[Notice] = field(default_factory=list[Notice])
    scales: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def to_json(self) -> dict[str, Any]:
        """For the report: what calibration saw, what was gained, how many operators compute in integers."""
        return {"calibration": self.quantized.seen, "improvements": self.quantized.improvements,
                "native": self.quantized.integers.native, "held_out": self.held_out, "scales": self.scales}


def quantize(model: Model, options: ConvertOptions, edge: Edge, source: Any,
             on_progress: Callable[[float], None]) -> Quantization:
    """Calibrate the float graph `model` on the user's samples, and change it to integers.

    `source` is the model that it came from, for made-up inputs. Raises BadSample, QuantizationError, RuntimeCrash.
    """
    from fidelite.optimize import tidy
    from fidelite.optimize.passes import Log
    from fidelite.quantize.calibration import calibrate
    from fidelite.quantize.static import STATIC, quantize_static

    ports = [port_of(t) for t in model.main.inputs]
    data = open_calibration(options.calibration, ports, Known(edge, normalize=options.normalize),
                            lambda: _made(ports, source, edge))
    held, rest, held_out = _split(data)
    calibration = calibrate(model, rest, source=data.source, feeds=data.facts, total=data.total,
                            on_progress=on_progress)
    quantized = quantize_static(model, calibration, STATIC[options.precision], ranges=options.ranges,
                                improve=options.improve)
    tidy(model, Log())
    found = Quantization(quantized, held, held_out, list(data.notices))
    if options.io != "float32":
        _retype(model, options.io, found)
    for operator, reason in quantized.parameters.unlike:
        found.notices.append(Notice(
            "W464", f"{', '.join(operator.nodes) or operator.op} shares one scale: {reason}, so that small values are "
            "rounded coarsely", level="warning", remedy="--precision int16x8, or dynamic-int8"))
    for tensor, reason in quantized.parameters.floats.items():
        if tensor.producer is not None and tensor.producer.inputs[0] not in quantized.parameters.floats:
            found.notices.append(Notice("N465", f"'{tensor.name}' stays float32: {reason}"))
    return found


def _retype(model: Model, io: str, found: Quantization) -> None:
    """Let inputs and outputs be integers; what stays float32 is said."""
    from fidelite.quantize.static.ports import retype_ports
    from fidelite.tflite.types import ElementType

    grids, kept = retype_ports(model, ElementType[io.upper()])
    found.scales = {name: {"type": io, "scale": grid.scale, "zero_point": grid.zero_point}
                    for name, grid in grids.items()}
    found.notices += [Notice("N466", f"'{name}' stays float32: {reason}") for name, reason in kept.items()]


def _split(data: CalibrationData) -> tuple[list[Arrays], Iterator[Arrays], bool]:
    """The first samples for the proof, and those to calibrate with, one at a time: the others, or all where they are
    few."""
    head = list(islice(data.samples, ENOUGH))
    if len(head) < ENOUGH:
        return head[:HELD_OUT], iter(head), False
    return head[:HELD_OUT], chain(head[HELD_OUT:], data.samples), True


def _made(ports: Sequence[Port], source: Any, edge: Edge) -> Sequence[Arrays]:
    """The proof's own kind of inputs, other ones than those that it asks with."""
    from fidelite.check.hints import hints_of
    from fidelite.check.inputs import make_inputs

    return make_inputs(ports, count=SYNTHETIC_SAMPLES, seed=1, hints=hints_of(source, edge))


def port_of(tensor: Tensor) -> Port:
    """An input of the graph as the runtime has it."""
    dims = tuple(d if isinstance(d, int) else str(d) for d in tensor.shape)
    return Port(tensor.name, tensor.element.dtype.name, dims)
