"""The map of the error: a scale that means what it says, and files refused when they are no maps."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy import error_map, parity
from fdikp_edge.runtime.errors import ImageError, OutputError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.samples import sample_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def warm(colour: tuple[int, int, int]) -> bool:
    return colour[0] > colour[2]


@given(st.floats(0, 10))
def test_a_colour_is_warm_from_half_a_step_of_8_bits(error: float) -> None:
    colour = error_map.palette()[int(error_map.steps(np.array([error]))[0])]
    if not math.isclose(error, 0.5 / 255, rel_tol=1e-9):
        assert warm(colour) == (error > 0.5 / 255)


@given(st.floats(1e-9, 5), st.floats(1.0, 2.0))
def test_a_larger_error_never_looks_smaller(error: float, factor: float) -> None:
    less, more = error_map.steps(np.array([error, error * factor]))
    assert less <= more
    assert error_map.place(error) <= error_map.place(error * factor)
    if error > error_map.LOWEST and error * 1.34 < error_map.HIGHEST:
        assert less < error_map.steps(np.array([error * 1.34]))[0], "an eighth of a decade is another colour"


def test_colours_are_all_different_and_cover_the_ends() -> None:
    colours = error_map.palette()
    assert len(set(colours)) == len(colours) == 1 + error_map.COLD + error_map.WARM
    assert list(error_map.steps(np.array([0.0, 1e-9, 5.0]))) == [0, 0, len(colours) - 1]


@given(st.integers(1, 900), st.integers(1, 900), st.data())
def test_no_peak_is_lost_in_a_large_picture(height: int, width: int, data: st.DataObject) -> None:
    error = np.zeros((height, width))
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    error[row, column] = 0.3
    small = error_map._shrink(error)
    assert max(small.shape) <= error_map.MAX_SIDE
    block = math.ceil(max(height, width) / error_map.MAX_SIDE)
    assert small[row // block, column // block] == 0.3 and np.count_nonzero(small) == 1


def test_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    error = np.geomspace(1e-9, 2, 40 * 60).reshape(40, 60)
    error_map.write_map(error, tmp_path / "map.png")
    assert np.array_equal(error_map.read_map(tmp_path / "map.png"), error_map.steps(error))
    with Image.open(tmp_path / "map.png") as image:
        assert image.convert("RGB").getpixel((59, 39)) == error_map.palette()[-1]


def foreign_palette(path: Path) -> None:
    image = Image.new("P", (20, 20))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def unknown_step(path: Path) -> None:
    error_map.picture(np.full((4, 4), 200, np.uint8)).save(path)


def bomb(path: Path, width: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, 60000, 8, 3, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: bomb(path, 60000),
        lambda path: bomb(path, 2000),
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(sample_photo("chelsea").read_bytes()),
        lambda path: path.write_bytes(sample_photo("coffee").read_bytes()),
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * (2 << 20)),
        lambda path: error_map.picture(np.zeros((9, 900), np.uint8)).save(path),
        lambda path: (
            error_map.write_map(np.ones((40, 40)), path),
            path.write_bytes(path.read_bytes()[:-60]),
        ),
        foreign_palette,
        unknown_step,
    ],
)
def test_what_is_no_map_is_refused(write: object, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    write(path)  # type: ignore[operator]
    with pytest.raises(ImageError, match=r"map\.png"):
        error_map.read_map(path)


def test_the_worst_photo_is_kept_with_its_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = rng.uniform(0, 1, (24, 32, 3))
    worst = error_map.Worst()
    for name, size in (("good", 1e-6), ("bad", 1e-2), ("fair", 1e-4)):
        output = expected.copy()
        output[:, :8] += size
        worst(parity.compare(output, expected, name), output, expected)
    assert worst.seen is not None
    record = error_map.save(worst.seen, tmp_path / "errors", "mine")
    assert (record["photo"], record["size"], record["map"]) == ("bad", [24, 32], "errors/mine.png")
    assert record["max"] == pytest.approx(1e-2) and record["over_half_step"] == 0.25
    assert (record["p50"], record["p99"]) == (0, pytest.approx(1e-2))
    drawn = error_map.read_map(tmp_path / record["map"])
    assert (drawn[:, :8] == drawn[0, 0]).all() and (drawn[:, 8:] == 0).all()
    shown = read_photo(tmp_path / record["reference"])
    assert np.abs(shown.pixels / 255 - expected).max() <= 0.5 / 255 + 1e-9


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "errors").write_text("a file")
    picture = np.zeros((16, 16, 3))
    seen = error_map.Seen(parity.compare(picture, picture, "p"), picture, picture)
    with pytest.raises(OutputError, match="errors"):
        error_map.save(seen, tmp_path / "errors", "mine")
