"""What stands for operators that the converter refuses computes the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdikp_edge.export.litert.worker.rewrites import conv3d, rewrite, slice_scatter
from torch import Tensor, nn


@pytest.mark.parametrize(
    ("dim", "start", "end", "step"),
    [
        (0, 0, 2**63 - 1, 2),
        (-1, 1, 2**63 - 1, 2),
        (1, 2, 6, 3),
        (1, 1, 3, 1),
        (1, None, None, 1),
        (1, -3, -1, 1),
    ],
)
def test_a_slice_is_written(dim: int, start: int, end: int, step: int) -> None:
    x = torch.rand(5, 7, 4)
    places = range(x.shape[dim])[slice(start, end, step)]
    part = -torch.rand(*[len(places) if axis == dim % 3 else size for axis, size in enumerate(x.shape)])
    expected = torch.slice_scatter(x, part, dim, start, end, step)
    assert torch.equal(slice_scatter(x, part, dim, start, end, step), expected)


def test_volumes_are_filtered_by_group() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(6, 9, 3, padding=1, stride=2, groups=3).double()
    x = torch.rand(1, 6, 5, 7, 6, dtype=torch.float64)
    for bias in (layer.bias, None):
        expected = nn.functional.conv3d(x, layer.weight, bias, 2, 1, 1, 3)
        assert torch.allclose(conv3d(x, layer.weight, bias, 2, 1, 1, 3), expected)


def test_the_operators_of_an_exported_program_are_replaced() -> None:
    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.slice_scatter(x, x.square()[:, ::2], 1, 0, 2**63 - 1, 2)

    x = torch.rand(2, 5)
    module: Any = torch.export.export(Network(), (x,)).module()
    assert rewrite(module) == 2
    again = torch.export.export(module, (x,))
    names = [str(node.target) for node in again.graph.nodes]
    assert not any("scatter" in name or "square" in name for name in names)
    assert torch.equal(again.module()(x), Network()(x))
