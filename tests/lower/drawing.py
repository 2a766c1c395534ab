"""Cases of operators that move elements, in every element type, with operands of all kinds, and dynamic shapes.

What is moved does not depend on the type, so ONNX Runtime is asked in float32, and its answer cast: it has no kernels
for some types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fidelite.errors import FideliteError
from fidelite.tflite.graph import Model
from tests.lower.support import check, lowered, one_node, run_onnx

Array = np.ndarray[Any, Any]
Dtype = Any
TYPES: tuple[Dtype, ...] = (np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32,
                            np.uint32, np.int64, np.uint64, np.bool_)
dtypes = st.sampled_from(TYPES)
ways = st.sampled_from(["constant", "run time", "dynamic"])
"""How operands other than the data come: as initializers, as inputs, or as initializers beside data whose
dimensions are all dynamic."""


def shape(min_rank: int = 1, max_rank: int = 4, *, least: int = 1, most: int = 4) -> st.SearchStrategy[list[int]]:
    """Shapes with equal and unit dimensions, rarely with an empty one."""
    sizes = st.lists(st.integers(max(least, 1), most), min_size=min_rank, max_size=max_rank)
    if least:
        return sizes
    empty = sizes.filter(len).flatmap(lambda s: st.integers(0, len(s) - 1).map(
        lambda i: [0 if a == i else d for a, d in enumerate(s)]))
    return st.one_of(sizes, sizes, sizes, empty)


def values(size: Sequence[int], dtype: Dtype = np.float32) -> Array:
    """Different small numbers that every type can hold; for bool, a mixture."""
    count = int(np.prod(size, dtype=np.int64))
    if dtype is np.bool_:
        return np.asarray([bin(i).count("1") % 2 for i in range(count)], np.bool_).reshape(size)
    return ((np.arange(count) * 7 + 3) % 101).astype(dtype).reshape(size)


def dynamic(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with every dimension of the inputs `names` a symbol."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if value.name in names:
                dim.dim_param = f"{value.name}_{axis}"
    for value in result.graph.output:
        value.ClearField("type")
    del result.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(result, data_prop=True)


@dataclass
class Case:
    """One node: `data` takes the drawn type, `params` keep theirs. `operands` orders them ('' for one left out)."""

    op: str
    data: Mapping[str, Array]
    params: Mapping[str, Array] = field(default_factory=dict[str, Array])
    operands: Sequence[str] = ()
    opset: int = 18
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def model(self, dtype: Dtype, way: str) -> tuple[onnx.ModelProto, dict[str, Array]]:
        data = {name: _cast(array, dtype) for name, array in self.data.items()}
        fixed = way != "run time"
        feeds = data if fixed else {**data, **self.params}
        model = one_node(self.op, feeds, opset=self.opset, constants=self.params if fixed else {},
                         operands=self.operands or [*self.data, *self.params], outputs=self.outputs, **self.attributes)
        return dynamic(model, list(data)) if way == "dynamic" else model, feeds

    def check(self, dtype: Dtype = np.float32, way: str = "constant") -> Model:
        """Compare with ONNX Runtime in the given type; returns the lowered model."""
        asked = np.dtype(np.float32)
        want = run_onnx(*self.model(asked, "constant"))
        model, feeds = self.model(dtype, way)
        return check(model, feeds, expected={n: _cast(a, dtype) if a.dtype == asked else a for n, a in want.items()})


def _cast(array: Array, dtype: Dtype) -> Array:
    return np.asarray(array % 2 if np.dtype(dtype) == np.bool_ and array.dtype != np.bool_ else array).astype(dtype)


def refuses(error: type[FideliteError], text: str, op: str, inputs: Mapping[str, Array],
            constants: Mapping[str, Array] | None = None, *, opset: int = 18, outputs: int = 1,
            **attributes: Any) -> None:
    """Assert that a node is refused with `error` and `text`. ONNX's own inference is not asked: it would refuse too."""
    names = [*inputs, *(constants or {})]
    results = [f"y{i}" for i in range(outputs)]
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in inputs.items()]
    graph = helper.make_graph([helper.make_node(op, names, results, **attributes)], "g", infos,
                              [helper.make_empty_tensor_value_info(r) for r in results],
                              [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    with pytest.raises(error, match=text):
        lowered(model)


def ints(*items: int) -> Array:
    return np.asarray(items, np.int64)
