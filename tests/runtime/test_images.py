"""Photos keep their depth, transparency, grey, profile and EXIF through a read and a write."""

from __future__ import annotations

import dataclasses
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.errors import OutputError
from fdikp_edge.runtime.images import Photo, read_photo, write_photo
from PIL import Image, ImageCms, ImageOps

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS_16 = [".png", ".tif"]


def random_samples(channels: int, bits: int, height: int = 37, width: int = 53) -> np.ndarray:
    rng = np.random.default_rng(channels * bits)
    return rng.integers(0, 1 << bits, (height, width, channels)).astype(f"u{bits // 8}")


def photo_of(samples: np.ndarray, **fields: object) -> Photo:
    grey = samples.shape[2] < 3
    color = np.broadcast_to(samples[..., :1], (*samples.shape[:2], 3)) if grey else samples[..., :3]
    alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
    return Photo(pixels=color, alpha=alpha, grey=grey, **fields)  # type: ignore[arg-type]


def plain_png(samples: np.ndarray, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG written from the standard alone, to check the reader against: no filters, Adam7 on demand."""
    height, width, channels = samples.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]
    raw = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        if part.size:
            raw += b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in part)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8 * samples.dtype.itemsize, color, 0, 0, interlaced)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", LOSSLESS_16)
def test_lossless_formats_keep_every_bit(tmp_path: Path, suffix: str, channels: int, bits: int) -> None:
    photo = photo_of(random_samples(channels, bits), icc=SRGB if channels > 2 else None)
    assert write_photo(tmp_path / f"p{suffix}", photo) == []
    back = read_photo(tmp_path / f"p{suffix}")
    assert back.bits == bits
    assert np.array_equal(back.pixels, photo.pixels)
    assert (back.alpha is None) == (photo.alpha is None)
    assert photo.alpha is None or np.array_equal(back.alpha, photo.alpha)
    assert back.icc == photo.icc
    if (suffix, channels, bits) != (".tif", 2, 16):  # no reader agrees on that one: it becomes RGBA
        assert back.grey == photo.grey


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_16_bit_png_of_another_writer_is_read_whole(
    tmp_path: Path, channels: int, interlaced: bool
) -> None:
    samples = random_samples(channels, 16)
    (tmp_path / "p.png").write_bytes(plain_png(samples, interlaced=interlaced))
    photo = read_photo(tmp_path / "p.png")
    assert np.array_equal(photo.samples(), samples)


def test_our_16_bit_png_is_read_by_others(tmp_path: Path) -> None:
    # Pillow keeps the high byte only: enough to see that the filters are right.
    samples = random_samples(3, 16, 300, 200)
    write_photo(tmp_path / "p.png", photo_of(samples))
    with Image.open(tmp_path / "p.png") as image:
        assert np.array_equal(np.asarray(image), samples >> 8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib"},
        {"tile": (16, 16)},
        {"rowsperstrip": 5},
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_a_16_bit_tiff_of_another_writer_is_read_whole(tmp_path: Path, channels: int, options: dict) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    samples = random_samples(channels, 16)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(tmp_path / "p.tif", samples, photometric="rgb", **options, **extra)
    assert np.array_equal(read_photo(tmp_path / "p.tif").samples(), samples)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_our_tiff_is_read_by_others(tmp_path: Path, channels: int) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    samples = random_samples(channels, 16, 90, 70)
    write_photo(tmp_path / "p.tif", photo_of(samples))
    assert np.array_equal(tifffile.imread(tmp_path / "p.tif").reshape(samples.shape), samples)


def test_white_is_zero_grey_tiff_is_not_read_as_a_negative(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    samples = random_samples(1, 16)
    tifffile.imwrite(tmp_path / "p.tif", samples[..., 0], photometric="miniswhite")
    assert np.array_equal(read_photo(tmp_path / "p.tif").samples(), 65535 - samples)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[:64, :80]
    pixels = np.stack([2 * y + 40, x * 2 + 30, 200 - y - x // 2], 2).astype(np.uint8)
    write_photo(tmp_path / f"p{suffix}", photo_of(pixels, icc=SRGB, dpi=(300.0, 300.0)))
    back = read_photo(tmp_path / f"p{suffix}")
    assert np.abs(back.pixels.astype(int) - pixels).max() <= 12
    assert back.icc == SRGB


def test_jpeg_is_written_without_chroma_subsampling(tmp_path: Path) -> None:
    write_photo(tmp_path / "p.jpg", photo_of(random_samples(3, 8)))
    with Image.open(tmp_path / "p.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


def test_webp_keeps_alpha_exactly(tmp_path: Path) -> None:
    photo = photo_of(random_samples(4, 8))
    write_photo(tmp_path / "p.webp", photo)
    assert np.array_equal(read_photo(tmp_path / "p.webp").alpha, photo.alpha)


def test_16_bits_are_rounded_to_nearest_for_jpeg_and_said(tmp_path: Path) -> None:
    values = np.array([0, 128, 129, 257, 65535 - 129, 65535 - 128, 65535, 32768], np.uint16)
    photo = photo_of(np.repeat(values[:, None, None], 3, 2).reshape(2, 4, 3))
    assert photo.to_8bit().pixels[..., 0].ravel().tolist() == [0, 0, 1, 1, 254, 255, 255, 128]
    assert "8 bits" in write_photo(tmp_path / "p.jpg", photo)[0]


def test_palette_grey_and_color_key_become_what_they_look_like(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    indexed = Image.fromarray(rng.integers(0, 4, (20, 30), dtype=np.uint8)).convert("P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    indexed.save(tmp_path / "p.png")
    assert np.array_equal(read_photo(tmp_path / "p.png").pixels, np.asarray(indexed.convert("RGB")))
    indexed.save(tmp_path / "clear.png", transparency=2)
    photo = read_photo(tmp_path / "clear.png")
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, np.asarray(indexed) == 2)

    for bits, key in ((8, 77), (16, 30000)):
        samples = random_samples(1, bits)
        samples[3, 4] = key
        trns = b"tRNS" + struct.pack(">H", key)
        extra = struct.pack(">I", 2) + trns + struct.pack(">I", zlib.crc32(trns))
        (tmp_path / "key.png").write_bytes(plain_png(samples, extra=extra))
        photo = read_photo(tmp_path / "key.png")
        assert photo.grey
        assert photo.alpha is not None
        assert photo.alpha.dtype == samples.dtype
        assert np.array_equal(photo.alpha == 0, samples[..., 0] == key)

    Image.fromarray(rng.integers(0, 2, (20, 30)).astype(bool)).save(tmp_path / "bilevel.png")
    assert set(np.unique(read_photo(tmp_path / "bilevel.png").pixels)) == {0, 255}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_come_out_upright_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:16, :16] = (250, 10, 10)
    pixels[-16:, :16] = (10, 250, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x829A: 0.004, 0x9003: "2026:01:02 03:04:05"}
    source = Image.fromarray(pixels)
    options = {"quality": 95} if suffix in (".jpg", ".webp") else {}
    source.save(tmp_path / f"in{suffix}", exif=exif.tobytes(), **options)  # type: ignore[arg-type]
    source.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(source)).astype(int)

    write_photo(tmp_path / f"out{suffix}", read_photo(tmp_path / f"in{suffix}"))
    for back in (read_photo(tmp_path / f"in{suffix}"), read_photo(tmp_path / f"out{suffix}")):
        assert back.pixels.shape == wanted.shape
        assert np.abs(back.pixels - wanted).mean() < 4  # two lossy encodings at most
    with Image.open(tmp_path / f"out{suffix}") as image:
        kept = image.getexif()
        assert kept.get(0x0112, 1) == 1
        assert kept[0x010F] == "Maker"
        assert kept.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        assert float(kept.get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)


def test_exif_survives_a_change_of_format(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "Model X"
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 1.5)}
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg", exif=exif)
    chain = [tmp_path / name for name in ("a.jpg", "b.tif", "c.png", "d.webp", "e.tiff", "f.jpg")]
    for before, after in itertools.pairwise(chain):
        write_photo(after, read_photo(before))
        with Image.open(after) as image:
            assert image.getexif()[0x0110] == "Model X", after
            assert tuple(map(float, image.getexif().get_ifd(0x8825)[2])) == (47.0, 22.0, 1.5), after


def test_the_thumbnail_of_the_photo_before_is_dropped() -> None:
    from fdikp_edge.runtime.codecs.metadata import upright_exif

    ifd0 = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 26)
    block = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + ifd0 + b"\0" * 20
    fixed = upright_exif(block)
    assert len(fixed) == len(block)
    assert struct.unpack_from("<H", fixed, 6 + 8 + 2 + 8) == (1,)
    assert struct.unpack_from("<I", fixed, 6 + 8 + 14) == (0,)


@pytest.mark.parametrize("damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"nonsense" * 3])
def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path, damage: bytes) -> None:
    Image.new("RGB", (20, 20), (9, 90, 200)).save(tmp_path / "p.png", exif=damage)
    photo = read_photo(tmp_path / "p.png")
    assert photo.exif is None
    assert "EXIF" in photo.notes[0]


def test_a_profile_for_other_pixels_is_left_out_and_said(tmp_path: Path) -> None:
    notes = write_photo(tmp_path / "p.png", photo_of(random_samples(1, 8), icc=SRGB))
    assert "colour profile" in notes[0]
    assert read_photo(tmp_path / "p.png").icc is None


def test_resolution_is_kept(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".tif"):
        for bits in (8, 16):
            photo = photo_of(random_samples(3, bits), dpi=(300.0, 150.0))
            write_photo(tmp_path / f"p{suffix}", photo)
            assert read_photo(tmp_path / f"p{suffix}").dpi == pytest.approx((300.0, 150.0), rel=1e-3)


def test_jpeg_refuses_transparency_but_not_an_opaque_alpha(tmp_path: Path) -> None:
    photo = photo_of(random_samples(4, 8))
    with pytest.raises(OutputError, match="transparency"):
        write_photo(tmp_path / "p.jpg", photo)
    write_photo(tmp_path / "p.jpg", dataclasses.replace(photo, alpha=np.full((37, 53), 255, np.uint8)))
    assert read_photo(tmp_path / "p.jpg").alpha is None


def test_photos_from_cameras_that_append_a_second_picture_are_read(tmp_path: Path) -> None:
    first = Image.new("RGB", (32, 24), (200, 30, 30))
    first.save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (8, 6))])
    photo = read_photo(tmp_path / "p.jpg")
    assert (photo.height, photo.width, photo.source_format) == (24, 32, "JPEG")


def test_a_tiff_preview_is_not_a_second_page(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    samples = random_samples(3, 8)
    with tifffile.TiffWriter(tmp_path / "p.tif") as tif:
        tif.write(samples, photometric="rgb")
        tif.write(samples[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_photo(tmp_path / "p.tif").pixels, samples)
