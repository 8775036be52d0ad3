"""A network through the rounding of its table, against the emulation of its lowered program."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.training.layers import rounded_layers
from fdikp_edge.runtime.errors import CalibrationError
from torch import nn
from twice_net import SIZE, Twice, lowered, table


def picture() -> Any:
    rows = np.linspace(0, 1, SIZE[0] * SIZE[1] * 3, dtype=np.float32).reshape(1, 3, *SIZE)
    return np.ascontiguousarray(0.5 + 0.4 * np.sin(40 * rows), dtype=np.float32)


def test_the_network_computes_what_the_emulation_of_its_program_computes() -> None:
    network, key = Twice().eval(), lowered().lowered.key
    layers = rounded_layers(network, table())
    section = table().section(key)
    assert len(section.quantised()) >= 6 and not layers.left_out
    scales = {name: table().scale(key, name) for name in section.tensors}
    emulation = Int8Runner(lowered().lowered.program, section.quantised(), scales, rounded_results=True)
    expected = emulation(picture())
    x = torch.from_numpy(picture())
    with torch.no_grad():
        floats = network(x)
        with layers.rounded(network):
            actual = network(x)
        again = network(x)
    changed = float((floats - torch.from_numpy(expected)).abs().max())
    assert changed > 1e-4, "rounding changes something"
    # A value at half a step may go to either side.
    assert float((actual - torch.from_numpy(expected)).abs().mean()) < 0.02 * changed
    assert torch.equal(floats, again), "after the block nothing is rounded"


def test_gradients_reach_the_weights_behind_the_rounding() -> None:
    network = Twice().eval()
    with rounded_layers(network, table()).rounded(network):
        network(torch.from_numpy(picture())).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_steps_follow_weights_that_have_grown() -> None:
    network = Twice().eval()
    larger = deepcopy(network)
    with torch.no_grad():
        larger.wide.weight.mul_(3)
        larger.wide.bias.mul_(3)  # type: ignore[union-attr]
        larger.mix.weight.div_(3)  # relu lets a factor through: the same network
    x = torch.from_numpy(picture())
    layers = rounded_layers(network, table())
    with torch.no_grad():
        with layers.rounded(network):
            expected = network(x)
        with layers.rounded(larger):
            clipped = larger(x)
        layers.follow(network, larger, [x])
        with layers.rounded(larger):
            followed = larger(x)
    assert float((clipped - expected).abs().mean()) > 20 * float((followed - expected).abs().mean())


def test_a_table_of_another_network_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no layer"):
        rounded_layers(nn.Sequential(nn.Conv2d(3, 3, 1)), table())
