"""Export a face-parsing network to ONNX.

    python -m fidelite.examples.face_parsing.export OUT.onnx [--network small|bisenet] [--checkpoint FILE]
        [--exporter dynamo|torchscript] [--opset N] [--size PIXELS] [--external-data]

The input is named `input`, the result `output`; BiSeNet's two other results are `output16` and `output32`.
Weights lie inside the file unless `--external-data` asks for a `.data` file beside it.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import onnx
import torch
from torch import nn

from fidelite.examples.face_parsing.bisenet import bisenet
from fidelite.examples.face_parsing.small import load_small

__all__ = ["Exporter", "Network", "export", "main", "network_of"]

Exporter = Literal["dynamo", "torchscript"]
Network = Literal["small", "bisenet"]


def network_of(name: Network, checkpoint: Path | None = None, seed: int = 0) -> nn.Module:
    """The network in evaluation mode, with a checkpoint's weights or with seeded ones."""
    return bisenet(checkpoint, seed) if name == "bisenet" else load_small(checkpoint, seed)


def export(
    out: Path,
    *,
    network: Network = "bisenet",
    checkpoint: Path | None = None,
    exporter: Exporter = "dynamo",
    opset: int = 18,
    size: int = 512,
    external_data: bool = False,
) -> None:
    """Write the network as an ONNX model with the fixed input shape [1, 3, size, size].

    Args:
        out: the file to write.
        network: which network.
        checkpoint: its weights; seeded random ones without.
        exporter: `dynamo` (torch.export) or `torchscript` (tracing).
        opset: version of the ONNX operator set.
        size: side of the picture, a multiple of 64.
        external_data: put the weights into `OUT.onnx.data` rather than into the file.
    """
    module = network_of(network, checkpoint)
    outputs = ["output", "output16", "output32"] if network == "bisenet" else ["output"]
    picture = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own deprecations: nothing a user could act on
        torch.onnx.export(
            module,
            (picture,),
            str(out),
            dynamo=exporter == "dynamo",
            opset_version=opset,
            input_names=["input"],
            output_names=outputs,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(out)
    _tidy(model)
    data = out.name + ".data"
    out.with_name(data).unlink(missing_ok=True)
    if external_data:
        onnx.save_model(model, out, save_as_external_data=True, location=data)
    else:
        onnx.save_model(model, out)


def _tidy(model: onnx.ModelProto) -> None:
    """Remove what exporters note of the machine and of themselves: stack traces, paths, metadata."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fidelite.examples.face_parsing.export",
        description="Export a face-parsing network to ONNX.",
    )
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    parser.add_argument("--network", choices=get_args(Network), default="bisenet", help="which network")
    parser.add_argument("--checkpoint", type=Path, help="trained weights, for example 79999_iter.pth")
    parser.add_argument("--exporter", choices=get_args(Exporter), default="dynamo", help="PyTorch's exporter")
    parser.add_argument("--opset", type=int, default=18, help="version of the ONNX operator set")
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--external-data", action="store_true", help="weights into a .data file beside it")
    given = parser.parse_args(arguments)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    export(
        given.out,
        network=given.network,
        checkpoint=given.checkpoint,
        exporter=given.exporter,
        opset=given.opset,
        size=given.size,
        external_data=given.external_data,
    )


if __name__ == "__main__":
    main()
