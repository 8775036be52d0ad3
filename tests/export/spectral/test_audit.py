"""What a lowered program says about itself, and whether it is true."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import Twin, as_tuple, assert_close, assert_real, parts
from torch import Tensor, nn


class Pair(nn.Module):
    def __init__(self, norm: str = "backward", repeat: int = 1) -> None:
        super().__init__()
        self.norm, self.repeat = norm, repeat
        self.scale = nn.Parameter(torch.rand(1, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.repeat):
            spectrum = torch.fft.rfft2(x, norm=self.norm) * self.scale
            x = torch.fft.irfft2(spectrum, s=x.shape[-2:], norm=self.norm)
        return x


IMAGE = (parts((1, 2, 24, 20), 1)[0],)


def test_every_site_is_a_row() -> None:
    audit = lower(Pair(repeat=2).eval(), IMAGE).audit
    assert [row.site.operator.split(".")[1] for row in audit.rows] == ["fft_rfft2", "fft_irfft2"] * 2
    for row in audit.rows:
        assert row.site.lengths == (24, 20)
        assert row.multiply_adds > 0 and row.error_bound > 0 and row.fp16_input_limit > 0
    json.dumps(audit.to_json())
    assert "4 transform sites" in audit.summary()
    assert audit.self_check is not None and audit.self_check < 1e-6


def test_multiply_adds_of_the_separable_strategy_by_hand() -> None:
    row = lower(Pair().eval(), IMAGE, plan={"*": "separable"}).audit.rows[0]
    along_width = 2 * (2 * 24) * 20 * 11  # cosine and sine products of 48 lines, 20 to 11 points
    along_height = 4 * (2 * 11) * 24 * 24  # four products of 22 complex lines, 24 to 24 points
    assert row.multiply_adds == along_width + along_height


@pytest.mark.parametrize("strategy", ["flat", "separable", "factored"])
@pytest.mark.parametrize("norm", ["backward", "ortho"])
def test_measured_errors_keep_the_stated_bound(strategy: str, norm: str) -> None:
    size = (24, 20) if strategy == "flat" else (96, 45)
    image = parts((4, *size), 1)[0]

    def run(x: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(x, norm=norm), torch.fft.ifft2(x, norm=norm)]

    twin = Twin(run).eval()
    lowered = lower(twin, (image,), plan={"*": strategy})
    got, want = lowered.program.module()(image), twin(image.double())
    for row, a, b in zip(lowered.audit.rows, got, want, strict=True):
        error = float((a.double() - b).abs().max())
        assert 0 < error <= row.error_bound * row.gain * float(image.abs().max())


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_inputs_below_the_fp16_limit_do_not_overflow_fp16(norm: str) -> None:
    """The largest coefficient that an input of a given magnitude can have is that of the constant one."""

    def run(x: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(x, norm=norm)]

    flat = torch.ones(1, 24, 20)
    row = lower(Twin(run).eval(), (flat,), plan={"*": "separable"}).audit.rows[0]
    spectrum = torch.fft.rfft2(flat.double() * row.fp16_input_limit, norm=norm).abs()
    lines = torch.fft.rfft(flat.double() * row.fp16_input_limit, norm=norm).abs()
    peak = max(float(spectrum.max()), float(lines.max()), row.fp16_input_limit)
    assert peak <= 65504 * (1 + 1e-9)
    assert peak >= 65504 * (1 - 1e-9), "the limit is lower than it need be"


def test_equal_constants_are_stored_once() -> None:
    one = lower(Pair(repeat=1).eval(), IMAGE).audit.constants_bytes
    three = lower(Pair(repeat=3).eval(), IMAGE).audit.constants_bytes
    assert one == three > 0


def test_sha256_follows_the_program() -> None:
    module = Pair().eval()
    first = lower(module, IMAGE).sha256
    assert lower(copy.deepcopy(module), IMAGE).sha256 == first
    assert lower(Pair("ortho").eval(), IMAGE).sha256 != first
    assert lower(module, (IMAGE[0][:1, :, :22],)).sha256 != first
    with torch.no_grad():
        module.scale += 1e-3
    assert lower(module, IMAGE).sha256 != first


def test_lowering_leaves_the_module_and_its_inputs_alone() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, dtype=torch.cfloat))
            self.register_buffer("count", torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.fft.rfft(x)
            spectrum[..., 0] = 0
            return torch.fft.irfft(spectrum * self.weight, n=8) * self.count

    module, image = Writes().eval(), parts((2, 8), 1)[0]
    state, before = copy.deepcopy(module.state_dict()), image.clone()
    wanted = module(image)
    lower(module, (image,))
    assert torch.equal(image, before)
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert module.weight.requires_grad and torch.equal(module(image), wanted)


def test_training_weights_do_not_need_gradients_in_the_program() -> None:
    program = lower(Pair().eval(), IMAGE).program
    assert not any(value.requires_grad for value in program.state_dict.values())


class Projected(nn.Module):
    """A half spectrum made Hermitian by hand before the inverse, as careful networks do."""

    def __init__(self, keep: float = 1.0) -> None:
        super().__init__()
        self.keep = keep
        self.weight = nn.Parameter(torch.complex(*parts((12, 7))))

    def symmetric(self, column: Tensor) -> Tensor:
        mirrored = torch.roll(torch.flip(column, dims=(-1,)), 1, dims=-1).conj()
        return (column + mirrored * self.keep) * 0.5

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x) * self.weight
        first, inner, last = spectrum[..., 0], spectrum[..., 1:-1], spectrum[..., -1]
        columns = (self.symmetric(first)[..., None], inner, self.symmetric(last)[..., None])
        return torch.fft.irfft2(torch.cat(columns, dim=-1), s=x.shape[-2:])


def test_projections_that_the_transform_contains_cost_nothing() -> None:
    image = parts((1, 3, 12, 12), 1)[0]
    module = Projected().eval()
    lowered = lower(module, (image,))
    assert_close([lowered.program.module()(image).detach()], [module(image).detach()], 1e-5)
    assert not [name for name in lowered.audit.operators if "flip" in name or "cat" in name]


def test_projections_that_change_the_result_are_kept() -> None:
    image = parts((1, 3, 12, 12), 1)[0]
    module = Projected(keep=0.5).eval()
    lowered = lower(module, (image,))
    assert_close([lowered.program.module()(image).detach()], [module(image).detach()], 1e-5)


def test_outputs_keep_their_structure() -> None:
    class Structured(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
            spectrum = torch.fft.rfft(x)
            return {"power": spectrum.abs(), "parts": [spectrum.real, spectrum.imag], "same": x}

    module, image = Structured().eval(), parts((2, 8), 1)[0]
    program = lower(module, (image,)).program
    assert_real(program)
    got, want = program.module()(image), module(image)
    assert list(got) == list(want)
    assert_close([got["power"], *got["parts"]], [want["power"], *want["parts"]], 1e-6)
    assert torch.equal(got["same"], image)


def test_networks_without_a_transform_pass_through() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).eval()
    lowered = lower(module, IMAGE)
    assert not lowered.audit.rows
    assert_close(as_tuple(lowered.program.module()(*IMAGE)), [module(*IMAGE).detach()], 1e-6)
