"""Operators that call other graphs: tf.cond and tf.while_loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fidelite.tflite.dims import Shape
from fidelite.write.saved_model.table import Call, Family

FAMILY = Family({})


@FAMILY.makes("IF")
def _if(call: Call) -> Any:
    then, otherwise = call.operator.graphs
    condition, *operands = call.operands
    return call.tf.cond(call.tf.reshape(condition, []), lambda: call.run(then, operands),
                        lambda: call.run(otherwise, operands))


@FAMILY.makes("WHILE")
def _while(call: Call) -> Any:
    """A dimension that changes from round to round, or that only the run time knows, is left open."""
    condition, body = call.operator.graphs
    shapes = [[t.shape for t in tensors if t is not None] for tensors in (
        call.operator.inputs, call.operator.outputs, body.inputs, body.outputs, condition.inputs)]
    invariants = [call.tf.TensorShape(_common(several)) for several in zip(*shapes, strict=True)]
    return call.tf.while_loop(
        lambda *values: call.tf.reshape(call.run(condition, values)[0], []), lambda *values: call.run(body, values),
        list(call.operands), shape_invariants=invariants, maximum_iterations=None)


def _common(shapes: Sequence[Shape]) -> list[int | None]:
    """Each dimension as a number where all shapes have that same number."""
    return [dims[0] if isinstance(dims[0], int) and len(set(dims)) == 1 else None
            for dims in zip(*shapes, strict=True)]
