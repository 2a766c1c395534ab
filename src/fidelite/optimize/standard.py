"""The standard passes, in the order in which they run. Each group runs until it settles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fidelite.optimize.affine import FoldAffine
from fidelite.optimize.commute import HoistViewsAboveSlices, KeepInnermostAxes, MergeReshapesAcross
from fidelite.optimize.dead import DropDeadOperators
from fidelite.optimize.depth import FindDepthToSpace
from fidelite.optimize.fuse import DropNeedlessBroadcasts, FuseActivations, FuseTransposesIntoProducts
from fidelite.optimize.gpu import WriteForGpu
from fidelite.optimize.layout import ChooseLayout
from fidelite.optimize.memory import KeepValues
from fidelite.optimize.micro import WriteOutGelu
from fidelite.optimize.outputs import FillOutputs
from fidelite.optimize.padding import PadPoolsWithZeros
from fidelite.optimize.passes import Pass
from fidelite.optimize.share import CancelCasts, ShareEqualOperators
from fidelite.optimize.views import ShortenViews

STANDARD: Sequence[Sequence[Pass]] = (
    (DropNeedlessBroadcasts(), DropDeadOperators(), CancelCasts(), ShareEqualOperators()),
    (ChooseLayout(), DropDeadOperators()),
    (ShortenViews(), KeepInnermostAxes(), HoistViewsAboveSlices(), MergeReshapesAcross(), ShortenViews(),
     FuseTransposesIntoProducts(), FoldAffine(), FuseActivations(), PadPoolsWithZeros(), DropNeedlessBroadcasts(),
     ShareEqualOperators(), DropDeadOperators()),
    (FindDepthToSpace(), DropDeadOperators()),
    (KeepValues(), FillOutputs()),
)

# Exact rewrites that only one target asks for; they run after the standard ones.
TARGETED: Mapping[str, Sequence[Sequence[Pass]]] = {
    "gpu": ((WriteForGpu(),), (KeepValues(), FillOutputs())),
    "micro": ((WriteOutGelu(), ShareEqualOperators()), (KeepValues(), FillOutputs())),
}

TIDY: Sequence[Sequence[Pass]] = ((ShareEqualOperators(), DropDeadOperators()), (KeepValues(),))
"""After changes that come later than these passes."""
