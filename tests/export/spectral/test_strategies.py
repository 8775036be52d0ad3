"""Every strategy at sites it accepts, and what a plan may and may not ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.runtime.errors import LoweringError, UnknownNameError
from spectral_networks.checks import Twin, as_tuple, assert_close, parts
from torch import Tensor, nn

NORMS = ("backward", "ortho", "forward")


KINDS = ("fft of real", "fft", "ifft of real", "ifft", "rfft", "ihfft", "irfft", "hfft")


def norm_of(case: int, kind: int) -> str:
    """The norms by turns, along the kinds of transform and along the cases: every size meets all three."""
    return NORMS[(case + kind) % len(NORMS)]


def transforms(size: tuple[int, ...], norms: dict[str, str]) -> Any:
    """Every kind of transform over the trailing axes, both directions, on real and on complex data."""
    dims = tuple(range(-len(size), 0))

    def run(x: Tensor, re: Tensor, im: Tensor, half_re: Tensor, half_im: Tensor) -> dict[str, Tensor]:
        z, half = torch.complex(re, im), torch.complex(half_re, half_im)
        options = {kind: {"dim": dims, "norm": norm} for kind, norm in norms.items()}
        return {
            "fft of real": torch.fft.fftn(x, **options["fft of real"]),
            "fft": torch.fft.fftn(z, **options["fft"]),
            "ifft of real": torch.fft.ifftn(x, **options["ifft of real"]),
            "ifft": torch.fft.ifftn(z, **options["ifft"]),
            "rfft": torch.fft.rfftn(x, **options["rfft"]),
            "ihfft": torch.fft.ihfftn(x, **options["ihfft"]),
            "irfft": torch.fft.irfftn(half, s=size, **options["irfft"]),
            "hfft": torch.fft.hfftn(half, s=size, **options["hfft"]),
        }

    return run


CASES = [
    ("flat", (12,)), ("flat", (7,)), ("flat", (8, 8)), ("flat", (5, 6)), ("flat", (3, 4, 5)),
    ("separable", (12,)), ("separable", (9, 10)), ("separable", (3, 4, 5)), ("separable", (64, 33)),
    ("factored", (96, 20)), ("factored", (99, 15)), ("factored", (12, 288)), ("factored", (105, 4, 6)),
    ("factored", (360,)), ("factored", (98, 8)), ("factored", (12, 330)),
    ("native", (12,)), ("native", (9, 10)), ("native", (3, 4, 5)),
]  # fmt: skip


def test_every_kind_of_transform_meets_every_norm_in_every_strategy() -> None:
    cases = [(case, kind) for case in range(len(CASES)) for kind in range(len(KINDS))]
    met = {(CASES[case][0], KINDS[kind], norm_of(case, kind)) for case, kind in cases}
    assert met == {(strategy, kind, norm) for strategy, _ in CASES for kind in KINDS for norm in NORMS}


@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{CASES[i][1]}".replace(" ", "")
)
def test_strategies_agree_with_torch(case: int) -> None:
    (strategy, size), norms = CASES[case], {kind: norm_of(case, i) for i, kind in enumerate(KINDS)}
    half = (*size[:-1], size[-1] // 2 + 1)
    inputs = (*parts((2, *size), 3), *parts((2, *half), seed=1))
    twin = Twin(transforms(size, norms)).eval()
    lowered = lower(twin, inputs, plan={"*": strategy})
    assert {choice.strategy for choice in lowered.plan.choices} == {strategy}
    got = as_tuple(lowered.program.module()(*inputs))
    want = twin(*(v.double() for v in inputs))
    for label, a, b in zip(twin.labels, got, want, strict=True):
        assert_close([a.detach()], [b.detach()], 2e-6, f"{strategy} {label} {norms}")


@pytest.mark.parametrize(
    ("strategy", "size"),
    [
        ("flat", (12, 10)),
        ("separable", (48, 90)),
        ("factored", (98, 90)),
        ("factored", (90, 320)),
        ("factored", (36, 330)),
    ],
)
def test_real_coefficients_stay_exactly_real(strategy: str, size: tuple[int, int]) -> None:
    """Whatever the strategy: networks take the phase of these, and noise would flip it between pi and -pi."""
    height, width = size

    def run(x: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(x)[..., :: height // 2, :: width // 2].imag]

    images = torch.cat((parts((3, *size), 1)[0], torch.full((1, *size), 0.5), torch.full((1, *size), -0.5)))
    imaginary = lower(Twin(run).eval(), (images,), plan={"*": strategy}).program.module()(images)[0]
    assert float(imaginary.abs().max()) == 0.0
    assert not bool(torch.signbit(imaginary).any()), "an imaginary part is -0.0: the phase would be -pi"


class TwoBlocks(nn.Module):
    """Two named blocks with a transform pair each."""

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.mix = nn.Conv2d(channels, channels, 1)

        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.fft.rfft2(self.mix(x), norm="ortho")
            return torch.fft.irfft2(spectrum * spectrum.abs(), s=x.shape[-2:], norm="ortho")

    def __init__(self) -> None:
        super().__init__()
        self.first = self.Block(2)
        self.second = self.Block(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@pytest.fixture(scope="module")
def blocks() -> TwoBlocks:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoBlocks().eval()


INPUT = (parts((1, 2, 8, 8), 1)[0],)


def test_a_plan_names_sites_by_module_path_and_the_last_pattern_wins(blocks: TwoBlocks) -> None:
    lowered = lower(blocks, INPUT, plan={"*": "separable", "second*": "flat"})
    chosen = {(c.site.module_path, c.strategy) for c in lowered.plan.choices}
    assert chosen == {("first", "separable"), ("second", "flat")}
    rows = json.loads(json.dumps(lowered.plan.to_json()))
    assert [row["module"] for row in rows] == ["first", "first", "second", "second"]
    assert all(row["reason"] for row in rows)


def test_a_plan_can_be_used_again(blocks: TwoBlocks) -> None:
    first = lower(blocks, INPUT, plan={"*": "separable"})
    again = lower(blocks, INPUT, plan=first.plan)
    assert again.plan.key == first.plan.key
    assert again.sha256 == first.sha256


@pytest.mark.parametrize("target", [None, "onnx", "openvino", "coreml", "tensorrt"])
def test_every_target_gets_a_plan(blocks: TwoBlocks, target: str | None) -> None:
    lowered = lower(blocks, INPUT, target=target)
    assert all(choice.strategy in ("flat", "separable", "factored") for choice in lowered.plan.choices)
    assert_close([lowered.program.module()(*INPUT)], [blocks(*INPUT).detach()], 1e-5)


def test_wrong_plans_are_refused_in_words(blocks: TwoBlocks) -> None:
    with pytest.raises(UnknownNameError, match=r"nonesuch.*flat"):
        lower(blocks, INPUT, plan={"*": "nonesuch"})
    with pytest.raises(UnknownNameError, match=r"third.*first"):
        lower(blocks, INPUT, plan={"third": "flat"})
    with pytest.raises(LoweringError, match=r"factored.*first.*split"):
        lower(blocks, INPUT, plan={"first": "factored"})
    with pytest.raises(LoweringError, match="1024"):
        lower(blocks, (torch.zeros(1, 2, 64, 64),), plan={"*": "flat"})


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.fft.fft(x + 0j, n=256, dim=-2),  # 129 of 256: as many as a half spectrum has
        lambda x: torch.fft.rfft(x, n=256, dim=-2),
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x)[..., :65, :], s=(128, 144)),
    ],
)
@pytest.mark.parametrize("strategy", [None, "separable"])
def test_zeros_behind_half_of_a_signal_are_no_half_spectrum(
    function: Callable[[Tensor], Tensor], strategy: str | None
) -> None:
    x = torch.randn(2, 129, 144, generator=torch.Generator().manual_seed(0))
    twin = Twin(function).eval()
    program = lower(twin, (x,), plan=None if strategy is None else {"*": strategy}).program
    assert_close([v.detach() for v in as_tuple(program.module()(x))], twin(x.double()), 1e-5)
