"""Sums, means and products of complex tensors next to their twins in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spectral_networks.checks import check_twin, expressions, parts
from torch import Tensor

REDUCTIONS = expressions(
    "z",
    """
    z.sum()
    z.mean()
    z.sum(dim=1)
    z.sum(dim=(0, -1), keepdim=True)
    z.mean(dim=-1)
    z.mean(dim=(1, 2), keepdim=True)
    torch.sum(z, dim=[0, 1, 2])
    z - z.mean(dim=-1, keepdim=True)
    z.abs().amax(dim=(1, 2), keepdim=True)
    z.cumsum(dim=1)
    torch.linalg.vector_norm(z, dim=-1)
    z.norm()
    z.abs().pow(2).sum(dim=-1).sqrt()
    z.prod(dim=-1)
    """,
)


def test_reductions() -> None:
    def run(re: Tensor, im: Tensor) -> dict[str, Any]:
        return {source: f(torch.complex(re, im)) for source, f in REDUCTIONS.items()}

    check_twin(run, *parts((2, 3, 4)))


PRODUCTS = {
    "matrices": expressions(
        "a b v",
        """
        a[0] @ b[0]
        torch.mm(a[0], b[0])
        torch.bmm(a, b)
        torch.matmul(a, b)
        a @ b[1]
        a[0] @ b
        a.unsqueeze(1) @ b
        b.mH @ a.mH
        a.conj() @ b
        a.mT.conj() @ a
        torch.baddbmm(a @ b, a, b, alpha=0.5, beta=2)
        torch.addmm(a[0] @ b[0], a[1], b[1])
        """,
    ),
    "vectors": expressions(
        "a b v",
        """
        a @ v
        torch.mv(a[0], v)
        v @ b
        torch.dot(v, v)
        torch.vdot(v, v * 1j)
        torch.outer(v, v.conj())
        torch.nn.functional.linear(a, v[None], v[:1])
        torch.inner(v, v)
        torch.tensordot(a, b, dims=([2], [1]))
        torch.kron(v, v)
        """,
    ),
    "einsum": expressions(
        "a b v",
        """
        torch.einsum("bij,bjk->bik", a, b)
        torch.einsum("bij,bjk->bk", a, b)
        torch.einsum("...ij,...jk->...ik", a, b)
        torch.einsum("bij,j", a, v)
        torch.einsum("bij,bjk,k->bi", a, b, v[:2])
        torch.einsum("bij->jb", a)
        torch.einsum("i,j->ij", v, v.conj())
        torch.einsum("bij,cjk->bcik", a, b)
        torch.einsum("bii->bi", a @ a.mH)
        torch.einsum("b i j, j -> b i", a, v)
        """,
    ),
    "with real matrices": expressions(
        "a b v",
        """
        a @ b.real.to(a.dtype)
        a.abs().to(a.dtype) @ b
        torch.einsum("bij,bjk->bik", a, torch.complex(b.real, torch.zeros_like(b.real)))
        torch.complex(a.real @ b.real, a.imag @ b.real)
        """,
    ),
}


@pytest.mark.parametrize("group", PRODUCTS)
def test_products(group: str) -> None:
    def run(ar: Tensor, ai: Tensor, br: Tensor, bi: Tensor, vr: Tensor, vi: Tensor) -> dict[str, Any]:
        a, b, v = torch.complex(ar, ai), torch.complex(br, bi), torch.complex(vr, vi)
        return {source: f(a, b, v) for source, f in PRODUCTS[group].items()}

    check_twin(run, *parts((2, 3, 4)), *parts((2, 4, 2), seed=1), *parts((4,), seed=2))
