"""Make an ONNX model simpler without changing what it computes: inline functions, lift constants, drop dead nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

    from fidelite.prepare.functions import Converts


def prepare(model: onnx_ir.Model, converts: Converts | None = None) -> onnx_ir.Model:
    """Simplify `model` in place and return it.

    `converts` tells which operators have a lowering; those without are replaced by ONNX's own definition of them.
    """
    from fidelite.prepare.functions import expand_functions
    from fidelite.prepare.patterns import fuse_patterns
    from fidelite.source.shapes import remove_dead

    if model.functions:
        from onnx_ir.passes.common import InlinePass

        InlinePass()(model)
    fuse_patterns(model)
    if converts is not None:
        expand_functions(model, converts)
    remove_dead(model)
    return model
