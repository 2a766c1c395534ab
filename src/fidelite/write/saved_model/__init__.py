"""A TFLite graph as a TensorFlow SavedModel: native operators, weights as variables, the signature's names kept.

`table` says how an operator is told which operator of TensorFlow it is, the families hold the functions, `refusals`
what there is no exact operator for, `build` puts the graph together. TensorFlow itself is an argument: only the worker
process (`fidelite.saving.worker`) imports it.
"""

from __future__ import annotations
