"""The float64 reference of networks that name dtypes in their code, and errors that say where it failed."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.export.contracts import Deployable
from fdikp_edge.export.reference import Reference
from fdikp_edge.export.spectral.program_check import own_error
from fdikp_edge.models.widening import converted, own_copy
from fdikp_edge.runtime.errors import BadInputError
from torch import Tensor, nn
from torch.nn.utils import parametrizations

SIZE = (8, 12)


def seeded(module: type[nn.Module], *args: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return module(*args).eval()


class Casting(nn.Module):
    """A filter between a cast to float32 and a convolution, as networks with an FFT are written."""

    def __init__(self, single: bool = True) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 3, padding=1)
        self.single = single

    def forward(self, x: Tensor) -> Tensor:
        given = x * 0.3
        given = given.float() if self.single else given
        return self.mix(torch.fft.irfft2(torch.fft.rfft2(given) * 0.5, s=x.shape[-2:]))


class Modes(nn.Module):
    """A Fourier layer: complex weights, written into a spectrum of zeros of a named dtype."""

    def __init__(self, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 4, 4, dtype=torch.complex64).to(dtype))
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        out = torch.zeros(spectrum.shape, dtype=self.dtype)
        out[:, :, :4, :4] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :4, :4], self.weight)
        return torch.fft.irfft2(out, s=x.shape[-2:], norm="ortho")


class Grid(nn.Module):
    """Stores a tensor that is neither parameter nor buffer, and makes others from whole numbers."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.window = torch.hann_window(SIZE[1], dtype=torch.float32).to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.arange(SIZE[0])[:, None]
        places = (whole if self.dtype == torch.float32 else whole.double()) / torch.tensor(7)
        grid = torch.as_tensor(places, dtype=self.dtype) * torch.full((1,), 0.1, dtype=self.dtype)
        return torch.cat([x * self.window, grid.expand_as(x).to(self.dtype)]).sum(0, keepdim=True)


class Recurrent(nn.Module):
    """An LSTM over rows, which compares the dtype of its input with that of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(SIZE[1], SIZE[1], batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x[0])[0][None]


class Tied(nn.Module):
    """One weight in two places, normalised by a parametrisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
        self.second = nn.Conv2d(3, 3, 1)
        self.third = nn.Conv2d(3, 3, 1)
        self.third.weight = self.second.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.third(torch.relu(self.second(self.first(x))))


class Hidden(nn.Module):
    """Keeps a convolution in a list, where PyTorch does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Conv2d(3, 3, 3, padding=1)]

    def forward(self, x: Tensor) -> Tensor:
        return self.parts[0](x)


class NoCopy(Casting):
    """Cannot be copied by ``copy.deepcopy``, for two reasons."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super(nn.Linear, self).__setstate__(state)  # type: ignore[misc]


def image(seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((1, 3, *SIZE), dtype=np.float32)


def plain(module: nn.Module) -> np.ndarray[Any, Any]:
    """What a module makes in double precision with no help."""
    with torch.no_grad():
        result: np.ndarray[Any, Any] = module.double()(torch.from_numpy(image()).double()).numpy()
    return result


def widened(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    return module


CASES = {
    "cast": (seeded(Casting), lambda: seeded(Casting, False)),
    "complex": (seeded(Modes), lambda: widened(seeded(Modes, torch.complex128), torch.complex128)),
    "tensors": (seeded(Grid), lambda: seeded(Grid, torch.float64)),
    "lstm": (seeded(Recurrent), lambda: seeded(Recurrent)),
    "tied": (seeded(Tied), lambda: seeded(Tied)),
    "hidden": (seeded(Hidden), lambda: seeded(Hidden).parts[0]),
    "no copy": (seeded(NoCopy), lambda: seeded(Casting, False)),
}


@pytest.mark.parametrize("name", CASES)
def test_float64_is_what_the_network_computes_without_its_casts(name: str) -> None:
    module, same = CASES[name]
    before = {key: (id(value), value.dtype) for key, value in module.named_parameters()}
    reference = Reference(Deployable(module).eval())
    truth = plain(same())
    double, single = reference(image(), "float64"), reference(image())
    assert reference.float64_problem == ""
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    assert np.abs(double - truth).max() < 1e-13 * np.abs(truth).max()
    assert 1e-10 < np.abs(single - truth).max() < 1e-5
    assert before == {key: (id(value), value.dtype) for key, value in module.named_parameters()}
    assert torch.get_default_dtype() == torch.float32


def test_a_copy_shares_tensors_and_nothing_else() -> None:
    module = seeded(Tied)
    copied = own_copy(module)
    assert {type(a) for a in copied.modules()} == {type(a) for a in module.modules()}
    pairs = list(zip(copied.parameters(), module.parameters(), strict=True))
    assert all(a is not b and a.data_ptr() == b.data_ptr() for a, b in pairs)
    assert copied.third.weight is copied.second.weight
    assert not {id(part) for part in copied.modules()} & {id(part) for part in module.modules()}
    half = converted(module, {torch.float32: torch.float16})
    assert {p.dtype for p in half.parameters()} == {torch.float16}
    assert {p.dtype for p in module.parameters()} == {torch.float32}


class Bits(nn.Module):
    """Reads the bits of its floats, which mean something else in double precision."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.view(torch.int32) & ~0xFF).view(torch.float32) * 0.3


def test_without_float64_the_reference_is_float32_and_says_so() -> None:
    reference = Reference(Deployable(Bits()).eval())
    double = reference(image(), "float64")
    assert double.dtype == np.float64
    np.testing.assert_array_equal(double, reference(image()).astype(np.float64))
    assert "no float64 reference" in reference.float64_problem
    assert "bits of its floats" in reference.float64_problem
    assert torch.get_default_dtype() == torch.float32


def test_a_network_that_does_not_run_is_named_as_the_reference() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(5)

    with pytest.raises(BadInputError, match=r"reference could not be computed.*eager.*invalid for input"):
        Reference(Deployable(Broken()).eval())(image(), "float64")


def test_a_script_keeps_float32_and_says_so() -> None:
    scripted = torch.jit.script(seeded(Casting, False))
    reference = Reference(Deployable(scripted).eval())
    np.testing.assert_array_equal(reference(image(), "float64"), reference(image()).astype(np.float64))
    assert "RuntimeError" in reference.float64_problem


def test_the_lowering_knows_the_error_of_networks_that_cast() -> None:
    """:func:`own_error` decides what a lowering may be off by; 0 stands for unknown."""
    x = (torch.from_numpy(image()),)
    for module, _ in CASES.values():
        with torch.no_grad():
            assert 0 < own_error(module, x, module(*x)) < 1e-4
