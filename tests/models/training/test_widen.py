"""A larger network that begins with the weights of a smaller one does what the smaller one does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fdikp_edge.models import zoo
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.fdikp.variants import BASE, SMALL, TINY, Variant
from fdikp_edge.models.training import widen
from fdikp_edge.models.training.losses import multi_scale_loss
from fdikp_edge.models.training.run import train
from fdikp_edge.models.training.samples import Recipe
from fdikp_edge.models.training.settings import Settings
from fdikp_edge.runtime.errors import BadInputError
from torch import Tensor


@pytest.fixture(scope="module")
def tiny() -> FDIKP:
    return zoo.load("tiny")


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """[1, 3, 256, 256]: blurred noise, so that tiny has something to sharpen."""
    noise = torch.rand(1, 3, 264, 264, generator=torch.Generator().manual_seed(0))
    return (F.avg_pool2d(noise, 9, stride=1) - 0.5) * 3 + 0.5


def test_small_begins_as_tiny(tiny: FDIKP, picture: Tensor) -> None:
    small = widen.widened(tiny, SMALL).eval()
    with torch.no_grad():
        wanted, got = tiny(picture), small(picture)
    for a, b in zip(wanted, got, strict=True):
        assert float((a - b).square().mean()) < 1e-4  # 40 dB
    added = wanted[-1] - picture
    assert float(added.std()) > 0.01
    assert float((got[-1] - wanted[-1]).std()) < 0.2 * float(added.std())


def test_all_but_the_kernels_and_the_spread_is_exact(
    tiny: FDIKP, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widen, "SPREAD", 0.0)
    small = widen.widened(tiny, SMALL, seed=3).double().eval()
    exact = zoo.load("tiny").double()
    border = (SMALL.kernel_size - TINY.kernel_size) // 2

    def kernels(features: Tensor) -> Tensor:
        padded = F.pad(exact.dikp(features[:, : 4 * TINY.channels]), (border,) * 4)
        return torch.cat([padded, padded[:, : SMALL.kernels - TINY.kernels]], dim=1)

    monkeypatch.setattr(small.dikp, "forward", kernels)
    with torch.no_grad():
        # What is added to the variance in LayerNorm is not scaled along, hence not to the last digit.
        torch.testing.assert_close(
            small(picture.double())[-1], exact(picture.double())[-1], atol=1e-4, rtol=0
        )


def test_kernels_are_those_of_tiny_with_a_border_of_zeros(tiny: FDIKP) -> None:
    small = widen.widened(tiny, SMALL).eval()
    features = torch.randn(1, 4 * SMALL.channels, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = tiny.dikp(features[:, : 4 * TINY.channels]), small.dikp(features)
    assert float(got.sum(dim=(-2, -1)).sub(1).abs().max()) < 1e-4
    torch.testing.assert_close(got[:, TINY.kernels :], got[:, : SMALL.kernels - TINY.kernels])
    inner, difference = got[:, : TINY.kernels, 1:-1, 1:-1], wanted - tiny.dikp.delta
    # tanh of what has no mean, instead of tanh less its mean
    assert float((inner - wanted).square().mean()) < 0.01 * float(difference.square().mean())
    rim = got.clone()
    rim[..., 1:-1, 1:-1] = 0
    assert float(rim.abs().max()) < 0.03 * float(difference.abs().max())


def test_what_starts_without_influence_is_trained(tiny: FDIKP, picture: Tensor) -> None:
    small = widen.widened(tiny, SMALL).train()
    multi_scale_loss(small(picture), picture.flip(-1)).backward()  # type: ignore[no-untyped-call]
    silent = 0
    for name, value in small.named_parameters():
        assert value.grad is not None
        zeros = value == 0
        if int(zeros.sum()) < 50:  # the imaginary parts of a spectrum at frequency zero: never used
            continue
        silent += int(zeros.sum())
        assert float((value.grad[zeros] != 0).float().mean()) > 0.5, name
    assert silent > 10_000


def test_training_begins_with_widened_weights(photo_folder: Path, tmp_path: Path, tiny: FDIKP) -> None:
    settings = Settings(
        variant="small",
        steps=1,
        batch=1,
        held_out=1,
        validation=1,
        recipe=Recipe(largest_radius=4),
    )
    weights = train(settings, photo_folder, tmp_path, initial=Path("tiny"), workers=0)
    trained = zoo.load(weights)
    assert trained.variant == SMALL
    # One step of warm-up changes a weight by at most the rate.
    torch.testing.assert_close(trained.stem.weight[: TINY.channels], tiny.stem.weight, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (TINY, BASE, "blocks"),
        (SMALL, TINY, "channels 28"),
        (TINY, replace(SMALL, kernels=9), "twice"),
        (TINY, replace(SMALL, separable=True), "separable"),
        (SMALL, replace(SMALL, fourier=("none", "none", "window")), "fourier"),
        (TINY, replace(SMALL, frequency="global"), "frequency welch"),
        (TINY, replace(SMALL, dilations=(1, 3)), "dilations"),
    ],
)
def test_networks_of_another_kind_are_refused(before: Variant, after: Variant, what: str) -> None:
    with pytest.raises(BadInputError, match=what):
        widen.widened(FDIKP(before), after)
