"""The parts of training that can be wrong without training: loss, mirroring, rates, size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from fidelite.examples.face_parsing import labels  # noqa: E402
from fidelite.examples.face_parsing.drawing import draw_face  # noqa: E402
from fidelite.examples.face_parsing.small import SmallFaceParser, load_small  # noqa: E402
from fidelite.examples.face_parsing.train import Plan, mirrored, segmentation_loss  # noqa: E402


def test_parameters_stay_few() -> None:
    assert sum(p.numel() for p in SmallFaceParser().parameters()) < 120_000


def test_training_sees_what_the_network_will_see() -> None:
    network = load_small(seed=2)
    picture = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    halved = torch.nn.functional.avg_pool2d(picture, 2)
    with torch.no_grad():
        whole, inner = network(picture), network.half_size_logits(halved)
    assert tuple(whole.shape) == (1, 19, 128, 128)
    enlarged = torch.nn.functional.interpolate(inner, scale_factor=4.0, mode="bilinear")
    np.testing.assert_allclose(whole.numpy(), enlarged.numpy(), rtol=1e-5, atol=1e-6)


def test_loss_falls_towards_the_truth() -> None:
    mask = torch.from_numpy(draw_face(5, 64)[1].astype(np.int64))[None]
    truth = torch.nn.functional.one_hot(mask, 19).permute(0, 3, 1, 2).float()
    weights = torch.ones(19)
    losses = [float(segmentation_loss(truth * scale, mask, weights)) for scale in (0.0, 3.0, 30.0)]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == pytest.approx(0, abs=1e-3)


def test_mirroring_exchanges_sides() -> None:
    picture, mask = draw_face(5, 64)
    turned, turned_mask = mirrored(picture, mask)
    np.testing.assert_array_equal(turned, picture[:, ::-1])
    for left, right in labels.SIDED:
        assert (turned_mask == left).sum() == (mask == right).sum()
    again = mirrored(turned, turned_mask)
    np.testing.assert_array_equal(again[0], picture)
    np.testing.assert_array_equal(again[1], mask)


def test_rate_warms_up_then_falls_to_zero() -> None:
    plan = Plan(steps_half=400, steps_full=600)
    rates = [plan.rate_at(step) for step in range(plan.steps)]
    assert rates[0] < plan.rate / 50
    assert rates.index(max(rates)) in range(80, 120)
    assert rates[-1] < plan.rate / 1000
