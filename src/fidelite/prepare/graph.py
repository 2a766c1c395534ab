"""Make an ONNX model simpler without changing what it computes: inline functions, lift constants, drop dead nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def prepare(model: onnx_ir.Model) -> onnx_ir.Model:
    """Simplify `model` in place and return it."""
    from fidelite.prepare.patterns import fuse_patterns
    from fidelite.source.shapes import remove_dead

    if model.functions:
        from onnx_ir.passes.common import InlinePass

        InlinePass()(model)
    fuse_patterns(model)
    remove_dead(model)
    return model
