"""Train the small network on drawings.

    python -m fidelite.examples.face_parsing.train OUT.pt [--steps-half N] [--steps-full N] [--resume]

Drawings are made on the fly, each seen once: first at half resolution, where the network learns what a face
is, then at the resolution it works at (256 pixels; it halves its 512-pixel input itself), where it learns
edges. A checkpoint is written every `--save-every` steps; `--resume` goes on from it, with the same drawings
and rates.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from fidelite.examples.face_parsing.drawing import TRAINING_SEEDS, draw_face, normalise
from fidelite.examples.face_parsing.labels import CLASSES, SIDED
from fidelite.examples.face_parsing.small import SmallFaceParser
from fidelite.examples.face_parsing.tensor import Tensor

__all__ = ["Plan", "main", "mirrored", "segmentation_loss", "train"]

FULL, HALF = 256, 128


@dataclass(frozen=True)
class Plan:
    """How to train: steps at each resolution, drawings per step, learning rate at its peak, and seed."""

    steps_half: int = 900
    steps_full: int = 500
    batch: int = 16
    rate: float = 6e-3
    decay: float = 1e-4
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.steps_half + self.steps_full

    def rate_at(self, step: int) -> float:
        """Linear warm-up over 100 steps, then a cosine down to zero."""
        return self.rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def mirrored(picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask as a mirror shows them, left and right classes exchanged."""
    swap = np.arange(len(CLASSES), dtype=np.uint8)
    for left, right in SIDED:
        swap[[left, right]] = right, left
    return picture[:, ::-1], swap[mask[:, ::-1]]


class _Drawings(Dataset[tuple[Tensor, Tensor]]):
    """The drawings of the steps from `start` on, in order, half of them mirrored."""

    def __init__(self, plan: Plan, start: int) -> None:
        self.plan = plan
        self.start = start

    def __len__(self) -> int:
        return (self.plan.steps - self.start) * self.plan.batch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        number = index + self.start * self.plan.batch
        size = HALF if number < self.plan.steps_half * self.plan.batch else FULL
        picture, mask = draw_face(TRAINING_SEEDS + number, size)
        if np.random.default_rng([self.plan.seed, number]).random() < 0.5:
            picture, mask = mirrored(picture, mask)
        return torch.from_numpy(normalise(picture)[0]), torch.from_numpy(mask.astype(np.int64))


def segmentation_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy plus one minus the mean Dice coefficient of the classes present in the batch.

    Args:
        logits: [n, classes, h, w].
        target: class numbers [n, h, w], int64.
        weights: [classes], of the cross-entropy.
    """
    entropy = functional.cross_entropy(logits, target, weights)
    shares = logits.softmax(1)
    hits = shares.gather(1, target[:, None]).flatten()
    flat = target.flatten()
    zeros = shares.new_zeros(logits.shape[1])
    overlap = zeros.index_add(0, flat, hits)
    truth = zeros.index_add(0, flat, torch.ones_like(hits))
    dice = (2 * overlap + 1) / (shares.sum((0, 2, 3)) + truth + 1)
    return entropy + 1 - dice[truth > 0].mean()


def _class_weights(count: int = 64) -> Tensor:
    """Inverse fourth root of each class's frequency in the first training drawings, mean one: [classes]."""
    seen = np.zeros(len(CLASSES))
    for seed in range(TRAINING_SEEDS, TRAINING_SEEDS + count):
        seen += np.bincount(draw_face(seed, HALF)[1].ravel(), minlength=len(CLASSES))
    weights = (seen / seen.sum()) ** -0.25
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions decay; biases and normalisation do not."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _batches(plan: Plan, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of all steps from `start` on, drawn ahead in one other process."""
    yield from DataLoader(_Drawings(plan, start), batch_size=plan.batch, num_workers=1, prefetch_factor=8)


def train(out: Path, plan: Plan, *, resume: bool = False, save_every: int = 100) -> None:
    """Train to the plan's end, writing as it goes: the checkpoint `out`, and a log beside it (`.jsonl`)."""
    torch.manual_seed(plan.seed)
    network = SmallFaceParser().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(_groups(network, plan.decay), lr=plan.rate)
    start, seconds = 0, 0.0
    if resume and out.exists():
        state = torch.load(out, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        start, seconds = state["step"], state["seconds"]
    weights = _class_weights()
    began = time.monotonic() - seconds
    for step, (pictures, target) in enumerate(_batches(plan, start), start):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        logits = network.half_size_logits(pictures.to(memory_format=torch.channels_last))
        logits = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        loss = segmentation_loss(logits, target, weights)
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        done = step + 1
        if done % 20 == 0:
            with out.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
                line = {
                    "step": done,
                    "loss": round(loss.item(), 4),
                    "seconds": round(time.monotonic() - began),
                }
                log.write(json.dumps(line) + "\n")
        if done % save_every == 0 or done == plan.steps:
            state = {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
                "seconds": time.monotonic() - began,
                "plan": asdict(plan),
            }
            part = out.with_suffix(".part")
            torch.save(state, part)
            part.replace(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fidelite.examples.face_parsing.train", description="Train the small network."
    )
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--steps-half", type=int, default=Plan.steps_half, help="steps at half resolution")
    parser.add_argument("--steps-full", type=int, default=Plan.steps_full, help="steps at full resolution")
    parser.add_argument("--batch", type=int, default=Plan.batch, help="drawings per step")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="seed of weights and mirroring")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use")
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    plan = Plan(given.steps_half, given.steps_full, given.batch, given.rate, seed=given.seed)
    train(given.out, plan, resume=given.resume, save_every=given.save_every)


if __name__ == "__main__":
    main()
