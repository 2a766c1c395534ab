"""Import `onnx_ir` without sympy, which only arithmetic on its symbolic dimensions needs.

Loading sympy takes half of the time that the conversion of a model with fixed shapes takes. The standard library's
`LazyLoader` puts it off until somebody asks sympy for something; nothing else changes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

_DEFERRED = frozenset({"sympy", "onnx_ir._symbolic_shapes"})


class _Deferring(MetaPathFinder):
    """While `onnx_ir` is being imported, gives the deferred modules a loader that waits for their first use."""

    def find_spec(self, fullname: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in _DEFERRED or not _onnx_ir_is_loading():
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def _onnx_ir_is_loading() -> bool:
    module = sys.modules.get("onnx_ir")
    return module is not None and getattr(module.__spec__, "_initializing", False)


def defer_sympy() -> None:
    """Let a later import of `onnx_ir` go without sympy. Once is enough; imports by others are not touched."""
    if "onnx_ir" not in sys.modules and not any(isinstance(f, _Deferring) for f in sys.meta_path):
        sys.meta_path.insert(0, _Deferring())
