"""What cannot be read or written is refused by name, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.errors import BadInputError, ImageError, OutputError
from fdikp_edge.runtime.images import Photo, read_photo, write_photo
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def refused(path: Path, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        read_photo(path)
    assert str(path) in str(caught.value)


def test_missing_folder_empty_and_special_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.jpg", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "is empty")
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "not a regular file")
    with pytest.raises(ImageError):
        read_photo("a\0b.jpg")


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be neither read nor written; root may do both anyhow, so it steps down."""
    root = os.geteuid() == 0
    tmp_path.chmod(0)
    if root:
        os.seteuid(65534)
    yield tmp_path
    if root:
        os.seteuid(0)
    tmp_path.chmod(0o700)


def test_a_file_that_may_not_be_read(locked_folder: Path) -> None:
    refused(locked_folder / "p.png", "cannot be read")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"GIF89a", "GIF"),
        (b"BM1234", "BMP"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "PSD"),
        (b"PK\x03\x04", "archive"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"hello", "not a photo"),
        (b"\x80\x04\x95", "not a photo"),
    ],
)
def test_other_files_are_named(tmp_path: Path, head: bytes, words: str) -> None:
    (tmp_path / "p.jpg").write_bytes(head + bytes(200))
    refused(tmp_path / "p.jpg", words)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"p.{suffix}"
    write_photo(path, Photo(pixels=NOISE))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "truncated or damaged|not a photo")


def test_truncated_16_bit_files(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        path = tmp_path / f"p{suffix}"
        write_photo(path, Photo(pixels=NOISE.astype(np.uint16) * 201))
        data = path.read_bytes()
        for share in (0.2, 0.6, 0.95):
            path.write_bytes(data[: int(len(data) * share)])
            refused(path, "truncated or damaged")


def test_random_damage_never_escapes_as_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        path = tmp_path / f"p{suffix}"
        write_photo(path, Photo(pixels=NOISE))
        good = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            bad = good.copy()
            where = rng.integers(0, min(len(bad), 400), 6)
            bad[where] = rng.integers(0, 256, 6)
            path.write_bytes(bad.tobytes())
            try:
                read_photo(path, max_pixels=10**6)
            except ImageError as error:
                assert str(path) in str(error)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
    refused(tmp_path / "p.png", "more than the 200000000 pixels allowed")
    Image.fromarray(NOISE).save(tmp_path / "q.png")
    with pytest.raises(ImageError, match="pixels allowed"):
        read_photo(tmp_path / "q.png", max_pixels=4799)
    assert read_photo(tmp_path / "q.png", max_pixels=4800).width == 80


def test_reading_leaves_pillows_own_limit_alone(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(NOISE).save(tmp_path / "p.png")
    read_photo(tmp_path / "p.png")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(tmp_path / "p.png", "damaged")
    assert before is not None
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_one_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "p.png")
    refused(tmp_path / "p.png", "too small")


def test_cmyk_animated_pages_and_odd_samples(tmp_path: Path) -> None:
    frames = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    Image.new("CMYK", (20, 20)).save(tmp_path / "cmyk.jpg")
    refused(tmp_path / "cmyk.jpg", "CMYK.*sRGB")
    Image.new("CMYK", (20, 20)).save(tmp_path / "cmyk.tif")
    refused(tmp_path / "cmyk.tif", "CMYK")
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50)
        refused(tmp_path / name, "animated")
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    refused(tmp_path / "a.tif", "several pages")
    Image.new("F", (20, 20)).save(tmp_path / "f.tif")
    refused(tmp_path / "f.tif", "8 or 16 bit")
    Image.new("I", (20, 20)).save(tmp_path / "i.tif")
    refused(tmp_path / "i.tif", "8 or 16 bit")
    Image.new("LAB", (20, 20)).save(tmp_path / "lab.tif")
    refused(tmp_path / "lab.tif", "8 or 16 bit")


def test_a_16_bit_tiff_in_planes_is_refused_rather_than_misread(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    for options in ({}, {"compression": "zlib"}):
        planes = np.zeros((3, 20, 30), np.uint16)
        tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate", **options)
        refused(tmp_path / "p.tif", "planes|damaged")


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_unwritable_places(tmp_path: Path) -> None:
    photo = Photo(pixels=NOISE)
    with pytest.raises(BadInputError, match="quality"):
        write_photo(tmp_path / "p.png", photo, quality=0)
    with pytest.raises(OutputError, match=r"\.bmp.*cannot tell the format"):
        write_photo(tmp_path / "p.bmp", photo)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file, not a folder"):
        write_photo(tmp_path / "file" / "p.png", photo)
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(OutputError):
        write_photo(tmp_path / "dir.png", photo)
    with pytest.raises(OutputError, match="name is too long"):
        write_photo(tmp_path / ("n" * 300 + ".png"), photo)
    with pytest.raises(OutputError, match="16383"):
        write_photo(tmp_path / "p.webp", Photo(pixels=np.zeros((2, 16384, 3), np.uint8)))
    assert leftovers(tmp_path) == ["dir.png", "file"]


def test_a_folder_that_may_not_be_written(locked_folder: Path) -> None:
    with pytest.raises(OutputError, match="permission denied"):
        write_photo(locked_folder / "p.png", Photo(pixels=NOISE))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, suffix: str, bits: int) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(b"old")
    pixels = NOISE if bits == 8 else NOISE.astype(np.uint16) * 257
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OutputError, match="largest size allowed"):
            write_photo(path, Photo(pixels=pixels))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert leftovers(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"


def test_ctrl_c_while_writing_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import signal, threading, os, time
from pathlib import Path
import numpy as np
from fdikp_edge.runtime.images import Photo, write_photo
import fdikp_edge.runtime.codecs.encode
signal.signal(signal.SIGINT, signal.default_int_handler)
pixels = np.random.default_rng(0).integers(0, 65536, (3000, 3000, 3), dtype=np.uint16)
def interrupt():
    while not any(half.stat().st_size for half in Path({str(tmp_path)!r}).glob("new/*")):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
write_photo({str(tmp_path / "new" / "p.png")!r}, Photo(pixels=pixels))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr
    assert leftovers(tmp_path) == []


def test_the_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_photo(tmp_path / "p.png", Photo(pixels=NOISE))
    assert (tmp_path / "p.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="Pillow hides its libtiff there")
def test_libtiff_prints_nothing_about_a_damaged_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, compression="tiff_adobe_deflate")
    data = bytearray(file.read_bytes())
    data[200] ^= 8  # in the compressed rows
    file.write_bytes(data)
    with pytest.raises(ImageError):
        read_photo(file)
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError):
        Image.open(file).load()
    assert "ZIPDecode" in capfd.readouterr().err  # for everybody else it is as before
