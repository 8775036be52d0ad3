"""Which layers read the picture, which make it, and which feed kernels that are made at run time."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.roles import FIRST, KERNELS, LAST, PICTURE, ends, exposed
from fdikp_edge.export.spectral import lower
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = (64, 64)


class Pyramid(nn.Module):
    """Two scales with the same weights; the coarse result is an input of the fine one."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def step(self, x: Tensor, before: Tensor) -> Tensor:
        f = self.head(torch.cat([x, before], 1))
        f = f + self.body(torch.relu(f))
        return (x + 0.1 * self.tail(f)).clamp(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 2)
        small = self.step(small, small)
        return self.step(x, F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False))


class MakesKernels(nn.Module):
    """Filters its features by a kernel for each channel, which it makes of the features themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.kernels = nn.Conv2d(8, 72, 1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.Conv2d(8, 32, 1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.head(x)
        kernels = self.kernels(f.mean(dim=(2, 3), keepdim=True)).reshape(8, 1, 3, 3)
        f = self.body(F.conv2d(f, kernels, padding=1, groups=8))
        return torch.sigmoid(self.tail(F.pixel_shuffle(self.up(f), 2)))


class Subpixel(nn.Module):
    """Makes its picture at half the size, four values of a colour at a place, and then puts them in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.head = nn.Conv2d(12, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.head(F.pixel_unshuffle(x, 2))
        f = self.tail(torch.relu(f + self.body(torch.relu(f))))
        if self.how == "pixel_shuffle":
            return (x + 0.1 * F.pixel_shuffle(f, 2)).clamp(0, 1)
        if self.how == "views":  # the same by hand
            n, _, h, w = f.shape
            f = f.reshape(n, 3, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
            return (x + 0.1 * f.flatten(4).reshape(n, 3, 2 * h, 2 * w)).clamp(0, 1)
        # One colour after the other.
        f = F.pixel_shuffle(f, 2)
        return x + 0.1 * torch.cat([f[:, c : c + 1] for c in range(3)], 1)


@cache
def lowered(network: type[nn.Module], profile: str | None = None) -> LoweredModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lower_model(network().eval(), SIZE, name=network.__name__, profile=profile)


def reasons(model: LoweredModel, **how: bool) -> dict[str, set[str]]:
    """Return module -> the reasons of its calls."""
    by_module: dict[str, set[str]] = {}
    layers = calibrate(model, count=2, least_work=0, **how).section(model.lowered.key).layers
    for layer in layers:
        by_module.setdefault(layer.module.removeprefix("model."), set()).add(layer.reason)
    return by_module


@pytest.mark.parametrize(
    ("profile", "kept"),
    [("onnx", {"head": FIRST, "tail": LAST}), ("openvino", {"tail": LAST}), (None, {})],
)
def test_layers_at_the_ends_stay_in_floats_where_the_runtime_gains_too_little(
    profile: str | None, kept: dict[str, str]
) -> None:
    given = reasons(lowered(Pyramid, profile))
    assert {name: given[name] for name in ("head", "body", "tail")} == {
        name: {kept.get(name, "")} for name in ("head", "body", "tail")
    }


def test_an_end_takes_along_the_calls_of_its_weights_at_other_scales() -> None:
    model = lowered(Pyramid)
    assert ends(model.lowered, first=False, last=False) == {}
    assert sorted(ends(model.lowered, first=True, last=True).values()) == sorted(2 * [FIRST] + 2 * [LAST])


def test_every_input_of_a_network_with_two_has_its_own_first_layer() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.tail = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            result: Tensor = self.tail((self.left(x) + self.right(y)).relu())
            return result

    program = lower(Both().eval(), (torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)))
    given = sorted(ends(program, first=True, last=True).values())
    assert given == sorted([FIRST, FIRST, LAST])


@pytest.mark.parametrize("how", ["pixel_shuffle", "views", "joined"])
def test_the_layer_that_makes_the_picture_is_seen_through_what_only_moves_its_values(how: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lower_model(Subpixel(how).eval(), SIZE, name="subpixel", profile="onnx")
    given = reasons(model)
    assert given == {"head": {FIRST}, "body": {""}, "tail": {LAST}}


@pytest.mark.parametrize("profile", [None, "litert"])  # convolutions with kernels, and products of blocks
def test_what_feeds_kernels_and_what_follows_the_last_upsampling_is_exposed(profile: str | None) -> None:
    model = lowered(MakesKernels, profile)
    plain, protected = (reasons(model, protect_outliers=protect) for protect in (False, True))
    assert {name for name, kept in plain.items() if kept == {""}} >= {"head", "body", "up", "tail"}
    assert protected["head"] == protected["kernels"] == {KERNELS}
    assert protected["body"] == protected["up"] == {""}
    assert protected["tail"] == {PICTURE}


def test_without_kernels_made_at_run_time_nothing_is_exposed() -> None:
    assert exposed(lowered(Pyramid).lowered) == {}
