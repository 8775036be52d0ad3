"""What a photo file may cost is bounded by what its header says; unsupported kinds are named."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.errors import ImageError
from fdikp_edge.runtime.images import read_photo
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

PICTURE = Image.fromarray(np.arange(32 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 40, 3))
SPARSE = 20 << 30


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, form)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    size = struct.pack(">I", len(data) if length is None else length)
    return size + kind + data + struct.pack(">I", zlib.crc32(kind + data))


JPEG, PNG, TIFF, WEBP = map(encoded, ("JPEG", "PNG", "TIFF", "WEBP"))
SCAN = JPEG.index(b"\xff\xda")
HUGE = {
    "x.jpg": JPEG[:SCAN],
    "before the size.jpg": JPEG[: JPEG.index(b"\xff\xc0")],
    "scan.jpg": JPEG[: SCAN + 20],
    "x.png": PNG[:33],
    "idat.png": PNG[:33] + chunk(b"IDAT", b"", 0x7FFFFFFF),
    "text.png": PNG[:33] + chunk(b"tEXt", b"", 0x7FFFFFFF),
    "x.tif": TIFF,
    "x.webp": WEBP[:30],
}


@pytest.mark.parametrize("name", HUGE)
def test_sparse_files_are_refused_at_once(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(HUGE[name])
        file.truncate(SPARSE)
    began = time.process_time()  # a busy machine has nothing to do with it
    with pytest.raises(ImageError, match=name):
        read_photo(tmp_path / name)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp"])
def test_a_few_bytes_behind_a_photo_do_no_harm(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes({"jpg": JPEG, "png": PNG, "tif": TIFF, "webp": WEBP}[name[2:]] + bytes(100))
    assert read_photo(tmp_path / name).pixels.shape == (32, 40, 3)


def tiff(samples: np.ndarray, bits: int, form: int) -> bytes:
    """Return an uncompressed RGB TIFF of these samples."""
    data = samples.tobytes()
    directory = ImageFileDirectory_v2(prefix=b"II")
    height, width = samples.shape[:2]
    fields = {256: width, 257: height, 258: (bits,) * 3, 259: 1, 262: 2, 273: 0, 277: 3, 278: height}
    for tag, value in {**fields, 279: len(data), 284: 1, 339: (form,) * 3}.items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    return stream.getvalue() + data


@pytest.mark.parametrize(
    ("dtype", "bits", "form", "words"),
    [
        ("f4", 32, 3, "floating-point samples of 32 bits"),
        ("f2", 16, 3, "floating-point samples of 16 bits"),
        ("f8", 64, 3, "floating-point samples of 64 bits"),
        ("u4", 32, 1, "samples of 32 bits"),
        ("i2", 16, 2, "signed samples of 16 bits"),
        ("u2", 12, 1, "samples of 12 bits"),
    ],
)
def test_unsupported_tiffs_are_named(dtype: str, bits: int, form: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(np.zeros((32, 40, 3), dtype), bits, form))
    with pytest.raises(ImageError, match=words) as caught:
        read_photo(tmp_path / "x.tif")
    assert "damaged" not in str(caught.value)


def test_the_same_tiff_of_a_supported_kind_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(np.zeros((32, 40, 3), "u2"), 16, 1))
    assert read_photo(tmp_path / "x.tif").pixels.dtype == np.uint16


@pytest.mark.parametrize(
    ("side", "words"), [(1024, "damaged|truncated|cannot be read"), (1040, "tiles of 1040x1040")]
)
def test_tiles_larger_than_any_photo_needs_are_refused_before_memory_is_taken(
    side: int, words: str, tmp_path: Path
) -> None:
    directory = ImageFileDirectory_v2(prefix=b"II")
    fields = {256: 40, 257: 32, 258: (8,) * 3, 259: 8, 262: 2, 277: 3, 322: side, 323: side, 324: 8, 325: 8}
    for tag, value in fields.items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    (tmp_path / "x.tif").write_bytes(stream.getvalue() + bytes(8))
    with pytest.raises(ImageError, match=words):
        read_photo(tmp_path / "x.tif")
