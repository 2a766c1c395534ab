"""Which element types of an operator's first operand convert: tried out on cases of the ONNX backend suite.

    python scripts/op_types.py            writes scripts/op_types.json, which docs/ops.md is made from

Each case's operands are given every type that the schema allows in their place, and lowered; the suite, and the tests
of each operator, compare what they compute. Strings and complex numbers, for which LiteRT has next to nothing, are
left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import helper, numpy_helper

from fidelite.errors import FideliteError
from fidelite.lower import families
from fidelite.lower.driver import lower_model
from fidelite.lower.registry import REGISTRY, converts
from fidelite.prepare.fold import fold
from fidelite.prepare.graph import prepare

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "scripts" / "op_types.json"
sys.path.insert(0, str(ROOT))
SKIPPED = ("BitCast",)
"""Its types must be as wide as the result's."""


def tried() -> dict[str, Any]:
    """`refused`: by operator, the types that the schema allows for its first operand and that no case converts with;
    `untried`: operators of which no case serves."""
    from tests.conformance import conformance

    families.load()
    known = {row.op for row in REGISTRY if row.domain in ("", "ai.onnx.ml")}
    refused: dict[str, set[str]] = {}
    for case in conformance.load_suite():
        model: Any = case.model
        if case.kind != "node" or len(model.graph.node) != 1 or case.op not in known or not case.data_sets or \
                conformance.exclusion_of(case) or case.op in SKIPPED or refused.get(case.op) == set():
            continue
        folded: Any = conformance.fold(case, conformance.static_inputs(case)).model
        results = dict(_types(folded))
        if not any(results.values()):
            continue
        missing = {name for name, converted in results.items() if not converted}
        refused[case.op] = refused.get(case.op, missing) & missing
    return {"refused": {op: sorted(missing) for op, missing in sorted(refused.items()) if missing},
            "untried": sorted(known - set(refused))}


def _types(model: onnx.ModelProto) -> Iterator[tuple[str, bool]]:
    """The schema's types for the first operand, and whether the model converts with each."""
    node = model.graph.node[0]
    opset = next(o.version for o in model.opset_import if o.domain == node.domain)
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    if not node.input or not schema.inputs:
        return
    parameter = schema.inputs[0].type_str
    allowed = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == parameter), [parameter])
    for name in allowed:
        if name.startswith("tensor(") and "string" not in name and "complex" not in name:
            type_ = getattr(onnx.TensorProto, name[7:-1].upper())
            yield helper.tensor_dtype_to_np_dtype(type_).name, _converts(_retyped(model, schema, parameter, type_))


def _retyped(model: onnx.ModelProto, schema: onnx.defs.OpSchema, parameter: str, type_: int) -> onnx.ModelProto:
    """The model with all operands of the type `parameter` in the type `type_`; nothing is said of the results."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    node = result.graph.node[0]
    names = {name for i, name in enumerate(node.input)
             if schema.inputs[min(i, len(schema.inputs) - 1)].type_str == parameter}
    for value in result.graph.input:
        if value.name in names:
            value.type.tensor_type.elem_type = type_
    for tensor in result.graph.initializer:
        if tensor.name in names:
            array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(type_))
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), tensor.name))
    for value in result.graph.output:
        value.ClearField("type")
    del result.graph.value_info[:]
    return result


def _converts(model: onnx.ModelProto) -> bool:
    try:
        lower_model(prepare(onnx_ir.from_proto(model), converts), fold=fold)
    except (FideliteError, onnx.shape_inference.InferenceError):
        return False
    return True


if __name__ == "__main__":
    TABLE.write_text(json.dumps(tried(), indent=1) + "\n", "utf-8", newline="\n")
