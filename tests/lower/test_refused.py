"""Operators that are refused by name: each says why, and none of them has a lowering."""

from __future__ import annotations

import numpy as np
import pytest

from fidelite.errors import UnsupportedOp
from fidelite.lower.refused import REFUSED
from fidelite.lower.registry import REGISTRY
from tests.lower.support import lowered, one_node


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_with_a_reason(name: str) -> None:
    domain, _, op = name.rpartition("::")
    assert not REGISTRY.knows(domain, op)
    model = one_node("Relu", {"x": np.ones((2, 2), np.float32)}, opset=20)
    model.graph.node[0].op_type, model.graph.node[0].domain = op, domain
    if domain:
        model.opset_import.add(domain=domain, version=1)
    with pytest.raises(UnsupportedOp) as caught:
        lowered(model)
    assert caught.value.code == "F410"
    assert REFUSED[name][0] in caught.value.reason
    assert caught.value.remedy == REFUSED[name][1]
