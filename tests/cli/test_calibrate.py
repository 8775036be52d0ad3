"""What `calibrate` says of bad photos and `deploy` of bad tables: one message, an exit code, no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.calibration.table import MAX_BYTES
from fdikp_edge.export.roles import FIRST, LAST
from fdikp_edge.models import sources
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo
from spectral_net import SpectralNet

QUICK = ("--target", "onnx", "--tiles", "2")


def photos(
    folder: Path, count: int = 4, size: tuple[int, int] = (300, 320), level: int | None = None
) -> Path:
    """Write photos of noise around different greys, or of one level."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        noise = rng.integers(0, 90, (*size, 3)) + 40 * index
        pixels = np.full((*size, 3), level) if level is not None else noise
        write_photo(folder / f"{index}.png", Photo(pixels.clip(0, 255).astype(np.uint8)))
    return folder


def refused(done: Any, *messages: str, code: int = 2) -> None:
    """Check that a command left with one message and nothing else."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    for message in messages:
        assert message in done.stderr


@pytest.mark.parametrize(
    ("make", "messages"),
    [
        (lambda path: photos(path, 1), ["1 photo to calibrate with", "at least 2"]),
        (lambda path: photos(path, 3, level=0), ["all 3 photos are black"]),
        (lambda path: path.mkdir(), ["no photo", "mine"]),
        (lambda path: None, ["mine", "no such photo or folder"]),
        (lambda path: path.write_text("no picture"), ["1 photo to calibrate with"]),
    ],
)
def test_photos_that_cannot_be_calibrated_with(
    make: Any, messages: list[str], cli: Any, tmp_path: Path
) -> None:
    make(tmp_path / "mine")
    refused(cli("calibrate", "mine", *QUICK), *messages)
    assert not (tmp_path / "table.json").exists()


def test_a_photo_that_is_damaged_is_named(cli: Any, tmp_path: Path) -> None:
    whole = photos(tmp_path / "mine", 2)
    (whole / "2.jpg").write_bytes((whole / "0.png").read_bytes()[:2000])
    refused(cli("calibrate", "mine", *QUICK), "2.jpg")


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (["--max-drop-db", "-1"], ["max_drop_db -1"]),
        (["--max-drop-db", "nan"], ["max_drop_db nan"]),
        (["--min-speedup", "0"], ["min_speedup 0"]),
        (["--max-drop-db", "much"], ["--max-drop-db"]),
        (["--pairs", "."], ["--max-drop-db"]),
        (["--pairs", "missing", "--max-drop-db", "0.1"], ["missing", "no such folder"]),
        (["--threads", "0"], ["--threads"]),
        (["--tiles", "1"], ["--tiles"]),
        (["--defocus", "soft"], ["--defocus soft", "as 0,1.5,3"]),
        (["--defocus", ""], ["--defocus", "empty value for --defocus"]),
        (["--defocus", "0,-1"], ["--defocus 0,-1", "0 to 32"]),
        (["--defocus", "0,inf"], ["--defocus 0,inf"]),
        (["--defocus", "nan"], ["--defocus nan"]),
        (["--target", "onyx"], ["onyx"]),
    ],
)
def test_options_that_make_no_sense(args: list[str], messages: list[str], cli: Any, tmp_path: Path) -> None:
    refused(cli("calibrate", *args), *messages)
    assert list(tmp_path.iterdir()) == []


def test_bounds_are_for_int8(cli: Any) -> None:
    refused(cli("deploy", "--max-drop-db", "0.1", "--precision", "fp16"), "--precision int8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "not a usable calibration table"),
        (b"{", "not a usable calibration table"),
        (b"\xff\xfe\x00", "not a usable calibration table"),
        (b"[" * 100_000, "not a usable calibration table"),
        (b'{"format": "fdikp-edge calibration table", "version": 99}', "version is 99"),
        (b'"' + b"x" * (MAX_BYTES + 10) + b'"', "larger than the 16 MB allowed"),
        (b'{"format": "fdikp-edge calibration table", "version": 2, "sha256": "0"}', "edited by hand"),
        (b'{"format": "fdikp-edge calibration table", "version": 1}', "reads 2: calibrate again"),
    ],
)
def test_tables_that_are_none(content: bytes | None, message: str, cli: Any, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "table.json").write_bytes(content)
    refused(cli("deploy", "--target", "onnx", "--precision", "int8", "--table", "table.json"), message)
    assert {path.name for path in tmp_path.iterdir()} <= {"table.json"}


def test_a_folder_is_no_table(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "table.json").mkdir()
    refused(cli("deploy", "--precision", "int8", "--table", "table.json"), "table.json")


def test_a_table_from_few_small_photos_and_whom_it_is_for(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "mine", 2, size=(100, 120))
    done = cli("calibrate", "mine", *QUICK, "--json", "--out", "mine.json")
    assert done.returncode == 0, done.stderr
    assert "only 2 photos" in done.stderr
    assert "smaller than a tile of 256x256: 0.png, 1.png" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["path"] == "mine.json" and len(summary["warnings"]) == 2
    # Photos of the user's own are as they are, unless told otherwise.
    assert summary["samples"]["radii"] == [0]
    with monkeypatch.context() as small:  # a network that is lowered in a second: this is about the photos
        small.setattr("fdikp_edge.cli.options.source_of", lambda *_: sources.of(SpectralNet().eval()))
        soft = cli("calibrate", "mine", *QUICK, "--defocus", "2,0", "--json", "--out", "soft.json")
    assert json.loads(soft.stdout)["samples"]["radii"] == [0, 2]
    (tmp_path / "soft.json").unlink()
    (program,) = summary["programs"]
    assert 0 < program["int8_layers"] < program["layers"] and program["mixture"] is None

    table = (tmp_path / "mine.json").read_bytes()
    refused(cli("calibrate", "mine", *QUICK, "--out", "mine.json"), "exists already", "--overwrite")
    assert (tmp_path / "mine.json").read_bytes() == table

    build = ("deploy", "--target", "onnx", "--precision", "int8", "--table", "mine.json")
    refused(cli(*build, "--seed", "3"), "was made for tiny", "weights are now")
    refused(cli(*build, "--size", "256x384"), "was made for tiny", "not for 256x384")
    content = json.loads(table)
    content["programs"][program["program_sha256"]]["onnx"]["layers"][0]["reason"] = "by hand"
    (tmp_path / "mine.json").write_text(json.dumps(content))
    refused(cli(*build), "edited by hand")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.json"]


def test_one_table_serves_targets_that_share_a_program_each_with_its_own_layers(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("openvino", "coremltools"):
        pytest.importorskip(module)
    # A network that every target lowers to the same program, which no variant of the zoo is.
    monkeypatch.setattr("fdikp_edge.cli.options.source_of", lambda *_: sources.of(SpectralNet().eval()))
    names = ("onnx", "openvino", "coreml")
    photos(tmp_path / "mine", 2)
    done = cli("calibrate", "mine", "--tiles", "2", "--json", *asked(names))
    assert done.returncode == 0, done.stderr
    programs = {entry["profile"]: entry for entry in json.loads(done.stdout)["programs"]}
    assert set(programs) == set(names)
    assert len({entry["program_sha256"] for entry in programs.values()}) == 1

    quick = ("--precision", "int8", "--threads", "1", "--runs", "3", "--seconds", "0.2", "--json")
    done = cli("deploy", *asked(names), "--table", "table.json", *quick, "--out", "all")
    report = json.loads(done.stdout)
    artifacts = {row["target"]: Artifact.open(tmp_path / "all" / row["path"]) for row in report["artifacts"]}
    for name, artifact in artifacts.items():
        passport = artifact.passport
        assert passport.precision_census.get("int8 layers", 0) == programs[name]["int8_layers"]
        assert passport.program_sha256 == programs[name]["program_sha256"]
    ends = {
        name: {end for end in (FIRST, LAST) if any(end in note for note in artifact.passport.notes)}
        for name, artifact in artifacts.items()
    }
    assert ends == {"onnx": {FIRST, LAST}, "openvino": {LAST}, "coreml": set()}

    # The order of the targets decides nothing.
    done = cli("calibrate", "mine", "--tiles", "2", *asked(names[::-1]), "--out", "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "table.json").read_bytes()

    assert cli("calibrate", "mine", "--tiles", "2", *asked(["onnx"]), "--out", "one.json").returncode == 0
    done = cli("deploy", *asked(["openvino"]), "--table", "one.json", *quick, "--out", "one")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (row,) = json.loads(done.stdout)["artifacts"]
    assert row["state"] == "failed" and "was made for onnx, not for openvino" in row["reason"]
    assert not [path for path in (tmp_path / "one").iterdir() if "int8" in path.name]


def asked(targets: Iterable[str]) -> list[str]:
    """Return the options that name targets."""
    return [word for name in targets for word in ("--target", name)]
