"""A batch that a model declares dynamic although its graph fixes it inside."""

from __future__ import annotations

import onnx_ir as ir

from fidelite.errors import Notice
from fidelite.source.node import plain_domain

Dim = int | str | None

_SHAPE_OPERAND = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""Operators with a whole shape as an operand, and which operand it is."""


def implied_shapes(model: ir.Model) -> tuple[dict[str, tuple[Dim, ...]], list[Notice]]:
    """Batches that are declared dynamic although the graph fixes them inside.

    PyTorch's exporter makes such models where `dynamic_axes` or `dynamic_shapes` names the batch and the network
    takes sizes from Python numbers: the input says `s77`, each output says 1, and a Resize or Reshape holds a 1.

    Returns:
        Input name -> shape with the batch that alone can work (dimensions that stay open as they are), and a notice.
        Give it to `apply_shapes`, after leaving out inputs that the user fixes.
    """
    outputs = {
        value.shape[0] if value.shape is not None and len(value.shape) else None
        for value in model.graph.outputs
    }
    if len(outputs) != 1:
        return {}, []
    (batch,) = outputs
    if not isinstance(batch, int) or not _fixed_inside(model, batch):
        return {}, []
    declared: dict[str, str] = {}
    shapes: dict[str, tuple[Dim, ...]] = {}
    for value in model.graph.inputs:
        if value.shape is None or not len(value.shape) or isinstance(value.shape[0], int):
            continue
        declared[value.name or ""] = str(value.shape[0].value or "?")
        rest = tuple(d if isinstance(d, int) else d.value for d in value.shape[1:])
        shapes[value.name or ""] = (batch, *rest)
    if not shapes:
        return {}, []
    told = ", ".join(f"'{name}' ('{symbol}')" for name, symbol in declared.items())
    name, shape = next(iter(shapes.items()))
    return shapes, [
        Notice(
            "N342",
            f"the model declares the batch of {told} dynamic, while its outputs and constants inside are fixed at "
            f"{batch}: only {batch} can work, so it is taken as {batch}",
            remedy=f"--shape {name}="
            + ",".join(str(d) if isinstance(d, int) else "N" for d in shape)
            + " says it",
        )
    ]


def _fixed_inside(model: ir.Model, batch: int) -> bool:
    """Whether a constant shape inside the graph has `batch` as its first dimension."""
    for node in model.graph:
        index = _SHAPE_OPERAND.get(node.op_type)
        if index is None or plain_domain(node.domain) or len(node.inputs) <= index:
            continue
        operand = node.inputs[index]
        if node.op_type == "Resize" and "axes" in node.attributes:
            continue
        first = _first_entry(operand)
        if first is not None and first == batch:
            return True
    return False


def _first_entry(value: ir.Value | None) -> int | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size < 2 or isinstance(tensor, ir.ExternalTensor):
        return None
    return int(tensor.numpy().reshape(-1)[0])
