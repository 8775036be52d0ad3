"""Fused chains compute what the network wrote, and only where the pattern really is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.fuse.blocks import BAND
from fdikp_edge.models.fdikp.blocks import WindowedFourierUnit
from torch import Tensor, nn


class Adaptive(nn.Module):
    """A kernel of its own for every pixel, through ``unfold``."""

    def __init__(self, kernel: int, dilation: int, stride: int = 1, *, over: int = -3) -> None:
        super().__init__()
        self.kernel, self.dilation, self.stride, self.over = kernel, dilation, stride, over

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        b, c = x.shape[:2]
        columns = F.unfold(x, self.kernel, dilation=self.dilation, stride=self.stride)
        patches = columns.reshape(b, c, self.kernel**2, *weights.shape[-2:])
        return (patches * weights).sum(self.over)


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (2, 3, 3)])
def test_per_pixel_kernels_never_store_their_neighbourhoods(kernel: int, dilation: int, stride: int):
    torch.manual_seed(kernel)
    x = torch.randn(2, 3, 17, 14)
    h, w = ((n - dilation * (kernel - 1) - 1) // stride + 1 for n in (17, 14))
    weights = torch.randn(2, 1, kernel**2, h, w)
    network = Adaptive(kernel, dilation, stride)
    lowered = lower(network, (x, weights))
    torch.testing.assert_close(
        lowered.program.module()(x, weights), network(x, weights), atol=1e-5, rtol=1e-5
    )
    assert not any("im2col" in name for name in lowered.audit.operators)


def test_a_sum_over_something_else_is_left_alone():
    x, weights = torch.randn(1, 3, 9, 9), torch.randn(1, 1, 9, 7, 7)
    network = Adaptive(3, 1, over=1)
    lowered = lower(network, (x, weights))
    torch.testing.assert_close(
        lowered.program.module()(x, weights), network(x, weights), atol=1e-5, rtol=1e-5
    )
    assert any("im2col" in name for name in lowered.audit.operators)


class Mixture(nn.Module):
    """Every channel filtered with the same few kernels, mixed per pixel."""

    def __init__(self, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation

    def forward(self, x: Tensor, kernels: Tensor, shares: Tensor) -> Tensor:
        b, m, h, w = x.shape
        n, k = kernels.shape[1], kernels.shape[-1]
        padded = F.pad(x, [self.dilation * (k // 2)] * 4, mode="replicate")
        weight = kernels[:, None].expand(b, m, n, k, k).reshape(b * m * n, 1, k, k)
        filtered = F.conv2d(padded, weight, groups=b * m, dilation=self.dilation)
        return (filtered.reshape(b, 2, m // 2, n, h, w) * shares[:, :, None]).sum(3).reshape(b, m, h, w)


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_a_mixture_of_kernels_is_the_same_in_every_layout(target: str):
    torch.manual_seed(0)
    inputs = torch.randn(1, 6, 12, 10), torch.randn(1, 4, 5, 5), torch.rand(1, 2, 4, 12, 10)
    lowered = lower(Mixture(), inputs, target=target)
    torch.testing.assert_close(lowered.program.module()(*inputs), Mixture()(*inputs), atol=1e-5, rtol=1e-5)
    dense = [n for n in lowered.program.graph.nodes if "conv2d" in str(n.target)]
    assert len(dense) == (4 if target == "openvino" else 1)


@pytest.mark.parametrize("target", ["executorch", "litert"])
@pytest.mark.parametrize(("size", "kernel", "dilation"), [((24, 32), 5, 1), ((13, 21), 3, 2), ((3, 5), 5, 3)])
def test_a_mixture_of_kernels_multiplies_blocks(
    target: str, size: tuple[int, int], kernel: int, dilation: int
) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(1, 6, *size), torch.randn(1, 4, kernel, kernel), torch.rand(1, 2, 4, *size)
    network = Mixture(dilation)
    lowered = lower(network, inputs, target=target)
    expected = network.double()(*(value.double() for value in inputs))
    torch.testing.assert_close(lowered.program.module()(*inputs).double(), expected, atol=1e-5, rtol=1e-5)
    assert not any("conv2d" in name for name in lowered.audit.operators)
    assert [one.pattern for one in lowered.audit.fusions if one.declined is None] == ["block_mixture"]


class Filters(nn.Module):
    """Convolves with kernels that it is given."""

    def __init__(self, groups: int, *, dilation: tuple[int, int] = (1, 1), stride: int = 1) -> None:
        super().__init__()
        self.options = {"groups": groups, "dilation": dilation, "stride": stride, "padding": (2, 1)}

    def forward(self, x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, kernels, bias, **self.options)


@pytest.mark.parametrize(
    ("channels", "shape", "options", "convolutions"),
    [
        (6, (12, 1, 5, 3), {"groups": 6}, 0),
        (3, (3, 1, 2, 7), {"groups": 3, "dilation": (3, 2)}, 0),
        (1, (4, 1, 3, 3), {"groups": 1}, 0),
        (6, (12, 1, 5, 3), {"groups": 6, "stride": 2}, 1),
        (6, (4, 3, 3, 3), {"groups": 2}, 1),
    ],
)
def test_kernels_of_single_channels_made_at_run_time_multiply_blocks(
    channels: int, shape: tuple[int, ...], options: dict[str, Any], convolutions: int
) -> None:
    torch.manual_seed(2)
    network = Filters(**options)
    inputs = torch.randn(1, channels, 19, 27), torch.randn(*shape), torch.randn(shape[0])
    expected = network.double()(*(value.double() for value in inputs))
    for target, left in (("litert", convolutions), ("executorch", 0), ("onnx", 1), ("coreml", 0)):
        program = lower(network, inputs, target=target).program
        torch.testing.assert_close(program.module()(*inputs).double(), expected, atol=1e-5, rtol=1e-5)
        assert sum("conv2d" in str(node.target) for node in program.graph.nodes) == left


class StoredMixture(Mixture):
    """A mixture whose kernels are stored, and shaped before they filter."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(1, 4, kernel, kernel))

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, self.kernels, shares)


