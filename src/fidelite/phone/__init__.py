"""A model on an Android device, over `adb`, by LiteRT's own `benchmark_model`: measured, and compared."""

from __future__ import annotations
