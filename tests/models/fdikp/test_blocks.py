import numpy as np
import pytest
import torch
from fdikp_edge.models.fdikp.blocks import (
    DualDomainBlock,
    FourierUnit,
    WindowedFourierUnit,
    conv3,
    fourier_unit,
)
from torch import nn


def fourier_by_hand(unit: FourierUnit, x: np.ndarray) -> np.ndarray:
    """Apply a Fourier unit to one map [C, H, W] with numpy's full complex transforms and plain matrices."""
    channels, height, width = x.shape
    first, last = unit.mix[0], unit.mix[2]
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)

    def linear(layer: nn.Conv2d, values: np.ndarray) -> np.ndarray:
        assert layer.bias is not None
        weight = layer.weight.detach().numpy()[:, :, 0, 0]
        return np.einsum("oc,chw->ohw", weight, values) + layer.bias.detach().numpy()[:, None, None]

    z = np.fft.fft2(x, norm="ortho")[:, :, : width // 2 + 1]
    hidden = linear(first, np.concatenate([z.real, z.imag]))
    mixed = linear(last, np.where(hidden > 0, hidden, 0.1 * hidden))
    half = mixed[:channels] + 1j * mixed[channels:]
    # The image whose spectrum is nearest: complete by the mirror rule, transform back, keep the real part.
    full = np.zeros((channels, height, width), complex)
    for k in range(height):
        for c in range(width):
            full[:, k, c] = half[:, k, c] if c <= width // 2 else half[:, -k % height, width - c].conj()
    return np.fft.ifft2(full, norm="ortho").real


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (5, 7), (2, 2)])
def test_whole_map_fourier_unit_equals_numpy(height: int, width: int) -> None:
    unit = FourierUnit(3).double()
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    y = unit(x).detach().numpy()
    for sample in range(2):
        np.testing.assert_allclose(y[sample], fourier_by_hand(unit, x[sample].numpy()), atol=1e-13)


def test_windowed_fourier_unit_equals_numpy_window_by_window() -> None:
    unit = WindowedFourierUnit(3).double()
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    y = unit(x).detach().numpy()
    for sample in range(2):
        for top in range(0, 16, 8):
            for left in range(0, 24, 8):
                window = np.s_[sample, :, top : top + 8, left : left + 8]
                np.testing.assert_allclose(y[window], fourier_by_hand(unit, x.numpy()[window]), atol=1e-13)


def test_whole_map_unit_sees_everything_and_windowed_unit_its_window() -> None:
    x = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    touched = x.clone()
    touched[0, 0, 3, 3] += 1
    for unit, reach in ((FourierUnit(2).double(), 16), (WindowedFourierUnit(2).double(), 8)):
        moved = (unit(touched) - unit(x)).abs().amax(dim=1)[0] > 1e-9
        assert moved[:reach, :reach].float().mean() > 0.9
        assert moved.sum() == moved[:reach, :reach].sum()


def test_fourier_modes() -> None:
    assert fourier_unit(4, "none") is None
    assert type(fourier_unit(4, "global")) is FourierUnit
    assert type(fourier_unit(4, "window")) is WindowedFourierUnit


@pytest.mark.parametrize("mode", ["none", "window", "global"])
@pytest.mark.parametrize("separable", [True, False])
def test_dual_domain_block_is_the_sum_of_its_branches(mode: str, separable: bool) -> None:
    block = DualDomainBlock(4, mode, separable=separable)  # type: ignore[arg-type]
    x = torch.randn(1, 4, 16, 16)
    expected = x + block.spatial(x)
    if block.fourier is not None:
        expected = expected + block.fourier(x)
    torch.testing.assert_close(block(x), expected)
    assert (block.fourier is None) == (mode == "none")


def test_separable_convolution_is_a_depthwise_and_a_pointwise_one() -> None:
    depthwise, pointwise = conv3(8, 12, separable=True, stride=2)
    assert depthwise.groups == 8 and depthwise.kernel_size == (3, 3) and depthwise.stride == (2, 2)
    assert pointwise.groups == 1 and pointwise.kernel_size == (1, 1)
    dense = conv3(8, 12, separable=False)
    assert isinstance(dense, nn.Conv2d) and dense.groups == 1
