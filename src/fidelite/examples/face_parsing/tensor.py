"""PyTorch's tensor as an annotation. PyTorch is optional, so type checking treats its tensors as `Any`."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Tensor"]

Tensor: TypeAlias = Any
"""A `torch.Tensor`."""
