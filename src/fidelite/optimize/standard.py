"""The standard passes, in the order in which they run. Each group runs until it settles."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.optimize.dead import DropDeadOperators
from fidelite.optimize.layout import ChooseLayout
from fidelite.optimize.passes import Pass

STANDARD: Sequence[Sequence[Pass]] = (
    (DropDeadOperators(),),
    (ChooseLayout(), DropDeadOperators()),
)
