"""Moving complex values about, making them and writing into them: exact next to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import Twin, as_tuple, assert_close, check_twin, expressions, parts
from torch import Tensor

SHAPE = (2, 3, 4, 5)
PAIR = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)),
        torch.randn(SHAPE, generator=torch.Generator().manual_seed(2)))  # fmt: skip

MOVES = {
    "shape": expressions(
        "z",
        """
        z.reshape(6, -1)
        z.view(2, 12, 5)
        z.flatten(1)
        z.unflatten(2, (2, 2))
        z.unsqueeze(-1)
        z.unsqueeze(1).squeeze(1)
        z[:1].squeeze()
        z.ravel()
        z.reshape(-1, 20).view(2, 3, 20)
        z.view_as(z)
        z.squeeze(0)
        z[:1, :1].squeeze((0, 1))
        torch.atleast_3d(z[0, 0])
        """,
    ),
    "order": expressions(
        "z",
        """
        z.permute(0, 2, 3, 1)
        z.transpose(-1, 1)
        z.movedim(1, -1)
        z[0, 0].t()
        z.mT
        z.mH
        z.swapaxes(0, 2).contiguous()
        z.flip(1, -1)
        z.roll(2)
        z.roll((1, -1), (0, 3))
        z.rot90(1, (2, 3))
        z[0, 0].T
        z.adjoint()
        torch.fliplr(z)
        torch.einsum("abcd->dcab", z)
        z.permute(0, 2, 3, 1).contiguous().view(2, 4, 15)
        z.to(memory_format=torch.channels_last)
        """,
    ),
    "repeat": expressions(
        "z",
        """
        z.expand(2, *z.shape)
        z[:1].expand(4, -1, -1, -1)
        z.repeat(1, 2, 1, 3)
        z.tile(2, 1)
        z.repeat_interleave(2, dim=1)
        z[:1].expand_as(z)
        torch.broadcast_to(z[..., :1], z.shape)
        torch.cat(torch.broadcast_tensors(z, z[:1]))
        """,
    ),
    "select": expressions(
        "z",
        """
        z[0]
        z[..., 1]
        z[:, 1:, ::2, -3:]
        z[:, None, 2]
        z[-1, :, 1:3]
        z.narrow(2, 1, 2)
        z.select(1, -1)
        z.unbind(1)
        z.chunk(2, dim=-1)
        z.split(2, dim=1)
        z.split([1, 4], dim=-1)
        z.diagonal(dim1=2, dim2=3)
        z.index_select(1, torch.tensor([2, 0]))
        z[:, torch.tensor([0, 2, 1])]
        z[:, [2, 0]]
        z[torch.tensor([0, 1]), torch.tensor([1, 2])]
        z.tensor_split(2, dim=1)
        z[..., 3:100]
        torch.gather(z, 3, torch.zeros(2, 3, 4, 2, dtype=torch.long))
        z.unfold(3, 2, 2)
        z.triu()
        z.take_along_dim(torch.ones(2, 3, 4, 1, dtype=torch.long), 3)
        z.tril(-1)
        """,
    ),
    "join": expressions(
        "z",
        """
        torch.cat((z, z * 2), dim=1)
        torch.stack((z, z.conj()), dim=-1)
        torch.hstack((z, z))
        torch.cat((z, z.real), dim=0)
        torch.stack((z[0], z[1], z[0]), dim=2)
        torch.vstack((z, z))
        F.pad(z, (1, 2, 0, 3))
        F.pad(z, (-1, 1))
        F.pad(z, (1, 0), value=2.0)
        z.clone()
        z.detach() + 0
        torch.concat([z.abs(), z.imag], -1)
        """,
    ),
    "make": expressions(
        "z",
        """
        z + torch.zeros_like(z)
        z + torch.ones_like(z)
        z * torch.full_like(z, 1 + 2j)
        z + z.new_zeros(5)
        z * z.new_ones(4, 1)
        z + torch.zeros(5, dtype=z.dtype)
        z + torch.ones(5, dtype=torch.cfloat)
        z + torch.full((4, 5), 2 - 1j)
        z[..., :4] @ torch.eye(4, dtype=z.dtype)
        z * torch.tensor([1j, 2, 3 - 1j, 0, 1])
        z * torch.exp(1j * torch.arange(5))
        z * torch.polar(torch.ones(5), torch.linspace(0, 1, 5))
        z + z.new_full((5,), 1j)
        z.to(torch.complex128).to(torch.complex64)
        z.real.to(z.dtype)
        z * torch.complex(torch.arange(5.0), torch.ones(5))
        z.type(torch.complex64) + torch.view_as_complex(torch.ones(5, 2))
        z + torch.scalar_tensor(2j, dtype=torch.cfloat)
        """,
    ),
    "pairs": expressions(
        "z",
        """
        torch.view_as_real(z)
        torch.view_as_complex(torch.view_as_real(z))
        torch.view_as_real(z)[..., 1]
        torch.view_as_complex(torch.view_as_real(z).flip(-1).contiguous())
        torch.view_as_real(z).permute(0, 4, 1, 2, 3).flatten(1, 2)
        torch.view_as_real(z).flatten(-2)
        torch.view_as_complex(torch.stack((z.imag, z.real), -1))
        torch.view_as_real(z.conj().resolve_conj()).sum(-1)
        torch.view_as_real(z).unbind(-1)
        torch.view_as_complex(z.abs().reshape(2, 3, 10, 2))
        torch.view_as_real(z).chunk(2, dim=-1)
        """,
    ),
}


@pytest.mark.parametrize("group", MOVES)
def test_moves(group: str) -> None:
    def run(re: Tensor, im: Tensor) -> dict[str, Any]:
        z = torch.complex(re, im)
        return {source: move(z) for source, move in MOVES[group].items()}

    check_twin(run, *PAIR, tolerance=2e-7)


def write_values(z: Tensor, r: Tensor) -> Tensor:
    z[..., 0] = 0
    z[0, 1] = 2.5
    z[1, :, 1:3, ::2] = 1 - 2j
    z[:, 2] = torch.tensor(1j)
    return z


def write_blocks(z: Tensor, r: Tensor) -> Tensor:
    z[:, :2, 1:3, :2] = z[:, 1:, :2, -2:].conj()
    z[0] = r[0]
    z[..., 3] = z[..., 2:3].squeeze(-1) * 1j
    z[:, :, -1:] = z[:, :, :1]
    return z


def write_in_place(z: Tensor, r: Tensor) -> Tensor:
    z += 1
    z[:, 1] *= 2j
    z -= r
    z[..., 1:] /= 2 + 1j
    z[0].add_(z[1], alpha=0.5)
    z[..., -1].zero_()
    z[:, 0].mul_(r[:, 0])
    z.conj_physical_().neg_()
    return z


def write_copies(z: Tensor, r: Tensor) -> Tensor:
    copy = torch.empty_like(z)
    copy.copy_(z)
    copy[:, 0].copy_(r[:, 0])
    copy[:, 1].fill_(3j)
    target = torch.zeros(2, 3, 6, 5, dtype=z.dtype)
    target[:, :, :2], target[:, :, -2:] = copy[:, :, :2], copy[:, :, -2:]
    return target


def write_components(z: Tensor, r: Tensor) -> Tensor:
    z.real[..., 0] = r[..., 1]
    z.imag.mul_(2)
    z.imag[:, 1] = 0
    torch.view_as_real(z)[0, ..., 1] += 1
    return z


def write_masked(z: Tensor, r: Tensor) -> Tensor:
    z = z.masked_fill(r > 0.5, 0)
    z.masked_fill_(r < -0.5, 1 + 1j)
    return torch.where(r.abs() < 0.1, z.conj(), z)


def write_indexed(z: Tensor, r: Tensor) -> Tensor:
    z[:, torch.tensor([0, 2])] = 1j
    z[torch.tensor([0, 1]), torch.tensor([1, 2])] = r[0, :2].to(z.dtype)
    return z


WRITES = [
    write_values, write_blocks, write_in_place, write_copies, write_components, write_masked, write_indexed
]  # fmt: skip


@pytest.mark.parametrize("write", WRITES, ids=lambda function: function.__name__)
def test_writes(write: Callable[[Tensor, Tensor], Tensor]) -> None:
    real = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    check_twin(lambda re, im, r: write(torch.complex(re, im), r), *PAIR, real, tolerance=2e-7)


class Held(torch.nn.Module):
    """Complex values that the module holds in every way a module can hold them."""

    plain: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)

        def values(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.cfloat, generator=generator)

        self.weight = torch.nn.Parameter(values(5))
        self.listed = torch.nn.ParameterList([values(4, 1), values(1)])
        self.register_buffer("saved", values(3, 1, 1))
        self.register_buffer("unsaved", values(4, 5), persistent=False)
        self.plain = values(5)
        self.shared = self.weight

    def forward(self, re: Tensor, im: Tensor) -> Tensor:
        z = torch.complex(re, im) * self.weight + self.listed[0] - self.listed[1]
        z = z * self.saved + self.unsaved.conj() * self.plain + self.shared.abs()
        return torch.view_as_real(z)


def test_parameters_buffers_and_constants() -> None:
    from fdikp_edge.export.spectral import lower
    from spectral_networks.checks import as_tuple, assert_close, assert_real

    module = Held().eval()
    program = lower(module, PAIR).program
    assert_real(program)
    with torch.no_grad():
        assert_close(as_tuple(program.module()(*PAIR)), [module(*PAIR)], 1e-6)


def test_sums_in_a_wider_dtype() -> None:
    def sums(re: Tensor, im: Tensor) -> tuple[Tensor, ...]:
        z = torch.complex(re, im)
        return (
            z.sum(dtype=torch.complex128),
            z.cumsum(0, dtype=torch.complex128),
            re.sum(0, dtype=torch.complex64),
        )

    inputs = tuple(parts((3, 4)))
    got = as_tuple(lower(Twin(sums).eval(), inputs).program.module()(*inputs))
    want = Twin(sums)(*inputs)
    assert [value.dtype for value in got] == [value.dtype for value in want]
    assert_close(got, want, 1e-6)


def test_scatter_of_numbers_and_reductions() -> None:
    index = torch.tensor([[0, 1, 0], [2, 0, 1]])

    def written(re: Tensor, im: Tensor, r: Tensor) -> dict[str, Tensor]:
        z = torch.complex(re, im)
        return {
            "a real number": z.scatter(0, index, 2.5),
            "a complex number": z.scatter(0, index, 1 - 2j),
            "added number": z.scatter(0, index, 2.5, reduce="add"),
            "added values": z.scatter(0, index, 2 * z, reduce="add"),
            "times a number": z.scatter(0, index, 3.0, reduce="multiply"),
            "times a complex zero": z.scatter(0, index, 3 + 0j, reduce="multiply"),
        }

    values = parts((3, 3), 3)
    check_twin(written, *values, tolerance=1e-6)


def test_values_of_other_types_beside_complex_ones() -> None:
    def mixed(re: Tensor, im: Tensor, r: Tensor) -> tuple[Tensor, ...]:
        z = torch.complex(re, im)
        a, b = torch.broadcast_tensors(z, r[:1])
        return (a, b, z.sum() - r.double().sum(), torch.nn.functional.l1_loss(z, r))

    inputs = tuple(parts((3, 4), 3))
    got = as_tuple(lower(Twin(mixed).eval(), inputs).program.module()(*inputs))
    want = Twin(mixed)(*inputs)
    assert [value.dtype for value in got] == [value.dtype for value in want]
    assert want[2].dtype == torch.float64
    assert_close(got, want, 1e-6)
