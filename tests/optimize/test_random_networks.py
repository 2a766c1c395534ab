"""Random networks through the whole pipeline, under every layout at their edge, with and without XNNPACK."""

from __future__ import annotations

import pytest

from tests.optimize.idioms import IDIOMS
from tests.optimize.networks import STEPS, NetworkMaker
from tests.optimize.support import LAYOUTS, check_network

QUICK, SLOW = 60, 2000
CHOICES = [*STEPS, *IDIOMS, *IDIOMS]


def faults_of(seed: int, layouts: tuple[str, ...]) -> list[str]:
    maker = NetworkMaker(seed, dynamic=seed % 5 == 4)
    model = maker.model(3 + seed % 11, CHOICES)
    return check_network(model, maker.feeds(), layouts)


@pytest.mark.parametrize("seed", range(QUICK))
def test_random_network(seed: int) -> None:
    assert not faults_of(seed, (LAYOUTS[seed % 4], LAYOUTS[(seed + 1) % 4]))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(QUICK, SLOW, 100))
def test_many_random_networks(start: int) -> None:
    found = {seed: faults for seed in range(start, start + 100) if (faults := faults_of(seed, LAYOUTS))}
    assert not found
