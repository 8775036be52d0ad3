from dataclasses import replace

import numpy as np
import pytest
import torch
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.fdikp.pac import PositionAdaptiveConv, apply_kernels, neighbourhoods
from fdikp_edge.models.fdikp.variants import BASE, TINY, Variant

SMALL_ASSEMBLE = replace(TINY, channels=4, kernels=3, kernel_size=5, dilations=(1, 2))
SMALL_MODULATE = replace(BASE, channels=4, kernels=3, kernel_size=3, dilations=(1, 3))


def build(variant: Variant) -> PositionAdaptiveConv:
    return FDIKP(variant).pac.double()


def random_inputs(variant: Variant, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    k = variant.kernel_size
    return (
        torch.rand(batch, 6, 6, 7, dtype=torch.float64),
        torch.randn(batch, variant.kernels, k, k, dtype=torch.float64),
        torch.randn(batch, variant.channels, 6, 7, dtype=torch.float64),
    )


def naive(
    pac: PositionAdaptiveConv, images: torch.Tensor, kernels: torch.Tensor, guide: torch.Tensor
) -> np.ndarray:
    """The definition, tap by tap: out(p) = sum over n and q of a_n(p) m(p, q) K_n(q) img(p + q)."""
    batch, _, h, w = images.shape
    n, k = kernels.shape[1], kernels.shape[-1]
    logits = pac.attention(guide).detach().numpy()
    m = np.ones((batch, k, k, h, w))
    if pac.modulation is not None:
        factors = 1 + 0.5 * np.tanh(pac.modulation(guide).detach().numpy())
        for i in range(k):
            for j in range(k):
                m[:, i, j] = factors[:, i] * factors[:, k + j]
    img, ker = images.numpy(), kernels.numpy()
    steps = pac.dilations
    out = np.zeros((batch, len(steps), 6, h, w))
    for b, channel, y, x in np.ndindex(batch, 6, h, w):
        image = channel // 3
        exponentials = np.exp(logits[b, image * len(steps) * n : (image + 1) * len(steps) * n, y, x])
        shares = (exponentials / exponentials.sum()).reshape(len(steps), n)
        for d, step in enumerate(steps):
            for i, j in np.ndindex(k, k):
                row = min(max(y + step * (i - k // 2), 0), h - 1)
                column = min(max(x + step * (j - k // 2), 0), w - 1)
                mixed = (shares[d] * ker[b, :, i, j]).sum()
                out[b, d, channel, y, x] += mixed * m[b, i, j, y, x] * img[b, channel, row, column]
    return out.reshape(batch, -1, h, w)


@pytest.mark.parametrize("variant", [SMALL_ASSEMBLE, SMALL_MODULATE], ids=["assemble", "modulate"])
def test_equals_the_definition_pixel_by_pixel(variant: Variant) -> None:
    pac, inputs = build(variant), random_inputs(variant)
    np.testing.assert_allclose(pac(*inputs).detach().numpy(), naive(pac, *inputs), atol=1e-12)


@pytest.mark.parametrize("variant", [SMALL_ASSEMBLE, TINY], ids=["small kernels", "tiny"])
def test_assemble_keeps_a_flat_image_flat(variant: Variant) -> None:
    pac = build(variant)
    images, kernels, guide = random_inputs(variant)
    kernels = kernels / 100
    kernels = kernels - kernels.mean(dim=(-2, -1), keepdim=True) + 1 / variant.kernel_size**2
    grey = torch.tensor([0.1, 0.5, 0.9, 0.3, 0.0, 1.0], dtype=torch.float64)[None, :, None, None]
    parts = pac(grey.expand_as(images), kernels, guide).reshape(2, len(variant.dilations), 6, 6, 7)
    torch.testing.assert_close(parts.sum(dim=1), grey.expand_as(images), rtol=0, atol=1e-14)


def test_shares_sum_to_one_for_each_image_and_pixel() -> None:
    shares = build(BASE).shares(10 * torch.randn(1, 48, 4, 4, dtype=torch.float64))
    assert shares.shape == (1, 2, 2, 8, 4, 4)
    torch.testing.assert_close(shares.sum(dim=(2, 3)), torch.ones(1, 2, 4, 4).double())
    assert shares.min() >= 0


def test_modulation_of_one_is_assemble() -> None:
    modulate = build(SMALL_MODULATE)
    assert modulate.modulation is not None
    with torch.no_grad():
        modulate.modulation.weight.zero_()
        assert modulate.modulation.bias is not None
        modulate.modulation.bias.zero_()
    assemble = build(replace(SMALL_MODULATE, pac="assemble"))
    assemble.attention.load_state_dict(modulate.attention.state_dict())
    inputs = random_inputs(SMALL_MODULATE)
    torch.testing.assert_close(modulate(*inputs), assemble(*inputs))


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_neighbourhoods_hold_the_right_pixels(dilation: int) -> None:
    images = torch.randn(2, 6, 9, 8)
    around = neighbourhoods(images, 5, dilation)
    assert around.shape == (2, 6, 5, 5, 9, 8)
    for i, j in np.ndindex(5, 5):
        rows = (torch.arange(9) + dilation * (i - 2)).clamp(0, 8)
        columns = (torch.arange(8) + dilation * (j - 2)).clamp(0, 7)
        assert torch.equal(around[:, :, i, j], images[:, :, rows][:, :, :, columns])


def test_each_image_of_a_batch_meets_its_own_kernels() -> None:
    images, kernels = torch.randn(3, 6, 8, 8).double(), torch.randn(3, 4, 5, 5).double()
    together = apply_kernels(images, kernels, 2)
    for b in range(3):
        torch.testing.assert_close(
            together[b : b + 1], apply_kernels(images[b : b + 1], kernels[b : b + 1], 2)
        )
