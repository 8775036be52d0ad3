"""Which layers of a table the worker gets, and what it gets of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phone_net
import pytest
import torch
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.litert.layers import Int8Layers
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.runtime.errors import CalibrationError
from torch import Tensor, nn


class Products(nn.Module):
    """A product with a bias, one by `matmul`, and the layer that makes the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.mix = nn.Linear(6, 6)
        self.matrix = nn.Parameter(torch.eye(6) + 0.1)
        self.tail = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.relu(self.mix(self.head(image).permute(0, 2, 3, 1)))
        return image + self.tail(torch.matmul(rows, self.matrix).permute(0, 3, 1, 2))


def test_convolutions_have_steps_and_what_rounds_by_itself_has_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Products().eval()
    model = lower_model(network, (32, 32), name="products", profile="litert")
    table = calibrate(model, count=2, least_work=0)
    section = table.section(model.lowered.key)
    layers = Int8Layers.of(model.lowered, table)
    by_module = dict(zip(layers.labels, layers.rows, strict=True))
    head, mix, tail = (
        next(row for label, row in by_module.items() if label.startswith(f"model.{name} "))
        for name in ("head", "mix", "tail")
    )
    layer = next(one for one in section.quantised() if one.node == head["node"])
    assert head["input"] == table.scale(model.lowered.key, layer.input)
    assert head["result"] == table.scale(model.lowered.key, layer.node) != head["input"]
    assert set(mix) == set(tail) == {"node", "channels", "bias"}
    assert len(layers.kept) == 1, "`matmul` has no bias that could carry a mark"
    assert len(layers.rows) + len(layers.kept) == len(section.quantised())
    layers.write(tmp_path / "biases.npz")
    stored = np.load(tmp_path / "biases.npz")
    for place, label in enumerate(layers.labels):
        module = network.get_submodule(label.partition(" ")[0].removeprefix("model."))
        bias = module.bias if module.bias is not None else torch.zeros(6)
        assert np.array_equal(stored[str(place)], bias.detach().numpy())


def test_a_table_of_another_program_is_refused() -> None:
    model, _ = phone_net.lowered_net()
    other = lower_model(Products().eval(), (32, 32), name="products", profile="litert")
    with pytest.raises(CalibrationError):
        Int8Layers.of(model.lowered, calibrate(other, count=2, least_work=0))
