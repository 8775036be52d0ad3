"""A folder with an artifact for each size, wherever an artifact may stand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.images import Photo, write_photo

SIZES = ((64, 64), (128, 192))


@pytest.fixture
def buckets(make_artifact: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder of two sizes of a network that halves its input."""
    for size in SIZES:
        shutil.copytree(make_artifact(golden=0.5, size=size), tmp_path / "net" / "x".join(map(str, size)))
    return tmp_path / "net"


def test_each_photo_goes_through_a_bucket_of_its_own(cli: Any, buckets: Path, tmp_path: Path) -> None:
    for name, size in (("small", (50, 60)), ("large", (120, 190))):
        write_photo(tmp_path / "in" / f"{name}.png", Photo(pixels=np.zeros((*size, 3), np.uint8)))
    done = cli("run", "in", "-a", buckets, "--json")
    assert done.returncode == 0, done.stderr
    rows = {Path(row["source"]).stem: row for row in json.loads(done.stdout)["photos"]}
    assert {name: (row["bucket"], row["tiles"]) for name, row in rows.items()} == {
        "small": ("64x64", 1),
        "large": ("128x192", 1),
    }
    shown = cli("run", "in", "-a", buckets, "--overwrite").stdout
    assert "bucket" in shown and "128x192" in shown
    alone = cli("run", "in", "-a", buckets / "64x64", "--overwrite", "--json")
    assert "bucket" not in json.loads(alone.stdout)["photos"][0]


def test_arrays_go_through_the_bucket_of_their_shape(cli: Any, buckets: Path, tmp_path: Path) -> None:
    for name, size in (("small", SIZES[0]), ("large", SIZES[1]), ("other", (64, 192))):
        np.save(tmp_path / f"{name}.npy", np.ones((3, *size), np.float32))
    done = cli("run", "large.npy", "small.npy", "-a", buckets, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["arrays"]
    assert [(row["bucket"], row["shapes"]["deblurred"]) for row in rows] == [
        ("128x192", [1, 3, 128, 192]),
        ("64x64", [1, 3, 64, 64]),
    ]
    assert "128x192" in cli("run", "large.npy", "-a", buckets, "--overwrite").stdout
    done = cli("run", "other.npy", "-a", buckets)
    assert done.returncode == 2
    message = " ".join(done.stderr.split())
    assert "no bucket takes image [3, 64, 192]" in message and "float32[1, 3, 128, 192]" in message


def test_commands_on_artifacts_do_their_work_on_each_bucket(cli: Any, buckets: Path) -> None:
    verified = cli("verify", buckets, "--golden", "--json")
    assert verified.returncode == 0, verified.stderr
    names = [Path(row["path"]).name for row in json.loads(verified.stdout)["artifacts"]]
    assert names == ["128x192", "64x64"]
    assert "net/64x64" in cli("verify", buckets, "--golden").stdout
    timed = cli("bench", buckets, "--no-eager", "--runs", 3)
    assert "net/128x192" in timed.stdout and "net/64x64" in timed.stdout
    bundled = cli("bundle", buckets, "--json")
    assert bundled.returncode == 0, bundled.stderr
    assert json.loads(bundled.stdout)["artifacts"] == ["net-128x192", "net-64x64"]


def test_a_command_on_one_artifact_asks_for_one(cli: Any, buckets: Path) -> None:
    done = cli("bisect", buckets)
    assert done.returncode == 2 and "give the folder of one of them" in " ".join(done.stderr.split())
