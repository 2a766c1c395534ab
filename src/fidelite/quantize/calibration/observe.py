"""Run samples through the float graph and keep what its values were like. Values never leave LiteRT's process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fidelite.errors import QuantizationError
from fidelite.quantize.calibration.follow import followed
from fidelite.quantize.calibration.subset import leading_to
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.protocol import Arrays
from fidelite.runtime.statistics import TensorStatistics
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.quantized import WEIGHTED
from fidelite.tflite.types import ElementType
from fidelite.write.flatbuffer import write_model

_UNKNOWN = 16


@dataclass(frozen=True)
class Calibration:
    """What was seen of each observed tensor of the main graph, over `samples` samples from `source`."""

    statistics: Mapping[Tensor, TensorStatistics]
    samples: int
    source: str = ""
    feeds: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the data itself was like: files, shapes, how pictures were prepared."""

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self.statistics

    def to_json(self) -> dict[str, Any]:
        """For the report: how many samples from where, and each tensor's exact range."""
        return {"samples": self.samples, "source": self.source, **self.feeds,
                "tensors": [{"tensor": t.name, "low": s.minimum, "high": s.maximum, "elements": s.elements}
                            for t, s in self.statistics.items() if s.elements]}


def observed_tensors(graph: Graph) -> list[Tensor]:
    """The float activations whose range must be measured: all but those that only move the values of others."""
    found = [t for t in graph.inputs if t.element is ElementType.FLOAT32]
    for operator in graph.operators:
        if not followed(operator):
            found += [t for t in operator.outputs if t.element is ElementType.FLOAT32]
    return found


def weighted_operand(operator: Operator) -> Tensor | None:
    """What an operator with constant weights multiplies them with; None for others."""
    facts = WEIGHTED.get(operator.op)
    if facts is None:
        return None
    weights, found = operator.inputs[facts.weights], operator.inputs[facts.data]
    if weights is None or weights.constant is None or found is None or found.is_constant:
        return None
    return found if found.element is ElementType.FLOAT32 else None


def calibrate(model: Model, samples: Iterable[Arrays], *, source: str = "", feeds: Mapping[str, Any] | None = None,
              total: int | None = None, on_progress: Callable[[float], None] | None = None) -> Calibration:
    """Run every sample once through `model` (float32, as optimised) in LiteRT, one at a time.

    Exact ends, a histogram and, for inputs of convolutions and products, the means of channels are kept per tensor;
    memory does not depend on how many samples come. Raises RuntimeCrash, BadSample (a sample that does not fit), and
    QuantizationError (F463) where there is no sample, or where values become NaN or infinite.
    """
    read = dict.fromkeys(t for o in model.main.operators if (t := weighted_operand(o)) is not None)
    wanted = list(dict.fromkeys([*observed_tensors(model.main), *read]))
    copy, places = leading_to(model, wanted)
    here = [t for t in wanted if t in places]
    which, channels = [places[t] for t in here], [places[t] for t in here if t in read]
    count = 0
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "float.tflite"
        with path.open("wb") as stream:
            write_model(copy, stream)
        with LiteRtSession(path, preserve_all=True) as session:
            for sample in samples:
                session.observe(sample, which, count, channels)
                count += 1
                if on_progress is not None:  # a generator does not say how many will come
                    on_progress(min(count / total, 1.0) if total else count / (count + _UNKNOWN))
            found = session.observed() if count else {}
    if not count:
        raise QuantizationError("the calibration data has no samples", code="F463",
                                remedy="give at least one: --calibration FOLDER_OF_PICTURES")
    statistics = {t: found[places[t]] for t in here}
    _check_finite(statistics)
    return Calibration(statistics, count, source, dict(feeds or {}))


def _check_finite(statistics: Mapping[Tensor, TensorStatistics]) -> None:
    bad: Sequence[str] = [t.name for t, s in statistics.items() if not s.finite]
    if bad:
        named = ", ".join(f"'{n}'" for n in bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise QuantizationError(f"on the calibration data, values become NaN or infinite: {named}", code="F463",
                                remedy="check that the samples are what the network takes: fidelite run MODEL "
                                "--input FILE shows their range")
