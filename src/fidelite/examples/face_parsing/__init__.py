"""Face parsing: nineteen classes of face, hair and clothing, one per pixel.

Three things live here. A small network of the project's own, trained on drawn faces, whose exported
`face_parsing.onnx` lies beside this file and is described in `MODEL_CARD.md`. The generator of those drawings
(`draw_face`), which needs NumPy and Pillow only. And BiSeNet in PyTorch (`bisenet.py`) for those who have the
common public checkpoint.

Importing this package imports neither NumPy nor PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from fidelite.examples.face_parsing.labels import CLASSES, IMAGENET_MEAN, IMAGENET_STD, PALETTE

__all__ = ["CLASSES", "IMAGENET_MEAN", "IMAGENET_STD", "MODEL_PATH", "PALETTE"]

MODEL_PATH = Path(__file__).with_name("face_parsing.onnx")
"""The trained small network: `input` float32 [1, 3, 512, 512] to `output` float32 [1, 19, 512, 512]."""
