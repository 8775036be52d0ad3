"""Strategies of real transforms and their half spectra: any size, norm, crop, padding and axes."""

from __future__ import annotations

import pytest
import torch
from fdikp_edge.export.spectral import LoweredProgram, lower
from fdikp_edge.export.spectral.strategies import STRATEGIES
from fdikp_edge.runtime.errors import LoweringError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spectral_networks.checks import Twin, as_tuple, assert_close
from torch import Tensor

NAMES = ("joined", "stacked", "three-product")
QUICK = settings(max_examples=6, phases=(Phase.explicit, Phase.reuse, Phase.generate))
SIZES, NORMS = st.integers(2, 17), st.sampled_from(["backward", "ortho", "forward"])


def agree(actual: LoweredProgram, twin: Twin, inputs: tuple[Tensor, ...], tolerance: float) -> None:
    got = [value.detach() for value in as_tuple(actual.program.module()(*inputs))]
    assert_close(got, twin(*(value.double() for value in inputs)), tolerance)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(size=st.tuples(SIZES, SIZES), wanted=st.tuples(SIZES, SIZES), norm=NORMS, last=st.booleans())
def test_forward_and_back_agree_with_torch(
    name: str, size: tuple[int, int], wanted: tuple[int, int], norm: str, last: bool
) -> None:
    """Cropped or padded to ``wanted``; spectra that no signal has; channels before or behind the axes."""
    dims = (-2, -1) if last else (1, 2)
    half = (size[0], size[1] // 2 + 1)
    shapes = [(1, 2, *size), (2, 2, *half)] if last else [(1, *size, 2), (2, *half, 2)]
    generator = torch.Generator().manual_seed(size[0] * 31 + size[1])
    x, parts = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)

    def run(x: Tensor, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spectrum = torch.fft.rfft2(x, s=wanted, dim=dims, norm=norm)
        back = torch.fft.irfft2(torch.complex(parts[:1], parts[1:]), s=wanted, dim=dims, norm=norm)
        return spectrum.real, spectrum.imag, back

    twin = Twin(run).eval()
    result = lower(twin, (x, parts), plan={"*": name})
    assert {choice.strategy for choice in result.plan.choices} == {name}
    agree(result, twin, (x, parts), 1e-12)
    for row in result.audit.rows:
        assert row.multiply_adds == STRATEGIES[name].cost(row.site).macs > 0


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(size=st.tuples(SIZES, SIZES), norm=NORMS)
def test_errors_stay_within_the_bounds(name: str, size: tuple[int, int], norm: str) -> None:
    """In float32, and in float16 as torch computes it, each against float64 of the same input."""
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(size[1]))

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft2(x, norm=norm)
        return spectrum.real, spectrum.imag

    twin = Twin(run).eval()
    result = lower(twin, (x,), plan={"*": name})
    (row,) = result.audit.rows
    for dtype, unit in ((torch.float32, 2.0**-24), (torch.float16, 2.0**-11)):
        rounded = x.to(dtype)
        got = as_tuple(result.program.module().to(dtype)(rounded))
        bound = STRATEGIES[name].error_bound(row.site, unit)
        peak = row.gain * float(rounded.double().abs().max())
        for a, b in zip(got, twin(rounded.double()), strict=True):
            # Two matrices add up to one part of the result, each within the bound.
            assert float((a.detach().double() - b).abs().max()) <= 2 * bound * peak


@pytest.mark.parametrize("size", [(12, 10), (9, 14), (7, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_real_coefficients_stay_exactly_real(name: str, size: tuple[int, int]) -> None:
    height, width = size
    rows = [0, height // 2] if height % 2 == 0 else [0]
    columns = [0, width // 2] if width % 2 == 0 else [0]

    def run(x: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(x).imag[..., rows, :][..., columns]]

    x = torch.cat((torch.randn(3, *size), torch.full((1, *size), 0.5), torch.full((1, *size), -0.5)))
    result = lower(Twin(run).eval(), (x,), plan={"*": name}).program.module()(x)[0]
    assert float(result.abs().max()) == 0.0
    assert not bool(torch.signbit(result).any())


@pytest.mark.parametrize("name", NAMES)
def test_other_transforms_are_declined_in_words(name: str) -> None:
    x = torch.randn(1, 4, 6)
    if name == "three-product":
        with pytest.raises(LoweringError, match="takes and gives complex"):
            lower(Twin(lambda x: torch.fft.rfft(x).abs()).eval(), (x,), plan={"*": name})
        return
    with pytest.raises(LoweringError, match=rf"'{name}' cannot compute.*half spectrum"):
        lower(Twin(lambda x: torch.fft.fft2(x).abs()).eval(), (x,), plan={"*": name})
    if name == "stacked":
        with pytest.raises(LoweringError, match="next to each other"):
            lower(Twin(lambda x: torch.fft.rfft(x).abs()).eval(), (x,), plan={"*": name})
    else:
        twin = Twin(lambda x: (torch.fft.rfft(x).real, torch.fft.irfft(torch.fft.rfft(x) * 2j, n=6))).eval()
        agree(lower(twin, (x,), plan={"*": name}), twin, (x,), 1e-6)


def test_larger_intermediate_values_lower_the_float16_limit() -> None:
    twin, x = Twin(lambda x: torch.fft.rfft2(x).abs()).eval(), torch.randn(1, 8, 8)
    limits = [
        lower(twin, (x,), plan={"*": name}).audit.rows[0].fp16_input_limit
        for name in ("separable", "three-product")
    ]
    assert limits[0] == 2 * limits[1]


def test_three_products_of_any_complex_transform() -> None:
    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.fft.ifftn(torch.complex(x, x.flip(-1)), dim=(0, 1, 2), norm="ortho")
        return z.real, z.imag

    x = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    twin = Twin(run).eval()
    agree(lower(twin, (x,), plan={"*": "three-product"}), twin, (x,), 1e-12)
