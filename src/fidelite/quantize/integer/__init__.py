"""Integer kernels: from float operators between DEQUANTIZE and QUANTIZE to LiteRT's own integer operators.

Models that come quantized, and our own quantization (`annotate`), go the same way: `integerize`.
"""

from __future__ import annotations

from fidelite.quantize.integer.annotate import annotate
from fidelite.quantize.integer.integerize import Integerized, Kept, integerize, is_quantized

__all__ = ["Integerized", "Kept", "annotate", "integerize", "is_quantized"]
