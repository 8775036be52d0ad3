"""The image contracts, against the same conversions written out in numpy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from fdikp_edge.export import Deployable, Reference
from fdikp_edge.export.contracts import RGB, tensor_contracts
from fdikp_edge.runtime.errors import BadInputError, UnknownNameError
from torch import Tensor, nn


class Gain(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., ::2, ::2], x * self.gain


class Spectrum(nn.Module):
    """Multiplies the spectrum by a complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(
            torch.randn(8, 5, dtype=torch.cfloat, generator=torch.Generator().manual_seed(0))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=x.shape[-2:])


def test_the_last_image_is_the_one_that_is_deployed() -> None:
    x = torch.rand(1, 3, 8, 6)
    assert torch.equal(Deployable(Gain(0.5))(x), x * 0.5)


def test_bytes_are_scaled_clamped_and_rounded_inside() -> None:
    pixels = np.arange(2 * 64 * 3, dtype=np.uint8).reshape(1, 2, 64, 3)
    output = Deployable(Gain(1.37), "uint8_nhwc")(torch.from_numpy(pixels))
    unrounded = pixels * 1.37
    assert output.dtype == torch.uint8
    # float32 inside: only where 1.37 n lies within 1e-4 of a half may the byte differ.
    sure = np.abs(unrounded % 1 - 0.5) > 1e-4
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(output.numpy()[sure], np.rint(np.minimum(unrounded, 255))[sure])


@pytest.mark.parametrize("contract", ["float_nchw", "uint8_nhwc"])
def test_the_example_fits_the_contract(contract: str) -> None:
    model = Deployable(Gain(1.0), contract)  # type: ignore[arg-type]
    source, result = tensor_contracts(model.contract, 8, 6)
    (example,) = model.example(8, 6)
    assert (tuple(example.shape), str(example.dtype)) == (source.shape, f"torch.{source.dtype}")
    assert tuple(model(example).shape) == result.shape
    assert source.name == "image"
    assert model.described[0].name == "output"
    assert torch.equal(example, model.example(8, 6)[0])


def test_an_unknown_contract_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"uint4.*float_nchw, uint8_nhwc"):
        Deployable(Gain(1.0), "uint4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "shape", "color"),
    [
        (nn.Upsample(scale_factor=2), (1, 3, 8, 8), "RGB"),
        (nn.Conv2d(3, 1, 1), (1, 1, 4, 4), "grey"),
        (nn.Conv2d(3, 5, 1), (1, 5, 4, 4), None),
        (nn.Flatten(), (1, 48), None),
    ],
)
def test_what_a_result_is_follows_from_its_shape(
    model: nn.Module, shape: tuple[int, ...], color: str | None
) -> None:
    x = torch.rand(1, 3, 4, 4)
    network = Deployable(model)
    assert network(x).shape == shape
    (spec,) = network.described
    assert (spec.layout, spec.color) == (("NCHW", color) if color else (None, ""))
    as_bytes = Deployable(model, "uint8_nhwc")((x * 255).to(torch.uint8).permute(0, 2, 3, 1))
    assert as_bytes.dtype == (torch.uint8 if color else torch.float32)


def test_results_are_named_by_their_keys_and_places() -> None:
    class Several(nn.Module):
        def forward(self, image: Tensor, sigma: Tensor) -> dict[str, object]:
            return {"clean": image - sigma, "maps": [image.mean(1), sigma], "image": image}

    specs = (RGB, dataclasses.replace(RGB, name="sigma"))
    network, x = Deployable(Several(), specs=specs), torch.rand(1, 3, 4, 4)
    results = network(x, x / 2)
    assert [tuple(result.shape) for result in results] == [
        (1, 3, 4, 4),
        (1, 4, 4),
        (1, 3, 4, 4),
        (1, 3, 4, 4),
    ]
    assert [spec.name for spec in network.described] == ["clean", "maps_0", "maps_1", "image_out"]
    named = Deployable(Several(), specs=specs, outputs=("a", "b"))
    named(x, x)
    assert [spec.name for spec in named.described] == ["a", "b"]
    by_name = Reference(network)({"image": x.numpy(), "sigma": x.numpy() / 2})
    np.testing.assert_array_equal(by_name["clean"], (x - x / 2).numpy())
    with pytest.raises(BadInputError, match="takes 2 inputs, got 1"):
        network(x)
    with pytest.raises(BadInputError, match="returns 4 tensors; 5 names"):
        Deployable(Several(), specs=specs, outputs=tuple("abcde"))(x, x)


def test_pictures_from_fine_to_coarse_are_all_kept() -> None:
    class Pyramid(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x, x[..., ::2, ::2]]

    assert [tuple(r.shape) for r in Deployable(Pyramid())(torch.rand(1, 3, 4, 4))] == [
        (1, 3, 4, 4),
        (1, 3, 2, 2),
    ]


def test_an_empty_list_is_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return []

    with pytest.raises(BadInputError, match="empty list"):
        Deployable(Nothing())(torch.rand(1, 3, 4, 4))


def test_the_reference_agrees_with_numpy_in_both_precisions() -> None:
    model = Spectrum()
    x = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    weights = model.filter.detach().numpy().astype(np.complex128)
    truth = np.fft.irfft2(np.fft.rfft2(x.astype(np.float64)) * weights, s=(8, 8))
    reference = Reference(Deployable(model).eval())
    single, double = reference(x), reference(x, "float64")
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.abs(double - truth).max() < 1e-13
    assert 1e-9 < np.abs(single - truth).max() < 1e-5
    assert model.filter.dtype == torch.complex64  # the double copy is a copy


def test_the_reference_of_bytes_rounds_what_float64_says() -> None:
    x = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    weights = Spectrum().filter.detach().numpy().astype(np.complex128)
    unit = x.transpose(0, 3, 1, 2) / 255
    truth = np.fft.irfft2(np.fft.rfft2(unit) * weights, s=(8, 8)).transpose(0, 2, 3, 1)
    output = Reference(Deployable(Spectrum(), "uint8_nhwc").eval())(x, "float64")
    np.testing.assert_array_equal(output, np.rint(np.clip(truth * 255, 0, 255)))
