from __future__ import annotations

import operator

import pytest
import torch
from fdikp_edge.export import aten

aten_ops = torch.ops.aten


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (aten_ops.add.Tensor, "add"),
        (aten_ops._to_copy.default, "_to_copy"),
        ("aten.add.Tensor", "add"),
        (operator.getitem, ""),
        ("image", ""),
    ],
)
def test_the_base_name_has_neither_namespace_nor_overload(target: object, name: str) -> None:
    assert aten.base_name(target) == name


def test_every_operator_of_a_family_exists() -> None:
    families = (aten.COPIES, aten.RESHAPES, aten.SHUFFLES, aten.ARITHMETIC, aten.NORMALISATIONS)
    missing = [name for family in families for name in family if not hasattr(aten_ops, name)]
    assert missing == []


def test_what_makes_a_picture_larger_is_told_from_what_does_not() -> None:
    larger = (
        aten_ops.pixel_shuffle.default,
        aten_ops.upsample_bilinear2d.vec,
        aten_ops._upsample_bicubic2d_aa.default,
        aten_ops.conv_transpose2d.input,
    )
    assert all(map(aten.is_upsampling, larger))
    assert not any(map(aten.is_upsampling, (aten_ops.pixel_unshuffle.default, aten_ops.conv2d.default)))