class WideShares(nn.Module):
    """Mixes each filtered map twice: shares have an axis that the maps lack."""

    def forward(self, x: Tensor, kernels: Tensor, shares: Tensor) -> Tensor:
        maps = F.conv2d(x, kernels, groups=3)
        return (maps.reshape(1, 1, 3, 4, *maps.shape[-2:]) * shares).sum(-3)


@pytest.mark.parametrize("target", ["executorch", "litert", "openvino"])
def test_what_blocks_do_not_suit_is_computed_otherwise(target: str) -> None:
    torch.manual_seed(4)
    x = torch.randn(1, 6, 24, 20)
    cases: list[tuple[nn.Module, tuple[Tensor, ...]]] = [
        (StoredMixture(5), (x, torch.rand(1, 2, 4, 24, 20))),
        (WideShares(), (x[:, :3], torch.randn(12, 1, 3, 3), torch.rand(1, 2, 3, 4, 22, 18))),
        (Filters(6), (x, torch.randn(6, 1, 1, 1), torch.randn(6))),
        (Filters(6, dilation=(1, 9)), (x, torch.randn(6, 1, 3, 2), torch.randn(6))),
    ]
    for number, (network, inputs) in enumerate(cases):
        lowered = lower(network, inputs, target=target)
        expected = network.double()(*(value.double() for value in inputs))
        got = lowered.program.module()(*inputs).double()
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        done = [one.pattern for one in lowered.audit.fusions if one.declined is None]
        assert "block_mixture" not in done
        constants = [str(node.name) for node in lowered.program.graph.nodes if BAND in str(node.name)]
        assert bool(constants) == (number == 1 and target != "openvino")  # 3x3 filters, alone: blocks


