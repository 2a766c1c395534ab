"""The typed view of a node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.source.node import NodeView, source_line
from tests.source.models import tensor


def view(
    op: str = "Conv",
    inputs: tuple[str, ...] = ("x", "w"),
    opset: int = 18,
    domain: str = "",
    **attributes: Any,
) -> NodeView:
    proto = helper.make_node(op, list(inputs), ["y"], name="n", domain=domain, **attributes)
    return NodeView(ir.from_proto(proto), {domain: opset})


def test_attributes_with_types_and_defaults() -> None:
    node = view(group=2, strides=[1, 2], auto_pad="SAME_UPPER", alpha=0.5, scales=[0.5], names=["a", "b"])
    assert node.int_("group", 1) == 2
    assert node.int_("other", 1) == 1
    assert node.int_("other", None) is None
    assert node.ints("strides", (1, 1)) == (1, 2)
    assert node.ints("pads", [0, 0]) == (0, 0)
    assert node.ints("pads", None) is None
    assert node.str_("auto_pad", "NOTSET") == "SAME_UPPER"
    assert node.float_("alpha") == 0.5
    assert node.floats("scales", ()) == (0.5,)
    assert node.floats("other", None) is None
    assert node.strings("names", ()) == ("a", "b")
    assert node.strings("other", None) is None
    assert node.has("group")
    assert not node.has("other")
    assert node.unknown_attributes({"group", "strides"}) == ["alpha", "auto_pad", "names", "scales"]


def test_tensors_and_graphs() -> None:
    body = helper.make_graph([], "body", [], [])
    node = view(value=tensor("v", 2, 3), then_branch=body)
    value = node.tensor("value")
    assert value is not None
    assert (value.shape, value.dtype) == ((2, 3), np.float32)
    assert node.tensor("other") is None
    graph = node.graph("then_branch")
    assert graph is not None
    assert graph.name == "body"
    assert node.graph("other") is None


def test_wrong_and_missing_attributes_are_told_at_the_node() -> None:
    node = view(group=2.5)
    with pytest.raises(InvalidModel) as caught:
        node.int_("group", 1)
    assert (caught.value.code, caught.value.where.node, caught.value.where.opset) == ("F339", "n", 18)
    with pytest.raises(InvalidModel, match="missing"):
        node.int_("axis")


def test_attributes_that_refer_to_a_functions() -> None:
    node = ir.node("Conv", [], attributes={})
    node.attributes["group"] = ir.RefAttr("group", "outer", ir.AttributeType.INT)
    with pytest.raises(UnsupportedAttribute) as caught:
        NodeView(node, {"": 18}).int_("group", 1)
    assert caught.value.code == "F421"


def test_operands() -> None:
    node = view("Resize", ("x", "", "", "sizes"))
    assert node.input_names == ("x", None, None, "sizes")
    assert node.output_names == ("y",)


def test_versions() -> None:
    assert (view("Softmax", ("x",), 12).opset, view("Softmax", ("x",), 12).since) == (12, 11)
    assert view("Softmax", ("x",), 18).since == 13
    assert view("Softmax", ("x",), 18, domain="ai.onnx").domain == ""
    assert view("Own", ("x",), 1, domain="my.domain").since is None
    assert str(view("Own", ("x",), 1, domain="my.domain").where()) == "node 'n', my.domain::Own (opset 1)"


def test_the_users_own_line() -> None:
    node = ir.node("Relu", [])
    assert source_line(node) == ""
    node.metadata_props["pkg.torch.onnx.stack_trace"] = (
        'File "C:\\work\\model.py", line 243, in forward\n    feat = self.cp(x)\n'
        '  File "C:\\work\\net dir\\resnet.py", line 74, in forward\n    x = self.maxpool(x)\n'
        '  File "C:\\venv\\Lib\\site-packages\\torch\\nn\\modules\\pooling.py", line 226, in forward\n    return F.max('
    )
    assert source_line(node) == "resnet.py:74 (x = self.maxpool(x))"
