from dataclasses import replace

import numpy as np
import pytest
import torch
from fdikp_edge.models.fdikp.dikp import AMPLITUDE_EPSILON, KernelPredictor
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.fdikp.variants import BASE, SMALL, TINY, VARIANTS, Variant


def predictor(variant: Variant, **changes: object) -> KernelPredictor:
    return FDIKP(replace(variant, **changes)).dikp.double()  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)
@pytest.mark.parametrize("strength", [0.0, 1.0, 100.0])
def test_every_kernel_sums_to_one(variant: Variant, strength: float) -> None:
    features = strength * torch.randn(2, 4 * variant.channels, 16, 24, dtype=torch.float64)
    kernels = predictor(variant)(features)
    assert kernels.shape == (2, variant.kernels, variant.kernel_size, variant.kernel_size)
    torch.testing.assert_close(kernels.sum(dim=(-2, -1)), torch.ones(2, variant.kernels).double())


def test_kernels_may_have_negative_taps_and_differ_from_each_other() -> None:
    kernels = predictor(TINY)(torch.randn(1, 96, 16, 16, dtype=torch.float64))[0]
    assert kernels.min() < 0
    assert all((kernels[a] - kernels[b]).abs().max() > 1e-2 for a in range(4) for b in range(a))


@pytest.mark.parametrize("variant", [TINY, SMALL], ids=lambda v: v.name)
def test_predicted_half_spectrum_becomes_the_centred_kernel_numpy_would_give(variant: Variant) -> None:
    dikp, k, n = predictor(variant), variant.kernel_size, variant.kernels
    values = torch.randn(1, n * 2 * k * (k // 2 + 1), dtype=torch.float64)
    kernels = dikp.kernels_from_spectra(values)[0].numpy()
    parts = values.numpy().reshape(n, 2, k, k // 2 + 1)
    half = parts[:, 0] + 1j * parts[:, 1]
    full = np.zeros((n, k, k), complex)
    for row in range(k):
        for column in range(k):
            mirrored = half[:, -row % k, k - column].conj() if column > k // 2 else half[:, row, column]
            full[:, row, column] = mirrored
    expected = np.roll(np.fft.ifft2(full).real, (k // 2, k // 2), axis=(1, 2))
    np.testing.assert_allclose(kernels, expected, atol=1e-14)


def test_flat_half_spectrum_is_an_impulse_at_the_centre() -> None:
    dikp = predictor(TINY)
    values = torch.zeros(1, 4, 2, 5, 3, dtype=torch.float64)
    values[:, :, 0] = 1
    kernels = dikp.kernels_from_spectra(values.flatten(1))
    torch.testing.assert_close(kernels, dikp.delta.expand(1, 4, 5, 5), rtol=0, atol=1e-15)


@pytest.mark.parametrize("mode", ["welch", "global"])
def test_spectral_descriptor_is_the_mean_over_windows_and_frequencies(mode: str) -> None:
    dikp = predictor(TINY, frequency=mode)
    features = torch.randn(1, 96, 24, 32, dtype=torch.float64)
    reduced = dikp.reduce(features)[0].detach().numpy()
    if mode == "welch":
        windows = [reduced[:, t : t + 16, s : s + 16] for t in range(0, 9, 8) for s in range(0, 17, 8)]
    else:
        windows = [reduced]
    pooled = []
    for window in windows:
        z = np.fft.fft2(window, norm="ortho")[:, :, : window.shape[2] // 2 + 1]
        amplitude = np.sqrt(np.abs(z) ** 2 + AMPLITUDE_EPSILON)
        stacked = np.concatenate([np.log(1 + amplitude), z.real / amplitude, z.imag / amplitude])
        pooled.append(dikp.frequency(torch.from_numpy(stacked[None])).mean(dim=(-2, -1)))
    expected = torch.stack(pooled).mean(dim=0)
    torch.testing.assert_close(dikp.describe_spectrum(features), expected, rtol=0, atol=1e-12)


def test_gate_blends_the_two_branches() -> None:
    dikp = predictor(BASE)
    features = torch.randn(1, 192, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        dikp.gate.weight.zero_()
        answers = {}
        for bias in (-100.0, 100.0):
            dikp.gate.bias.fill_(bias)
            answers[bias] = dikp(features)
        spatial = dikp.spatial_head(dikp.spatial(features).mean(dim=(-2, -1))).reshape(1, 8, 7, 7).tanh()
        frequency = dikp.kernels_from_spectra(dikp.frequency_head(dikp.describe_spectrum(features))).tanh()
    for bias, taps in ((100.0, spatial), (-100.0, frequency)):
        torch.testing.assert_close(answers[bias], dikp.delta + taps - taps.mean(dim=(-2, -1), keepdim=True))
    assert (answers[100.0] - answers[-100.0]).abs().max() > 1e-3
