import numpy as np
import pytest
import torch
from fdikp_edge.models.fdikp.spectrum import (
    from_windows,
    project_hermitian,
    to_overlapping_windows,
    to_windows,
)

SIZES = [(8, 8), (5, 5), (7, 7), (1, 1), (1, 2), (2, 1), (6, 9), (9, 6), (12, 20), (3, 2)]


def full_spectrum(half: np.ndarray, width: int) -> np.ndarray:
    """Complete a half spectrum by the mirror rule of real signals, element by element."""
    height = half.shape[0]
    full = np.zeros((height, width), complex)
    for k in range(height):
        for c in range(width):
            full[k, c] = half[k, c] if c <= width // 2 else np.conj(half[-k % height, width - c])
    return full


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_projection_gives_the_spectrum_of_a_real_image(height: int, width: int) -> None:
    z = torch.randn(height, width // 2 + 1, dtype=torch.complex128)
    image = np.fft.ifft2(full_spectrum(project_hermitian(z, width).numpy(), width))
    assert np.abs(image.imag).max() < 1e-15


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_projection_changes_nothing_for_irfft2_on_the_cpu(height: int, width: int) -> None:
    z = torch.randn(2, 3, height, width // 2 + 1, dtype=torch.complex128)
    plain = torch.fft.irfft2(z, s=(height, width))
    projected = torch.fft.irfft2(project_hermitian(z, width), s=(height, width))
    torch.testing.assert_close(projected, plain, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_projection_leaves_the_spectrum_of_a_real_image_alone(height: int, width: int) -> None:
    z = torch.fft.rfft2(torch.randn(height, width, dtype=torch.float64))
    torch.testing.assert_close(project_hermitian(z, width), z, rtol=0, atol=1e-13)


def test_projection_does_change_a_spectrum_that_is_not_hermitian() -> None:
    z = torch.randn(8, 5, dtype=torch.complex128)
    changed = (project_hermitian(z, 8) - z).abs() > 1e-6
    assert changed[:, 0].any() and changed[:, 4].any() and not changed[:, 1:4].any()


def test_windows_hold_the_right_pixels_and_go_back() -> None:
    x = torch.randn(2, 3, 16, 24)
    windows = to_windows(x, 8)
    for row in range(2):
        for column in range(3):
            expected = x[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert torch.equal(windows[:, :, row, column], expected)
    assert torch.equal(from_windows(windows), x)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 16), (40, 48)])
def test_overlapping_windows_are_torchs_unfold_by_half_a_window(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width)
    assert torch.equal(to_overlapping_windows(x, 16), x.unfold(2, 16, 8).unfold(3, 16, 8))
