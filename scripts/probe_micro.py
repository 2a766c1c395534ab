"""Finds what TensorFlow Lite Micro computes right, and writes it to src/fidelite/targets/micro_kernels.py.

    python scripts/probe_micro.py            # needs the package tflite-micro (Linux)
    python scripts/probe_micro.py ADD MUL    # only prints these

One-operator models of every element type and rank, run in TensorFlow Lite Micro's interpreter and in LiteRT's own
kernels. What a row names gave LiteRT's numbers (floats within 1e-5 of the largest, int8 within one step, int16 within 8
of its 65,536).
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))
sys.path.insert(0, str(ROOT))

from fidelite.errors import FideliteError  # noqa: E402
from fidelite.runtime.litert import LiteRtSession  # noqa: E402
from fidelite.runtime.micro import MicroSession  # noqa: E402
from fidelite.runtime.process import Worker  # noqa: E402
from fidelite.tflite.graph import Graph, Model, Signature, Tensor  # noqa: E402
from fidelite.write.flatbuffer import write_model  # noqa: E402
from scripts.micro_cases import MAX_PROBED_RANK, OPS, TYPES, Case, cases, pairs  # noqa: E402

OUT = ROOT / "src" / "fidelite" / "targets" / "micro_kernels.py"


class Probe:
    """Two workers that are started anew when they die."""

    def __init__(self) -> None:
        self.litert = Worker(timeout=60)
        self.micro = Worker("TensorFlow Lite Micro", timeout=60)

    def agrees(self, case: Case) -> bool | None:
        """Whether Micro gives LiteRT's numbers; None where LiteRT itself has no such kernel."""
        content = _bytes(case)
        feeds = case.feeds()
        try:
            with LiteRtSession(content, xnnpack=False, worker=self.litert) as session:
                wanted = session.run(feeds)
        except FideliteError:
            return None
        try:
            with MicroSession(content, worker=self.micro) as session:
                found = session.run(feeds)
        except FideliteError:
            return False
        return all(_same(wanted[name], found[name]) for name in wanted)


def _same(wanted: np.ndarray, found: np.ndarray) -> bool:
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        return False
    if wanted.dtype.kind == "f":
        scale = float(np.max(np.abs(wanted), initial=1e-6))
        return bool(np.allclose(wanted, found, rtol=0, atol=1e-5 * scale, equal_nan=True))
    if wanted.dtype in (np.int8, np.uint8, np.int16):
        steps = 8 if wanted.dtype == np.int16 else 1  # of 65,536, and of 256
        return bool(np.max(np.abs(wanted.astype(np.int64) - found.astype(np.int64)), initial=0) <= steps)
    return bool(np.array_equal(wanted, found))


def _bytes(case: Case) -> bytes:
    graph = Graph()
    graph.inputs = [t for t in case.operator.inputs if t is not None and not t.is_constant and not t.is_variable]
    graph.append(case.operator)
    graph.outputs = list(case.operator.outputs)
    model = Model([graph])
    named: list[list[tuple[str, Tensor]]] = [[(t.name, t) for t in side] for side in (graph.inputs, graph.outputs)]
    model.signatures.append(Signature("serving_default", graph, *named))
    stream = BytesIO()
    write_model(model, stream)
    return stream.getvalue()


def probe(op: str, probe: Probe) -> tuple[str, int] | None:
    """(types, highest rank) of an operator; None where nothing works."""
    types = [t for t in TYPES if (made := cases(op, t)) and all(probe.agrees(c) for c in made)]
    types += [t for t in pairs(op) if (made := cases(op, t)) and all(probe.agrees(c) for c in made)]
    if not types:
        return None
    highest = 0
    for rank in range(1, MAX_PROBED_RANK + 1):
        made = cases(op, types[0], rank)
        if made and all(probe.agrees(c) for c in made):
            highest = rank
    return " ".join(types), highest


def text(rows: Iterator[tuple[str, tuple[str, int]]]) -> str:
    """The module's text."""
    lines = [
        '"""What TensorFlow Lite Micro\'s reference kernels compute right: written by scripts/probe_micro.py.',
        "",
        f"Found by experiment: one-operator models in tflite-micro {version('tflite-micro')}, against LiteRT",
        f"(ai-edge-litert {version('ai-edge-litert')}), x86-64. Types are those of the data operand; i8q, i16q: with",
        "quantization parameters; a+b: operand of type a with weights of type b; a>b: a cast from a to b. The number",
        "is the highest rank (of those up to six that were tried).",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        f'VERSION = "{version("tflite-micro")}"',
        "",
        "KERNELS: dict[str, tuple[str, int]] = {",
    ]
    for op, (types, rank) in rows:
        parts = textwrap.wrap(types, 90)
        told = ' "\n         "'.join(parts)
        types_told = f'("{told}")' if len(parts) > 1 else f'"{told}"'
        lines.append(f'    "{op}": ({types_told}, {rank}),')
    return "\n".join([*lines, "}", ""])


def main(arguments: list[str]) -> None:
    machine = Probe()
    rows = {}
    for op in arguments or OPS:
        found = probe(op, machine)
        print(op, found, flush=True)
        if found:
            rows[op] = found
    if not arguments:
        OUT.write_text(text(iter(sorted(rows.items()))), "utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
