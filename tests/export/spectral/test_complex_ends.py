"""Complex inputs and outputs become real ones with a last axis of 2; values seen under another dtype."""

from __future__ import annotations

import torch
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import assert_close, assert_real, check_twin
from torch import Tensor, nn

G = torch.Generator().manual_seed(0)
Z = torch.complex(torch.randn(2, 6, 8, generator=G), torch.randn(2, 6, 8, generator=G))
X = torch.randn(2, 6, 8, generator=G)


class ComplexMap(nn.Module):
    """As in a complex FNO: complex in, complex out, and a real input beside."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.complex(torch.ones(8), torch.arange(8.0)))

    def forward(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.fft.ifft(torch.fft.fft(z) * self.weight), z.abs() + x


def test_complex_ends_are_real_with_a_last_axis_of_2() -> None:
    net = ComplexMap().eval()
    lowered = lower(net, (Z, X))
    assert_real(lowered.program)
    got = lowered.program.module()(torch.view_as_real(Z), X)
    want = [value.detach() for value in net(Z, X)]
    assert_close([value.detach() for value in got], [torch.view_as_real(want[0]), want[1]], 2e-6)
    assert [note.split(" is complex")[0] for note in lowered.audit.notes] == ["input 0 (z)", "output 0"]


def test_a_complex_view_of_reals_and_back() -> None:
    check_twin(
        lambda x: torch.fft.fft(x.view(torch.cfloat if x.dtype is torch.float32 else torch.cdouble)), X
    )
    check_twin(lambda x: torch.fft.fft(x).view(x.dtype) + 1, X)


def test_transforms_that_batching_leaves() -> None:
    batched = torch.vmap(lambda x: torch.fft.rfft2(x).abs() + torch.fft.fft(x).real[:, :5])
    check_twin(batched, X)
    check_twin(lambda x: torch.vmap(lambda v: torch.fft.irfft(torch.fft.rfft(v), n=8), in_dims=1)(x), X)


def energy(v: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(v).abs().pow(3).sum()


def test_derivatives_of_a_transform() -> None:
    def forward_mode(x: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(lambda v: torch.fft.rfft(v).abs(), (x,), (x.flip(-1),))[1]

    check_twin(lambda x: torch.func.grad(energy)(x), X)
    check_twin(lambda x: torch.func.vjp(torch.fft.rfft, x)[1](torch.fft.rfft(x.flip(0)))[0], X)
    check_twin(forward_mode, X)
    check_twin(lambda x: torch.func.vmap(torch.func.grad(energy))(x), X)
    check_twin(lambda x: x * 2, X)  # and nothing is left open behind them


def test_a_real_dtype_drops_imaginary_parts_before_the_sum() -> None:
    double = {"dtype": torch.float64}
    check_twin(
        lambda x: {
            "sum": torch.fft.fft(x).sum(-1, **double),
            "whole": torch.fft.fft(x).sum(**double),
            "prod": torch.fft.fft(x).prod(-1, **double),
            "cumsum": torch.fft.fft(x).cumsum(1, **double),
            "cumprod": torch.fft.fft(x).cumprod(1, **double),
            "of a complex dtype": torch.fft.fft(x).sum(-1, dtype=torch.complex128),
        },
        X,
    )


def test_real_tensors_made_after_a_complex_one() -> None:
    check_twin(
        lambda x: {
            "full": torch.fft.fft(x).new_full((2, 3), 1.5, dtype=torch.float64),
            "like": torch.full_like(torch.fft.fft(x), 2, dtype=torch.float64),
            "zeros": torch.zeros_like(torch.fft.fft(x), dtype=torch.float64),
            "ones": torch.fft.fft(x).new_ones((3,), dtype=torch.float64),
            "complex": torch.fft.fft(x).new_full((2,), 1 + 2j),
        },
        X,
    )


def test_transforms_below_torch_fft() -> None:
    aten = torch.ops.aten
    check_twin(
        lambda x: {
            "inverse": aten._fft_c2c(torch.fft.fft(x), [1, 2], 2, False),
            "whole spectrum of reals": aten._fft_r2c(x, [2, 1], 1, False),
            "half spectrum": aten._fft_r2c(x, [2, 1], 0, True),
            "back": aten._fft_c2r(torch.fft.rfft(x), [0, 2], 2, 8),
            "odd length": aten._fft_c2r(torch.fft.rfft(x), [2], 1, 9),
        },
        X,
    )


def test_addbmm_sums_its_products() -> None:
    check_twin(lambda x: torch.addbmm(torch.fft.fft(x)[0, :, :6], torch.fft.fft(x), torch.fft.ifft(x).mT), X)
