"""Muon, against a singular value decomposition in float64 and AdamW's own steps."""

import pytest
import torch
from fdikp_edge.models.training import optimisers
from fdikp_edge.models.training.settings import Settings
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

RATE = 1e-3


def parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    value = nn.Parameter(torch.randn(shape, generator=generator))
    value.grad = torch.randn(shape, generator=generator)
    return value


def moved(kind: optimisers.Kind, *values: nn.Parameter, decay: float = 0.0) -> list[Tensor]:
    """How far one step moves each."""
    before = [value.detach().clone() for value in values]
    optimisers.optimiser(kind, values, RATE, decay).step()
    return [value.detach() - old for value, old in zip(values, before, strict=True)]


@given(st.integers(2, 40), st.integers(2, 40), st.floats(-3, 3))
def test_singular_values_become_nearly_one(rows: int, columns: int, exponent: float) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))
    given_u, given_s, given_v = torch.linalg.svd(matrix.double(), full_matrices=False)
    result = optimisers.orthogonal(10**exponent * matrix).double()
    sizes = torch.linalg.svdvals(result)
    large = given_s > 0.02 * given_s.norm()
    assert float(sizes.max()) < 1.3
    assert float(sizes[: int(large.sum())].min()) > 0.6
    # It is the same basis: the result is diagonal between the vectors of the given matrix.
    inside = given_u.mT @ result @ given_v.mT
    assert float((inside - inside.diag().diag()).abs().max()) < 1e-3


def test_a_step_is_as_large_as_adamws() -> None:
    dense, wide = parameter(64, 32, 3, 3), parameter(16, 200)
    for muon, adamw in zip(moved("muon", dense, wide), moved("adamw", dense, wide), strict=True):
        # Liu et al. aim at a root mean square of 0.2 to 0.4, which AdamW's steps have after the first ones.
        assert 0.15 * RATE < float(muon.square().mean().sqrt()) < 0.3 * RATE
        assert float(adamw.square().mean().sqrt()) == pytest.approx(RATE, rel=1e-3)


@pytest.mark.parametrize("shape", [(24,), (24, 1, 3, 3), (3, 24, 3, 3), (15, 400)])
def test_what_is_no_matrix_of_channels_is_adamws(shape: tuple[int, ...]) -> None:
    values = [parameter(*shape) for _ in range(2)]
    by_muon = optimisers.optimiser("muon", values[:1], RATE, 0.1)
    by_adamw = optimisers.optimiser("adamw", values[1:], RATE, 0.1)
    for step in range(5):
        for value in values:
            value.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        by_muon.step()
        by_adamw.step()
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=1e-7)


def test_the_first_step_follows_the_gradient_and_the_decay() -> None:
    weight = parameter(32, 16, 3, 3)
    assert weight.grad is not None
    u, _, v = torch.linalg.svd(weight.grad.flatten(1).double(), full_matrices=False)
    nearest = (u @ v).reshape(weight.shape)
    start = weight.detach().clone()
    (away,) = moved("muon", weight, decay=0.5)
    step = (away + 0.5 * RATE * start).double()
    agreement = -(step * nearest).sum() / (step.norm() * nearest.norm())
    assert float(agreement) > 0.95


def test_adamw_is_the_usual_one() -> None:
    assert Settings().optimiser == "adamw"
    assert isinstance(optimisers.optimiser("adamw", [parameter(3)], RATE, 0.0), torch.optim.AdamW)
