"""Imports every family of lowerings, once, so that the registry is full."""

from __future__ import annotations

from importlib import import_module

FAMILIES = (
    "activation", "arithmetic", "bitwise", "cast", "control", "convolution", "depth_space", "detection", "einsum",
    "filling", "fused", "gathering", "joining", "logic", "matmul", "normalization", "ordering", "padding", "pooling",
    "ranking", "recurrent", "reduction", "resize", "sampling", "scattering", "sequence_ops", "softmax", "spectral",
    "transposed", "trigonometry", "views",
)


def load() -> None:
    """Register all lowerings. Cheap after the first call."""
    for name in FAMILIES:
        import_module(f"fidelite.lower.{name}")
