"""A conversion saved for another framework: TensorFlow's SavedModel, made, run and proven in a process of its own."""

from __future__ import annotations
