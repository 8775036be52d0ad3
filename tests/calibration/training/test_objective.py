"""The loss of a step of training through rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdikp_edge.calibration.training.layers import rounded_layers
from fdikp_edge.calibration.training.objective import ThroughRounding
from fdikp_edge.models.patterns import pictures_in_focus
from fdikp_edge.models.training.losses import multi_scale_loss
from torch import Tensor, nn
from twice_net import SIZE, Twice, table

FLOATS_SEED, ROUNDED_SEED = 0, 2
"""Seeds of a step with photographs, without and with rounding."""


class Scales(Twice):
    """The network with a coarse result as well, as those that are trained have."""

    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return [y[..., ::2, ::2], y]


def objective(network: nn.Module, share: float) -> ThroughRounding:
    former = Scales().eval()
    layers = rounded_layers(former, table())
    picture = torch.rand((1, 3, *SIZE), generator=torch.Generator().manual_seed(5))
    chosen = ThroughRounding(layers, former, [picture], share=share)
    chosen.begin(network)
    return chosen


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    picture = torch.rand((2, 3, *SIZE), generator=torch.Generator().manual_seed(1))
    return picture, picture.sqrt()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_seed_is_a_loss(share: float, pair: tuple[Tensor, Tensor]) -> None:
    network = Scales().eval()
    losses = [float(objective(network, share).loss(network, *pair, seed).detach()) for seed in (3, 3, 0)]
    assert losses[0] == losses[1] != losses[2]


def test_a_network_that_changes_nothing_has_no_loss_on_patterns(pair: tuple[Tensor, Tensor]) -> None:
    network = Scales().eval()
    usual = float(objective(network, 1.0).loss(network, *pair, 3).detach())
    nn.init.zeros_(network.last.weight)
    nn.init.zeros_(network.last.bias)  # type: ignore[arg-type]
    assert float(objective(network, 1.0).loss(network, *pair, 3).detach()) == 0 < usual


def test_photographs_count_as_restored_and_as_before(pair: tuple[Tensor, Tensor]) -> None:
    network = Scales().eval()
    with torch.no_grad():
        restored = float(multi_scale_loss(network(pair[0]), pair[1], "relative"))
        floats, rounded = (
            float(objective(network, 0.0).loss(network, *pair, seed)) for seed in (FLOATS_SEED, ROUNDED_SEED)
        )
    assert floats == pytest.approx(0.5 * restored, rel=1e-6), "the network is what it was before"
    assert rounded > floats


def test_training_takes_from_what_rounding_changes() -> None:
    network = Scales().eval()
    with torch.no_grad():
        network.last.weight.mul_(8)
    chosen = objective(network, 1.0)
    x = pictures_in_focus(torch.Size((1, 3, *SIZE)), torch.Generator().manual_seed(0))

    def changed() -> float:
        with torch.no_grad():
            floats = network(x)[-1]
            with chosen.layers.rounded(network):
                return float((network(x)[-1] - floats).square().mean())

    before = changed()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(25):
        optimiser.zero_grad()
        chosen.loss(network, x, x, step).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert changed() < 0.5 * before
