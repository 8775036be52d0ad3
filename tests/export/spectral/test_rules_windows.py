"""Windows over images: the places of largest values, and overlapped adding, against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import Twin, check_twin

X = torch.randn(2, 3, 11, 14, generator=torch.Generator().manual_seed(0))

POOLS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "dilation": (2, 3), "ceil_mode": True},
]


@pytest.mark.parametrize("options", POOLS, ids=str)
def test_places_of_largest_values(options: dict[str, Any]) -> None:
    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, places = F.max_pool2d(x, return_indices=True, **options)
        return values, places.to(x.dtype)

    check_twin(both, X)
    check_twin(both, X[0])
    check_twin(lambda x: both(x.round())[1], X)  # the first of equal values, as torch has it


def test_places_that_nothing_reads_cost_nothing() -> None:
    lowered = lower(Twin(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]).eval(), (X,))
    assert set(lowered.audit.operators) == {"aten.max_pool2d.default"}


def test_unpooling() -> None:
    check_twin(lambda x: F.max_unpool2d(*F.max_pool2d(x[..., :10, :], 2, return_indices=True), 2), X)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0)},
        {"kernel_size": 2, "dilation": 2, "stride": 3},
    ],
    ids=str,
)
def test_overlapped_adding(options: dict[str, Any]) -> None:
    size = (11, 14)
    check_twin(lambda x: F.fold(F.unfold(x, **options) ** 2, size, **options), X)
    check_twin(lambda x: F.fold(F.unfold(x[0], **options), size, **options), X)
    check_twin(lambda x: F.fold(torch.fft.fft(F.unfold(x, **options), dim=-1), size, **options), X)
