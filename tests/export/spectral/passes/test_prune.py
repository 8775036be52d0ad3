"""Modes that nothing reads or that are zero: the transforms shrink to the kept ones, and the result stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fdikp_edge.export.spectral import LoweredProgram, lower
from fdikp_edge.runtime.errors import LoweringError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spectral_networks.checks import Twin, as_tuple, assert_close
from torch import Tensor

X = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def lowered(function: Callable[..., object], *, strategy: str = "separable") -> LoweredProgram:
    twin = Twin(function).eval()
    result = lower(twin, (X,), plan={"*": strategy})
    got, want = as_tuple(result.program.module()(X)), twin(X.double())
    assert_close([value.detach() for value in got], want, 2e-6)
    return result


def shapes(program: LoweredProgram) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(row.site.input_shape[-2:], row.site.output_shape[-2:]) for row in program.audit.rows]


def neural_operator(x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x)
    out = torch.zeros_like(spectrum)
    out[:, :, :4, :5] = spectrum[:, :, :4, :5] * 2
    out[:, :, -4:, :5] = spectrum[:, :, -4:, :5] * 1j
    return torch.fft.irfft2(out, s=x.shape[-2:])


@pytest.mark.parametrize("strategy", ["separable", "flat"])
def test_a_neural_operator_computes_its_modes_alone(strategy: str) -> None:
    result = lowered(neural_operator, strategy=strategy)
    assert shapes(result) == [((16, 20), (8, 5)), ((8, 5), (16, 20))]
    longest = max(max(v.shape) for k, v in result.program.state_dict.items() if k.startswith("spectral."))
    if strategy == "separable":
        assert longest == 20
        held = {tuple(v.shape) for k, v in result.program.state_dict.items() if k.startswith("spectral.")}
        assert held == {(20, 5), (8, 16), (16, 8), (5, 20)}, "no matrix has a row that nothing reads"


def test_pruning_can_be_turned_off() -> None:
    twin = Twin(neural_operator).eval()
    lowered_twin = lower(twin, (X,), pruned=False)
    assert shapes(lowered_twin) == [((16, 20), (16, 11)), ((16, 11), (16, 20))]


@settings(max_examples=25, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.data())
def test_any_modes_of_any_size(data: st.DataObject) -> None:
    """Corners of random spectra, forward and back, odd lengths and norms; the truth is torch in float64."""
    height, width = data.draw(st.integers(4, 40)), data.draw(st.integers(4, 40))
    half = width // 2 + 1
    low, high = data.draw(st.integers(1, height // 2)), data.draw(st.integers(0, height // 2))
    columns = data.draw(st.integers(1, half))
    norm = data.draw(st.sampled_from(["backward", "ortho", "forward"]))
    strategy = data.draw(st.sampled_from(["separable", "joined"]))

    def operator(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm=norm)
        out = torch.zeros_like(spectrum)
        out[..., :low, :columns] = spectrum[..., :low, :columns] * (1 - 2j)
        if high:
            out[..., -high:, :columns] = spectrum[..., -high:, :columns] * 3
        return torch.fft.irfft2(out, s=x.shape[-2:], norm=norm)

    x = torch.randn(2, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    twin = Twin(operator).eval()
    lowered_twin = lower(twin, (x,), plan={"*": strategy})
    assert_close([value.detach() for value in as_tuple(lowered_twin.program.module()(x))], twin(x), 1e-12)
    rows = low + high
    assert shapes(lowered_twin) == [((height, width), (rows, columns)), ((rows, columns), (height, width))]


def test_bins_in_the_middle() -> None:
    result = lowered(lambda x: torch.fft.fft2(x)[..., 3:6, 7:9].abs())
    assert shapes(result) == [((16, 20), (3, 2))]


def test_overlapping_reads_are_computed_once() -> None:
    def overlapping(x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft(x)
        return spectrum[..., 2:6].abs(), spectrum[..., 4:8].abs()

    assert shapes(lowered(overlapping)) == [((16, 20), (16, 6))]


def test_samples_of_a_signal_that_nothing_reads() -> None:
    result = lowered(lambda x: torch.fft.irfft(torch.fft.rfft(x))[..., 5:9])
    assert shapes(result)[1] == ((16, 11), (16, 4))


def test_zeros_in_part_of_the_written_region() -> None:
    def written_twice(x: Tensor) -> Tensor:
        out = torch.zeros(
            2, 3, 16, 11, dtype=torch.complex128 if x.dtype is torch.float64 else torch.complex64
        )
        out[..., 2:7, 1:4] = torch.fft.rfft2(x)[..., 2:7, 1:4]
        out[..., 5:9, 3:6] = 1j
        return torch.fft.irfft2(out, s=(16, 20))

    assert shapes(lowered(written_twice))[-1] == ((7, 5), (16, 20))


def test_what_is_read_in_whole_stays_whole() -> None:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft(x)
        return spectrum[..., :3].abs(), spectrum.abs().sum()

    assert shapes(lowered(both)) == [((16, 20), (16, 11))]


def test_a_step_is_no_range() -> None:
    assert shapes(lowered(lambda x: torch.fft.rfft(x)[..., ::2].abs())) == [((16, 20), (16, 11))]


def test_a_runtimes_own_transform_declines() -> None:
    with pytest.raises(LoweringError, match="only some of its modes"):
        lowered(neural_operator, strategy="native")


def test_a_transform_of_which_every_mode_is_written_over() -> None:
    def function(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        out = torch.zeros_like(spectrum)
        out[..., :4] = torch.fft.rfft(torch.fft.irfft(out))[..., :4]
        out[..., :4] = spectrum[..., :4]
        return torch.fft.irfft(out)

    assert len(lowered(function).audit.rows) == 2
