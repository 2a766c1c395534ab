"""Writes docs/targets.md: what each target takes, from the profiles in src/fidelite/targets.

    python scripts/write_targets.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from fidelite.optimize.approximate import APPROXIMATIONS
from fidelite.targets import available, profile_of
from fidelite.targets.gpu_rules import NEWEST
from fidelite.targets.micro_kernels import KERNELS, VERSION

DOCS = Path(__file__).resolve().parent.parent / "docs"

INTRODUCTION = """# Targets

A target is a place that a model runs at. `--target T` holds the finished graph against what that place takes: what
it refuses stops the conversion, all reasons at once, and what it would leave to another processor is told. Some
targets change the graph exactly: the result is proven like any other.

    fidelite convert MODEL --target micro -o model.tflite --c-array model.cc
    fidelite inspect model.tflite --target gpu        # operator by operator: rule, its source, what to do

In Python `fidelite.inspect("model.tflite", target="gpu").target` is the same as data.

No table here replaces a run on the device: what was tried for real, and what not, stands below each title.
"""

MORE = {
    "gpu": """
Rewritten exactly for this target: a factor that a BATCH_MATMUL transposes becomes a TRANSPOSE, an activation fused
into a TRANSPOSE_CONV an operator of its own, an average over the whole picture a MEAN, paddings and slices of few
axes and constants that would lie along other axes are lifted to four axes, a MEAN that drops the last axis keeps
it, SQUEEZE and EXPAND_DIMS become RESHAPE.

Where precision loss is allowed (by default in Java and Kotlin, not in C) the delegate computes in float16.
`convert` simulates that on the CPU with the proof's samples: the largest magnitude of every value, the sum of
magnitudes behind every product (what no order of adding up can pass), and what the outputs become if every value is
rounded to float16. W474 and W475 tell where float16 does not do; sums are rounded on some GPUs only, so the
simulation is a forecast.

"Refused" is said of what would keep the delegate from starting, or be computed otherwise than on the CPU: with the
rules `adjoint`, `transposed-activation`, `transposed-size`, `pad-rank`, `last-axis`, `constant-layout` and
`channel-axis` the source shows a wrong result without an error. It is read, not run: your delegate may be newer.
LiteRT's GPU accelerator of the CompiledModel API is another program: its
rules are not here.
""",
    "micro": """
Where `tflite-micro` is installed (`pip install "fidelite[micro]"`, Linux), the file is proven in TensorFlow Lite
Micro's own interpreter, and the smallest tensor arena is found by trying. Its structures hold pointers, of 64 bits
here: a device of 32 bits needs less. State that operators keep is reset between runs. `--c-array model.cc` (or `-o
model.cc`) writes the file as an array that is aligned to 16 bytes, with a header that states the arena. Names of a
chip's own kernels (CMSIS-NN, Xtensa, ...) are not looked at: they may lack types.
""",
}

APPROXIMATE = """## Approximations

Rewrites that are not exact are made only where `--approximate` names them. The exact graph is proven first, then
the file at the approximation's own tolerance; both proofs are in the manifest. LiteRT's GPU delegate computes
aligned corners: `align-corners` is for processors that do not. On BiSeNet it moves 6 to 10 % of all pixels to
another class. `gelu-tanh` is for processors without GELU, such as TensorFlow Lite Micro's; it stays within 0.0005
of GELU.
"""


def text() -> str:
    """The page's text."""
    lines = [INTRODUCTION]
    for name in available():
        profile = profile_of(name)
        lines += [f"## {name}: {profile.title}", "", f"Tried: {profile.run_here}.", MORE.get(name, "")]
        lines += ["| rule | what it asks | where that stands |", "| --- | --- | --- |"]
        lines += [f"| `{r.name}` | {_cell(r.text)} | {_cell(r.source)} |" for r in profile.rules]
        lines += ["", *_operators(name)]
    lines += [APPROXIMATE, "| name | what it does |", "| --- | --- |",
              *(f"| `{name}` | {a.what} |" for name, a in APPROXIMATIONS.items()), ""]
    return "\n".join(lines)


def _cell(told: str) -> str:
    return told.replace("|", "\\|")


def _operators(name: str) -> Iterator[str]:
    if name == "micro":
        yield from textwrap.wrap(
            f"Operators that tflite-micro {VERSION} computes right, with the types of their data operand (`i8q`: with "
            "a scale; `a+b`: a value of type a with weights of type b; `a>b`: a cast) and the highest rank of those up "
            "to six that were tried. IF and WHILE take any.", 120)
        yield from ("", "| operator | types | rank |", "| --- | --- | --- |")
        yield from (f"| {op} | {types} | {rank} |" for op, (types, rank) in KERNELS.items())
        yield ""
    if name == "gpu":
        yield "Operators with a parser, and the newest version that it admits where that is limited:"
        told = ", ".join(op if newest == 99 else f"{op} ({newest})" for op, newest in sorted(NEWEST.items()))
        yield from ("", *textwrap.wrap(told, 120, break_on_hyphens=False), "")


if __name__ == "__main__":
    (DOCS / "targets.md").write_text(text(), "utf-8", newline="\n")
