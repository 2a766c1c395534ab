"""The networks that fidelite ships, told by the names in a checkpoint. A row more is a network more."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Network:
    """A network, and the checkpoints that are its own."""

    name: str
    factory: str
    """`package.module:factory`."""
    marks: tuple[str, ...]
    """Names that its checkpoints have ..."""
    without: tuple[str, ...]
    """... and names that they do not have."""
    renames: tuple[tuple[str, str], ...]
    """Patterns and what stands in their place, in order, from the checkpoint's names to the network's."""
    unused: tuple[str, ...]
    """Patterns of names that the checkpoint has and the network does not use."""
    shapes: Mapping[str, tuple[int, ...]]

    def fits(self, names: Collection[str]) -> bool:
        return all(m in names for m in self.marks) and not any(w in names for w in self.without)

    def renamed(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state under the network's own names."""
        found: dict[str, Any] = {}
        for name, value in state.items():
            if any(re.match(pattern, name) for pattern in self.unused):
                continue
            for pattern, replacement in self.renames:
                name = re.sub(pattern, replacement, name)
            found[name] = value
        return found


_FACES = {"input": (1, 3, 512, 512)}
_FACTORY = "fidelite.examples.face_parsing.bisenet"
_CP = ("cp.resnet.conv1.weight", "ffm.convblk.conv.weight", "conv_out.conv_out.weight")
_FPN = ("fpn.backbone.conv1.weight", "ffm.conv_block.conv.weight", "conv_out.conv.weight")
_FPN_RENAMES = (
    (r"^fpn\.backbone\.", "cp.resnet."),
    (r"^fpn\.", "cp."),
    (r"\.attention\.0\.", ".conv_atten."),
    (r"\.attention\.1\.", ".bn_atten."),
    (r"^(conv_out\d*)\.conv\.", r"\1.conv_out."),
    (r"\.norm\.", ".bn."),
    (r"^ffm\.conv_block\.", "ffm.convblk."),
    (r"\.conv_block\.", ".conv."),
)
_FPN_UNUSED = (r"fpn\.backbone\.fc\.",)
_BLOCK_OF_34 = "{}.layer1.2.conv1.weight"

NETWORKS = (
    # github.com/zllrunning/face-parsing.PyTorch: 79999_iter.pth
    Network("BiSeNet face parsing, ResNet-18", f"{_FACTORY}:BiSeNet", _CP, (_BLOCK_OF_34.format("cp.resnet"),), (), (),
            _FACES),
    Network("BiSeNet face parsing, ResNet-34", f"{_FACTORY}:BiSeNet34", (*_CP, _BLOCK_OF_34.format("cp.resnet")), (),
            (), (), _FACES),
    # github.com/yakhyo/face-parsing: resnet18.pt, resnet34.pt; the same network under other names
    Network("BiSeNet face parsing, ResNet-18", f"{_FACTORY}:BiSeNet", _FPN, (_BLOCK_OF_34.format("fpn.backbone"),),
            _FPN_RENAMES, _FPN_UNUSED, _FACES),
    Network("BiSeNet face parsing, ResNet-34", f"{_FACTORY}:BiSeNet34", (*_FPN, _BLOCK_OF_34.format("fpn.backbone")),
            (), _FPN_RENAMES, _FPN_UNUSED, _FACES),
)


def recognised(names: Collection[str]) -> Network | None:
    """The network whose checkpoints have these names; None for a checkpoint of another network."""
    return next((network for network in NETWORKS if network.fits(names)), None)
