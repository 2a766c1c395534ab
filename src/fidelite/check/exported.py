"""Does the ONNX model that PyTorch's exporter made compute what the PyTorch network computes?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.check.oracle import open_program, open_source
from fidelite.check.questions import all_fixed, sample_sets
from fidelite.check.tolerance import Tolerance
from fidelite.check.verdict import Verification
from fidelite.check.verify import verify_sessions
from fidelite.edge import Edge
from fidelite.errors import RuntimeCrash
from fidelite.runtime.protocol import Arrays, Port, Session

if TYPE_CHECKING:
    import onnx_ir

    from fidelite.source.pytorch.program import Program

Progress = Callable[[str, int, int], None]
_MOST_CLASSES = 4096


def prove_exported(program: Program, model: onnx_ir.Model, content: Path | bytes, samples: Path | None = None,
                   on_progress: Progress | None = None) -> Verification:
    """Run the network and the model that was exported from it on the same inputs.

    Raises BadSample, RuntimeCrash; a difference is a verdict.
    """
    ports = [_port(v) for v in model.graph.inputs]
    names = [v.name or "" for v in model.graph.outputs]
    last: RuntimeCrash | None = None
    for asked in sample_sets(ports, model, Edge(), samples):
        try:
            return compare_exported(lambda: open_program(program, [p.name for p in ports]), content, model, asked,
                                    names, (), on_progress)
        except RuntimeCrash as crash:
            if all_fixed(ports) or samples is not None:
                raise
            last = crash  # a free dimension may need another size
    assert last is not None
    raise last


def compare_exported(oracle: Callable[[], Session], content: Path | bytes, model: onnx_ir.Model,
                     samples: Sequence[Arrays], names: Sequence[str], constant_outputs: Sequence[str],
                     on_progress: Progress | None) -> Verification:
    """`oracle` against the exported model in ONNX Runtime, on these samples."""
    return verify_sessions(
        oracle, lambda: open_source(content, names), samples, tolerance=Tolerance.for_precision("float32"),
        constant_outputs=constant_outputs, class_axes=_class_axes(model), on_progress=on_progress)


def _class_axes(model: onnx_ir.Model) -> dict[str, int]:
    """Where outputs have what may be class scores: axis 1."""
    axes: dict[str, int] = {}
    for value in model.graph.outputs:
        size = value.shape[1] if value.shape is not None and len(value.shape) >= 2 else None
        floats = value.dtype is not None and value.dtype.is_floating_point()
        if floats and isinstance(size, int) and 2 <= size <= _MOST_CLASSES:
            axes[value.name or ""] = 1
    return axes


def _port(value: onnx_ir.Value) -> Port:
    dims = [] if value.shape is None else list(value.shape)
    shape = tuple(d if isinstance(d, int) else d.value or f"{value.name}:{i}" for i, d in enumerate(dims))
    return Port(value.name or "", "float32" if value.dtype is None else value.dtype.numpy().name, shape)
