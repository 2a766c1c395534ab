"""Integer kernels: from float operators between DEQUANTIZE and QUANTIZE to LiteRT's own integer operators.

Models that come quantized, and our own quantization (`annotate`), go the same way: `integerize`.
"""

from __future__ import annotations

from fidelite.quantize.integer.annotate import annotate
from fidelite.quantize.integer.integerize import Integerized, Kept, integerize, is_quantized
from fidelite.quantize.integer.stored import store_constants

__all__ = ["Integerized", "Kept", "annotate", "integerize", "is_quantized", "store_constants"]
