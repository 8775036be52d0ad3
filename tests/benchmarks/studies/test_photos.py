"""The studies of a large photo and of folders: every second is accounted for, and each way does the work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.benchmarks.studies import album_rate, large_photo
from torch import nn


@pytest.fixture
def sizes(make_artifact: Any, tmp_path: Path) -> Path:
    network = nn.Conv2d(3, 3, 3, padding=1)
    for side in (64, 128):
        shutil.copytree(make_artifact(network, size=(side, side)).path, tmp_path / "net" / f"{side}x{side}")
    return tmp_path / "net"


def test_a_large_photo(sizes: Path, tmp_path: Path) -> None:
    result = large_photo.compare(sizes, 0.15, 2, tmp_path)
    before, auto = result["rows"]
    assert (before["tile"], before["halo"], before["sessions"]) == ("64x64", 8, 1)
    assert auto["tile"] in ("64x64", "128x128") and auto["halo"] <= 16
    for row in (before, auto):
        parts = [row[name] for name in ("decode", "network", "tiles", "blend", "encode")]
        assert all(part > 0 for part in parts) and sum(parts) == pytest.approx(row["total"])
        assert row["clock"] > 0 and row["overlap"] > 1
    assert set(result["alone"]) == {"64x64", "128x128"}
    assert all(one["clock"] > 0 and one["total"] > 0 for one in result["alone"].values())
    text = large_photo.show(result)
    assert "before, by auto" in text and "network alone" in text


def test_folders(sizes: Path) -> None:
    rows = album_rate.rates([sizes / "64x64", sizes / "64x64"], 3, 0.02, 2)
    assert [row["way"] for row in rows] == 2 * ["before", "--jobs 1", "--jobs 2"]
    assert rows[0]["artifact"] == "net/64x64"
    assert all(row["photos_per_second"] > 0 and row["processor"] > 0 for row in rows)
    assert rows[0]["faster"] == 1.0
    assert "photos/s" in album_rate.show({"rows": rows})
