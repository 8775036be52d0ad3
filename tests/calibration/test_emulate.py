"""TF32 against numbers rounded by hand, and what it would cost the network that is shipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.budgets import budget_for
from fdikp_edge.calibration.emulate import Tf32Runner, to_tf32
from fdikp_edge.models import zoo
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.samples import defocused_photo
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

STEP = 2.0**-10


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1 + STEP, 1 + STEP),
        (1 + STEP / 2, 1 + STEP),  # half: away from 0
        (-1 - STEP / 2, -1 - STEP),
        (1 + STEP / 2 - 2.0**-23, 1.0),
        (2 - 2.0**-23, 2.0),  # into the next power of two
        (0.0, 0.0),
    ],
)
def test_ten_bits_are_left(value: float, rounded: float) -> None:
    assert to_tf32(torch.tensor([value])).item() == pytest.approx(rounded, rel=0, abs=abs(rounded) * 1e-7)


@given(st.floats(2.0**-100, 2.0**100, width=32) | st.floats(-(2.0**100), -(2.0**-100), width=32))
def test_no_number_is_off_by_more_than_half_a_step(value: float) -> None:
    rounded = to_tf32(torch.tensor([value])).item()
    assert abs(rounded - value) <= abs(value) * STEP / 2
    mantissa, _ = np.frexp(rounded)
    assert float(mantissa) * 2**11 == round(float(mantissa) * 2**11), "eleven bits with the leading one"


class Products(nn.Module):
    """A convolution with a bias, a product with a constant and one of two activations."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.mix = nn.Conv2d(3, 4, 3)
            self.matrix = nn.Buffer(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.matmul(self.mix(x), self.matrix)
        return torch.matmul(y, y.transpose(-1, -2))


def test_factors_are_rounded_and_sums_are_not() -> None:
    network, x = Products().eval(), np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    rounded = Tf32Runner(torch.export.export(network, (torch.from_numpy(x),)))(x)
    weight, bias = to_tf32(network.mix.weight.detach()), network.mix.bias.detach()
    y = nn.functional.conv2d(to_tf32(torch.from_numpy(x)).double(), weight.double(), bias.double()).float()
    y = (to_tf32(y).double() @ to_tf32(network.matrix).double()).float()
    expected = (to_tf32(y).double() @ to_tf32(y).double().transpose(-1, -2)).float()
    # A sum in float32 may round to the other side of half a step of TF32, hence not to the bit.
    np.testing.assert_allclose(rounded, expected, rtol=1e-3, atol=1e-3)
    exact = (network(torch.from_numpy(x))).detach().numpy()
    off = np.abs(rounded - exact).mean()
    assert np.abs(rounded - expected.numpy()).mean() < 0.1 * off, "float32 is much farther away"


def test_tf32_would_cost_many_times_the_budget_of_float32() -> None:
    """Why every builder here switches it off, and trtexec's lines have --noTF32. Convolutions alone here;
    in a lowered program the transforms are products too."""
    pixels = read_photo(defocused_photo()).pixels[128:384, 128:384]
    image = torch.from_numpy((pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None])
    network = zoo.load("tiny").eval()

    def reads(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(map(to_tf32, given))

    def full() -> Tensor:
        return next(result for result in network(image) if result.shape == image.shape)

    with torch.no_grad():
        exact = full()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(to_tf32(module.weight))
                module.register_forward_pre_hook(reads)
        cost = (full() - exact).abs().max().item()
    assert cost > 5 * budget_for("fp32").max_abs
