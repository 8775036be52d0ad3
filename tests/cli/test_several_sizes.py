"""A folder with an artifact for each size, wherever an artifact may stand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.buckets.suggest import suggest_sizes
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
    assert json.loads(done.stdout)["summary"]["buckets"] == {"64x64": 1, "128x192": 1}
    photos = ("in/small.png", "in/large.png")
    done = cli("run", *photos, "-a", buckets, "--json", "--overwrite")
    rows = {Path(row["source"]).stem: row for row in json.loads(done.stdout)["photos"]}
    assert {name: (row["bucket"], row["tiles"]) for name, row in rows.items()} == {
        "small": ("64x64", 1),
        "large": ("128x192", 1),
    }
    for words in (photos, ("in",)):
        assert "128x192" in cli("run", *words, "-a", buckets, "--overwrite").stdout
    alone = cli("run", *photos, "-a", buckets / "64x64", "--overwrite", "--json")
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


def test_commands_on_artifacts_do_their_work_on_each_bucket(
    cli: Any, buckets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
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


NETWORK = """
import torch
from torch import nn
class Half(nn.Module):
    def forward(self, x):
        return torch.fft.irfft2(0.5 * torch.fft.rfft2(x), s=x.shape[-2:])
"""


def test_export_builds_a_row_for_each_size(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="building needs torch")
    (tmp_path / "net.py").write_text(NETWORK)
    words = ("export", "--model", "net.py:Half", "--target", "onnx", "--size", "16", "--size", "32x24")
    done = cli(*words, "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["artifacts"]
    assert [(row["size"], row["path"]) for row in rows] == [
        ([16, 16], "out/Half-onnx-fp32/16x16"),
        ([32, 24], "out/Half-onnx-fp32/32x24"),
    ]
    again = cli(*words, "--out", "out")
    assert again.returncode == 2 and "exists already" in again.stderr
    done = cli(*words[:-2], "--size", "24", "--out", "out", "--overwrite")
    assert done.returncode == 0 and "24x24" in done.stdout, done.stderr
    assert sorted(path.name for path in (tmp_path / "out/Half-onnx-fp32").iterdir()) == ["16x16", "24x24"]
    alone = cli(*words[:-2], "--out", "one", "--json")
    assert [row["path"] for row in json.loads(alone.stdout)["artifacts"]] == ["one/Half-onnx-fp32-16x16"]


def test_export_builds_sizes_for_a_photo(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="building needs torch")
    (tmp_path / "net.py").write_text(NETWORK)
    words = ("export", "--model", "net.py:Half", "--target", "onnx", "--out", "out", "--json")
    done = cli(*words, "--size", "for:1000x1500")
    assert done.returncode == 0, done.stderr
    sizes = [tuple(row["size"]) for row in json.loads(done.stdout)["artifacts"]]
    assert len(sizes) == 3 and sizes == suggest_sizes(1000, 1500)
    for words in (("export", "--size", "for:"), ("deploy", "--size", "for:0"), ("export", "--size", "4:3")):
        done = cli(*words, "--model", "tiny")
        assert done.returncode == 2 and "is not HEIGHTxWIDTH" in done.stderr


def test_a_table_belongs_to_one_size(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="building needs torch")
    (tmp_path / "net.py").write_text(NETWORK)
    words = ("--model", "net.py:Half", "--size", "16", "--size", "32")
    done = cli("calibrate", *words)
    assert done.returncode == 2 and "one size: give one --size" in " ".join(done.stderr.split())
    one = cli("calibrate", *words[:4], "--target", "onnx", "--out", "table.json")
    assert one.returncode == 0, one.stderr
    for command in ("export", "deploy"):
        done = cli(command, *words, "--precision", "int8", "--table", "table.json", "--out", "out")
        assert done.returncode == 2 and "leave out --table" in " ".join(done.stderr.split())
        assert not (tmp_path / "out").exists()


def test_inspect_lists_the_sizes(cli: Any, buckets: Path) -> None:
    shown = cli("inspect", buckets)
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in ("64x64", "128x192", "unverified", "shared"))
    content = json.loads(cli("inspect", buckets, "--json").stdout)
    shapes = [entry["passport"]["inputs"][0]["shape"] for entry in content["buckets"]]
    assert shapes == [[1, 3, 64, 64], [1, 3, 128, 192]]
