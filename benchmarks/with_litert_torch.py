"""Convert a network with litert-torch, in its own environment: NAME LAYOUT STATE.pt OUT.tflite"""

from __future__ import annotations

import sys
from pathlib import Path

import litert_torch
import torch

from benchmarks.models import SPECS
from benchmarks.networks import restored


def main(name: str, layout: str, state: str, target: str) -> None:
    spec = SPECS[name]
    network = restored(name, Path(state))
    example = torch.zeros(spec.shape)
    if layout == "nhwc":
        outputs = [spec.outputs.index(output) for output in spec.maps]
        network = litert_torch.to_channel_last_io(network, args=[0], outputs=outputs or None)
        example = example.permute(0, 2, 3, 1).contiguous()
    litert_torch.convert(network, (example,)).export(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