def test_blocks_copy_little_of_an_image() -> None:
    inputs = torch.randn(1, 6, 64, 64), torch.randn(1, 4, 5, 5), torch.rand(1, 2, 4, 64, 64)
    sizes = {}
    for target in ("coreml", "executorch"):
        nodes = lower(Mixture(), inputs, target=target).program.graph.nodes
        joined = [node for node in nodes if "cat" in str(node.target) or "stack" in str(node.target)]
        sizes[target] = max(node.meta["val"].numel() for node in joined)
    assert sizes["coreml"] == 25 * inputs[0].numel()  # a copy for each tap
    assert sizes["executorch"] == 3 * inputs[0].numel()  # windows of 8x12 for blocks of 4x8


class CutUp(nn.Module):
    """A convolution whose maps are read in pieces, and transformed; and one that is only activated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        b, c, h, w = y.shape
        shares = torch.softmax(y.reshape(b, 2, c // 2, h, w), 2).sum(dim=2)
        power = torch.fft.rfft2(y).abs().sum(dim=(1, 2, 3)).reshape(b, 1, 1, 1)
        return torch.relu(self.second(shares)) + power


@pytest.mark.parametrize(
    ("target", "copies", "batch"), [("openvino", 1, 1), ("onnx", 0, 1), ("openvino", 0, 2)]
)
def test_what_a_convolution_leaves_to_be_cut_up_is_made_planar_once(target: str, copies: int, batch: int):
    torch.manual_seed(4)
    network, x = CutUp().eval(), torch.randn(batch, 3, 10, 8)
    lowered = lower(network, (x,), target=target)
    torch.testing.assert_close(lowered.program.module()(x), network(x), atol=1e-4, rtol=1e-5)
    identities = [n for n in lowered.program.graph.nodes if "identity" in n.name]
    assert len(identities) == copies
    assert sum(len(n.users) for n in identities) == copies  # the reshape and the transform share one


def _ranks(network: nn.Module, x: Tensor) -> int:
    program = lower(network, (x,)).program
    torch.testing.assert_close(program.module()(x), network(x), atol=2e-5, rtol=1e-4)
    return max(n.meta["val"].dim() for n in program.graph.nodes if isinstance(n.meta.get("val"), Tensor))


def test_a_windowed_fourier_unit_needs_no_six_dimensions():
    torch.manual_seed(0)
    assert _ranks(WindowedFourierUnit(5).eval(), torch.randn(1, 5, 24, 16)) <= 5


def test_the_transforms_inside_a_fused_block_stay_in_plan_and_audit():
    lowered = lower(WindowedFourierUnit(4).eval(), (torch.randn(1, 4, 16, 16),))
    assert [row.site.operator for row in lowered.audit.rows] == [
        "aten.fft_rfft2.default",
        "aten.fft_irfft2.default",
    ]
    assert all(row.multiply_adds > 0 for row in lowered.audit.rows)


def test_a_fused_activation_keeps_its_options():
    torch.manual_seed(2)
    unit, x = WindowedFourierUnit(3).eval(), torch.randn(1, 3, 16, 16)
    unit.mix = nn.Sequential(nn.Conv2d(6, 6, 1), nn.GELU(approximate="tanh"), nn.Conv2d(6, 6, 1)).eval()
    lowered = lower(unit, (x,))
    assert not any("conv2d" in name for name in lowered.audit.operators)  # it was fused
    torch.testing.assert_close(lowered.program.module()(x), unit(x), atol=1e-5, rtol=1e-5)


class Spied(WindowedFourierUnit):
    """The same unit, but something else reads the spectrum too: the fused form would lose that reader."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        windows = x.reshape(b, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
        z = torch.fft.rfft2(windows, norm="ortho")
        stacked = torch.cat([z.real, z.imag], dim=1)
        re, im = self.mix(stacked.flatten(4).flatten(2, 3)).reshape(stacked.shape).chunk(2, dim=1)
        back = torch.fft.irfft2(torch.complex(re, im), s=(8, 8), norm="ortho")
        return back.permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w) + z.abs().mean()


