"""A batch that a model declares dynamic although its graph fixes it inside."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from fidelite.source.node import plain_domain

Dim = int | str | None
"""A dimension: known, symbolic, or unknown."""

_SHAPE_OPERAND: Mapping[str, int] = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""Operators with a whole shape as an operand, and which operand it is."""


def implied_shapes(model: ir.Model) -> dict[str, tuple[Dim, ...]]:
    """Inputs whose batch is declared dynamic but can be one number only, and the shape they then have.

    So it is where every output declares the same number as its first dimension, and a constant shape inside
    (of a Reshape, Expand or Resize) begins with that number, too. Other open dimensions stay open.
    """
    firsts = {v.shape[0] if v.shape is not None and len(v.shape) else None for v in model.graph.outputs}
    batch = firsts.pop() if len(firsts) == 1 else None
    if not isinstance(batch, int) or not _fixed_inside(model, batch):
        return {}
    implied: dict[str, tuple[Dim, ...]] = {}
    for value in model.graph.inputs:
        dims = list(value.shape) if value.shape is not None else []
        if dims and not isinstance(dims[0], int):
            implied[value.name or ""] = (batch, *(d if isinstance(d, int) else d.value for d in dims[1:]))
    return implied


def _fixed_inside(model: ir.Model, batch: int) -> bool:
    """Whether a constant shape inside the graph has `batch` as its first dimension."""
    for node in model.graph:
        index = _SHAPE_OPERAND.get(node.op_type)
        if (
            index is None
            or plain_domain(node.domain)
            or len(node.inputs) <= index
            or "axes" in node.attributes
        ):
            continue
        if _first_entry(node.inputs[index]) == batch:
            return True
    return False


def _first_entry(value: ir.Value | None) -> int | None:
    """The first number of a constant with several; None where it is not at hand."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size < 2 or isinstance(tensor, ir.ExternalTensor):
        return None
    return int(tensor.numpy().reshape(-1)[0])
