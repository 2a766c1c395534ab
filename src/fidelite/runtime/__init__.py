"""ONNX Runtime, LiteRT and the ONNX reference evaluator behind one protocol.

Importing this package loads nothing: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fidelite.runtime.litert import Delegation as Delegation
    from fidelite.runtime.litert import LiteRtSession as LiteRtSession
    from fidelite.runtime.litert import TensorInfo as TensorInfo
    from fidelite.runtime.measurement import Measurement as Measurement
    from fidelite.runtime.measurement import measure as measure
    from fidelite.runtime.onnx_runtime import OnnxSession as OnnxSession
    from fidelite.runtime.process import Worker as Worker
    from fidelite.runtime.protocol import Array as Array
    from fidelite.runtime.protocol import Arrays as Arrays
    from fidelite.runtime.protocol import Port as Port
    from fidelite.runtime.protocol import Session as Session
    from fidelite.runtime.reference import ReferenceSession as ReferenceSession
    from fidelite.runtime.statistics import TensorStatistics as TensorStatistics

_HOMES = {
    "Array": "protocol",
    "Arrays": "protocol",
    "Delegation": "litert",
    "LiteRtSession": "litert",
    "Measurement": "measurement",
    "OnnxSession": "onnx_runtime",
    "Port": "protocol",
    "ReferenceSession": "reference",
    "Session": "protocol",
    "TensorInfo": "litert",
    "TensorStatistics": "statistics",
    "Worker": "process",
    "measure": "measurement",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
