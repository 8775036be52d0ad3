"""Every `torch.fft` function next to its twin: random shapes, axes, lengths and norms, odd ones included.

Spectra are random, so half spectra are not Hermitian. Each example lowers a handful of functions at once.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from spectral_networks.checks import check_twin
from torch import Tensor

NORMS = st.sampled_from([None, "backward", "ortho", "forward"])
modest = settings(max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


def tensors(shape: list[int], count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(shape) * 31 + len(shape))
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@st.composite
def one_axis(draw: st.DrawFn) -> tuple[list[int], dict[str, Any]]:
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    n = draw(st.one_of(st.none(), st.integers(1, 12)))
    assume(n is not None or shape[dim] > 1)
    return shape, {"n": n, "dim": dim, "norm": draw(NORMS)}


@st.composite
def several_axes(draw: st.DrawFn, count: int | None) -> tuple[list[int], dict[str, Any]]:
    """Distinct dims in any order and sign, or None; s None, shorter, longer, or -1 for "as it is"."""
    shape = draw(st.lists(st.integers(1, 7), min_size=count or 1, max_size=4))
    rank = len(shape)
    size = count or draw(st.integers(1, rank))
    dims: list[int] | None = draw(st.permutations(range(rank)))[:size]
    assert dims is not None
    dims = [d - rank if draw(st.booleans()) else d for d in dims]
    s = draw(st.one_of(st.none(), st.lists(st.integers(1, 9) | st.just(-1), min_size=size, max_size=size)))
    if draw(st.integers(0, 3)) == 0:
        dims = None if count is None else [-2, -1]
        size = rank if s is None and count is None else size
    last = -1 if dims is None else dims[-1]
    assume((s is not None and s[-1] != -1) or shape[last] > 1)
    return shape, {"s": s, "dim": dims, "norm": draw(NORMS)}


def family(suffix: str, options: dict[str, Any]) -> Any:
    """All functions of one rank on a real tensor and on a complex one, with the same options."""

    def named(name: str) -> Any:
        return getattr(torch.fft, name + suffix)

    def run(x: Tensor, re: Tensor, im: Tensor) -> list[Tensor]:
        z = torch.complex(re, im)
        from_real = [named(name)(x, **options) for name in ("fft", "ifft", "rfft", "ihfft", "irfft")]
        return from_real + [named(name)(z, **options) for name in ("fft", "ifft", "irfft", "hfft")]

    return run


@modest
@given(one_axis())
def test_one_dimension(example: tuple[list[int], dict[str, Any]]) -> None:
    shape, options = example
    check_twin(family("", options), *tensors(shape, 3))


@modest
@given(several_axes(2))
def test_two_dimensions(example: tuple[list[int], dict[str, Any]]) -> None:
    shape, options = example
    check_twin(family("2", options), *tensors(shape, 3))


@modest
@given(several_axes(None))
def test_any_dimensions(example: tuple[list[int], dict[str, Any]]) -> None:
    shape, options = example
    check_twin(family("n", options), *tensors(shape, 3))


@modest
@given(st.data())
def test_shifts(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    axes = st.integers(-len(shape), len(shape) - 1)
    distinct = st.lists(axes, max_size=3, unique_by=lambda d: d % len(shape))
    dim = data.draw(st.none() | axes | distinct)

    def run(x: Tensor, re: Tensor, im: Tensor) -> list[Tensor]:
        z = torch.complex(re, im)
        return [f(v, dim=dim) for f in (torch.fft.fftshift, torch.fft.ifftshift) for v in (x, z)]

    check_twin(run, *tensors(shape, 3), tolerance=0.0)


@pytest.mark.parametrize("length", [1, 2, 3, 16, 31, 60, 97, 128])
def test_round_trip_of_lengths(length: int) -> None:
    """Prime, composite and power-of-two lengths, each transform and its inverse in one program."""

    def run(x: Tensor) -> list[Tensor]:
        half, whole = torch.fft.rfft(x), torch.fft.fft(x)
        return [half, whole, torch.fft.irfft(half, n=length), torch.fft.ifft(whole), torch.fft.ihfft(x)]

    check_twin(run, torch.randn(2, length, generator=torch.Generator().manual_seed(length)))


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (8, 7), (5, 9), (24, 40), (45, 33)])
def test_planes(size: tuple[int, int]) -> None:
    """A pair on planes, and an inverse of a spectrum that no real image has."""
    height, width = size

    def run(x: Tensor, re: Tensor, im: Tensor) -> list[Tensor]:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        other = torch.complex(re, im)
        return [
            spectrum,
            torch.fft.irfft2(spectrum * other, s=size, norm="ortho"),
            torch.fft.irfft2(other, s=size),
            torch.fft.ifft2(torch.fft.fft2(x) * (1 + 2j)),
        ]

    (x,) = tensors([2, 3, height, width], 1)
    re, im = tensors([3, height, width // 2 + 1], 2)
    check_twin(run, x, re, im)


@pytest.mark.parametrize("length", [6, 7])
def test_imaginary_parts_without_a_meaning_are_dropped(length: int) -> None:
    """DC and, for even lengths, Nyquist: their imaginary parts do not change the result."""
    re, im = tensors([length // 2 + 1], 2)
    other = im.clone()
    other[0] += 100
    if length % 2 == 0:
        other[-1] -= 50

    def run(a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
        one = torch.fft.irfft(torch.complex(a, b), n=length)
        two = torch.fft.irfft(torch.complex(a, c), n=length)
        return [one, two, one - two]

    check_twin(run, re, im, other)


def test_real_coefficients_have_imaginary_parts_of_exactly_zero() -> None:
    """The phase of a negative real coefficient is pi: any noise around zero would make it minus pi."""

    def run(x: Tensor) -> list[Tensor]:
        spectrum = torch.fft.rfft2(x)
        corners = spectrum[..., ::6, ::5]
        line = torch.fft.rfft(x)[..., ::5]
        return [corners.imag, line.imag, torch.angle(corners), torch.angle(line)]

    check_twin(run, tensors([3, 12, 10], 1)[0])


def test_frequencies_are_constants() -> None:
    def run(x: Tensor) -> list[Tensor]:
        ramp = torch.exp(-2j * torch.pi * 0.3 * torch.fft.fftfreq(9))
        return [torch.fft.fft(x) * ramp, x[..., :5] * torch.fft.rfftfreq(9, d=0.5)]

    check_twin(run, tensors([2, 9], 1)[0])


def test_integer_images_are_taken_as_torch_takes_them() -> None:
    image = torch.arange(2 * 6 * 5, dtype=torch.uint8).reshape(2, 6, 5)

    def run(x: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(x.float()), torch.fft.fft(x)]

    check_twin(run, image)