def test_a_spectrum_with_another_reader_is_not_fused_away():
    torch.manual_seed(1)
    network, x = Spied(3).eval(), torch.randn(1, 3, 16, 24)
    torch.testing.assert_close(lower(network, (x,)).program.module()(x), network(x), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("expression", "shapes"),
    [
        (lambda x, y: torch.einsum("bsnhw,bnij->bsijhw", x, y) * 2, [(1, 2, 3, 4, 5), (1, 3, 2, 2)]),
        (lambda x, y: x[:, :, 1:] + y, [(2, 3, 4, 2, 3, 2), (2, 1, 3, 2, 1, 2)]),
        (lambda x, y: torch.cat([x, y], 3)[:, :, :, 1], [(2, 3, 1, 2, 3, 2), (2, 3, 1, 4, 3, 2)]),
        (lambda x, y: x.sum((2, 3)) @ y, [(2, 3, 4, 2, 3, 2), (2, 4)]),
        (lambda x, y: sum(a * y for a in x.unbind(3)), [(2, 3, 2, 4, 3, 2), (3, 2)]),
        (lambda x, y: (x @ y).mean(1), [(2, 1, 3, 2, 4, 2), (2, 1, 3, 2, 2, 5)]),
    ],
)
def test_no_value_has_more_than_five_axes(expression, shapes):
    class Expression(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            # The last reshape is the network's own way out of many axes, its inputs' the way in.
            return expression(x.reshape(shapes[0]), y.reshape(shapes[1])).reshape(-1)

    inputs = tuple(torch.randn(shape).reshape(-1) for shape in shapes)
    program = lower(Expression(), inputs).program
    torch.testing.assert_close(program.module()(*inputs), Expression()(*inputs), atol=1e-5, rtol=1e-5)
    assert max(node.meta["val"].dim() for node in program.graph.nodes if "val" in node.meta) <= 5


class Beside(nn.Module):
    """A 1x1 convolution of what a transform reads, one with a stride, one of maps that no transform reads."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.skip = nn.Conv2d(3, 4, 1, bias=bias)
        self.strided, self.after = nn.Conv2d(3, 4, 1, stride=2), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.relu(x)
        filtered = torch.fft.irfft2(torch.fft.rfft2(x) * 2j, s=x.shape[-2:])
        return self.skip(x), self.strided(x), self.after(filtered)


@pytest.mark.parametrize(("target", "convolutions"), [("onnx", 2), ("openvino", 2), ("coreml", 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_mixes_maps_beside_a_transform(target: str, convolutions: int, bias: bool) -> None:
    torch.manual_seed(5)
    network, x = Beside(bias=bias).eval(), torch.randn(2, 3, 9, 7)
    lowered = lower(network, (x,), target=target)
    assert lowered.audit.operators["aten.conv2d.default"] == convolutions
    for got, want in zip(lowered.program.module()(x), network(x), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_complex_and_single_maps_beside_a_transform_stay_convolutions() -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 1, 1, dtype=torch.cfloat))

        def forward(self, x: Tensor) -> Tensor:
            z = torch.complex(x, x * 2)
            return (torch.fft.fft2(z).sum(1, keepdim=True) + torch.conv2d(z, self.weight)).abs()

    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft2(x).abs().sum() + self.mix(x)

    torch.manual_seed(6)
    for network, x in ((Complex().eval(), torch.randn(1, 3, 6, 5)), (Single().eval(), torch.randn(3, 6, 5))):
        lowered = lower(network, (x,), target="onnx")
        assert lowered.audit.operators["aten.conv2d.default"] >= 1
        torch.testing.assert_close(lowered.program.module()(x), network(x), atol=1e-4, rtol=1e-5)
