"""Weights files that lie about themselves are refused with one short message."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.models.checkpoint import read_checkpoint, read_tensors
from fdikp_edge.runtime.errors import CheckpointError

Within = Callable[[Callable[[], Any]], Any]


def safetensors(shape: Any, dtype: Any = "F32", offsets: Any = (0, 16), *, key: str = "w") -> bytes:
    header = json.dumps({key: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def on_several_disks() -> bytes:
    """Return an archive whose end records say that there is more of it on other disks."""
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 0, 0, 0, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 1, 0, 5)
    return end64 + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0, 0, 0, 0, 0)


SAFETENSORS = {
    "a product of 5,000 digits": safetensors([10**600] * 8),
    "a side of 5,000 digits": safetensors([1]).replace(b"[1]", b"[" + b"9" * 5000 + b"]"),
    "90,000 sides": safetensors([200_000_000] * 90_000),
    "200,000 sides of 1": safetensors([1] * 200_000),
    "the largest sides that are allowed": safetensors([2**28] * 8),
    "negative": safetensors([-1, -4]),
    "true": safetensors([True, 4]),
    "text for a shape": safetensors("4"),
    "a table for a shape": safetensors({"4": 4}),
    "a table for a type": safetensors([4], {"F32": 1}),
    "places that overlap nothing": safetensors([4], offsets=[2**40, 2**40 + 16]),
    "a place of three": safetensors([4], offsets=[0, 16, 16]),
    "a key of 100,000 characters": safetensors([5], key="k" * 100_000),
    "a terminal's escape in a key": safetensors([5], key="\x1b]0;x\x07"),
    "infinite": safetensors([4]).replace(b"[4]", b"[Infinity]"),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors(case: str, tmp_path: Path, within: Within) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(SAFETENSORS[case])
    with pytest.raises(CheckpointError) as refusal:
        within(lambda: read_tensors(path))
    assert len(str(refusal.value)) < 600 + len(str(path))


PTH: dict[str, Callable[[], bytes]] = {
    "nested": lambda: saved({"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}),
    "jagged": lambda: saved(
        {"w": torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)], layout=torch.jagged)}
    ),
    "sparse": lambda: saved({"w": torch.eye(3).to_sparse()}),
    "meta": lambda: saved({"w": torch.ones(3, device="meta")}),
    "a key of 100,000 characters": lambda: saved({"k" * 100_000: 1}),
    "several disks": on_several_disks,
    "keys that are numbers": lambda: saved({1: torch.ones(3)}),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("case", PTH)
def test_pth(case: str, suffix: str, tmp_path: Path, within: Within) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(PTH[case]())
    with pytest.raises(CheckpointError) as refusal:
        within(lambda: read_checkpoint(path))
    assert len(str(refusal.value)) < 600 + len(str(path))
