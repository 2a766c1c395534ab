"""A model in: the ONNX file read, its weights mapped, its operands checked against each other.

    formats     what a file is, told by its first bytes and never by running what is inside
    load        `load` and `examine`: the file becomes a `Source`
    structure   names and edges: every input exists, nothing is made twice, no cycle
    external    weights in files of their own, checked before anything is mapped
    operands    operands of a node checked against each other
    faults      exporters' known faults, as a table
    shapes      `--shape` and `--outputs`
    node        the typed view of a node that lowerings read
    profile     what `fidelite inspect` tells

Nothing heavy is imported here: the modules above bring onnx and onnx-ir with them, and `deferred` sees to it that
onnx-ir comes without sympy.
"""

from __future__ import annotations

from fidelite.source.deferred import defer_sympy

defer_sympy()
