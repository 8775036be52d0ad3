"""Samples from a folder: what is read, and that no file there can do harm."""

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.models.sources import Sample, TensorSpec
from fdikp_edge.models.sources.samples import checked, read_sample, read_samples, sample_shapes
from fdikp_edge.runtime.errors import BadInputError, SourceError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.samples import sample_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

X = TensorSpec("x", (1, 2, 3))
COUNT = TensorSpec("count", (4,), "int64", (0.0, 9.0))
FIELD = np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 6


def npy(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else repr(header).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def described(descr: object = "<f4", shape: object = (1, 2, 3)) -> dict[str, object]:
    return {"descr": descr, "fortran_order": False, "shape": shape}


def test_arrays_by_name_sorted_by_file(tmp_path: Path) -> None:
    for n in (10, 9):
        np.savez(tmp_path / f"{n:02}.npz", x=FIELD * n / 10, count=np.arange(4), other=np.ones(3))
    (tmp_path / "notes.txt").write_text("not a sample")
    first, second = read_samples(tmp_path, [X, COUNT])
    assert (first.name, second.name) == ("09.npz", "10.npz")
    assert set(second.arrays) == {"x", "count"}
    assert np.array_equal(second.arrays["x"], FIELD) and second.arrays["count"].dtype == np.int64


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "i1"])
def test_numbers_are_converted_where_nothing_is_lost(tmp_path: Path, order: Any, dtype: str) -> None:
    values = np.asarray([[[0, 1, 1], [0, 1, 0]]], dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    (sample,) = read_samples(tmp_path, [X])
    assert sample.arrays["x"].dtype == np.float32 and np.array_equal(sample.arrays["x"], values)


def test_leading_sides_of_one_can_be_left_out(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FIELD[0])
    (sample,) = read_samples(tmp_path, [X])
    assert np.array_equal(sample.arrays["x"], FIELD)


def test_complex_numbers_are_read_for_complex_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FIELD * (1 - 1j))
    (sample,) = read_samples(tmp_path, [TensorSpec("x", (1, 2, 3), "complex64", (-1.0, 1.0))])
    assert np.allclose(sample.arrays["x"], FIELD * (1 - 1j))


def test_photos_go_into_pictures(tmp_path: Path) -> None:
    photo = read_photo(sample_photo("chelsea"))
    os.link(sample_photo("chelsea"), tmp_path / "cat.png")
    size = (photo.height, photo.width)
    (rgb,) = read_samples(tmp_path, [TensorSpec("p", (1, 3, *size), layout="NCHW", color="RGB")])
    assert np.allclose(rgb.arrays["p"][0].transpose(1, 2, 0) * 255, photo.pixels, atol=1e-4)
    (grey,) = read_samples(tmp_path, [TensorSpec("p", (2, 1, *size), layout="NCHW", color="grey")])
    truth = np.asarray(Image.fromarray(photo.pixels).convert("L"))
    assert grey.arrays["p"].shape == (2, 1, *size)
    assert np.abs(grey.arrays["p"][1, 0] * 255 - truth).max() < 1
    signed = TensorSpec("p", (1, 4, *size), "float32", (-1.0, 1.0), "NCHW", "RGBA")
    (rgba,) = read_samples(tmp_path, [signed])
    assert np.allclose(rgba.arrays["p"][0, 3], 1)
    assert np.allclose(rgba.arrays["p"][0, :3], rgb.arrays["p"][0] * 2 - 1, atol=1e-6)
    (data,) = read_samples(tmp_path, [TensorSpec("p", (1, 3, 8, 8), "uint8", (0.0, 255.0), "NCHW", "RGB")])
    assert data.arrays["p"].dtype == np.uint8


def saved(array: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (saved(np.zeros((1, 2, 4))), r"has shape \[1, 2, 4\], input 'x' expects \[1, 2, 3\]"),
        (saved(np.zeros((2, 2, 3))), r"has shape \[2, 2, 3\]"),
        (saved(FIELD * 1j), "is complex64, input 'x' expects float32"),
        (saved(FIELD * np.nan), "not finite"),
        (saved(FIELD.astype("f8") * 1e300), "that float32 of input 'x' cannot hold"),
        (
            saved(FIELD * 255),
            r"from 0 to 212.5, input 'x' expects 0 to 1; scale .*--input x=1x2x3:0..212",
        ),
        (saved(np.array([print], object), allow_pickle=True), "holds object|holds .*not numbers"),
        (saved(np.zeros(3, "f4,i4")), "records"),
        (saved(np.array(["a"])), "not numbers"),
        (b"PK\x03\x04", "does not begin"),
        (b"", "does not begin"),
        (npy(described(shape=(2**70,))), "shape is impossible"),
        (npy(described(shape=(2**30, 2**30))), "has shape"),
        (npy(described(shape=(1, 3, 2)), bytes(20)), "needs 24 bytes and has 20"),
        (npy(described(shape=(1, 2, 4)), bytes(24)), "has shape"),
        (npy(b"(" * 9000), "not a readable"),
        (npy(b"1+" * 4000 + b"1"), "not a readable"),
        (npy(b"__import__('os').abort()"), "not a readable"),
        (npy(described("|O8")), "not numbers"),
        (npy(described([("a", "<f4")])), "records"),
        (npy(described("<f4", [1, 2, 3])), "no tuple"),
        (npy({"descr": "<f4"}), "three keys"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "claims"),
        (b"\x93NUMPY\x09\x00\x00", "does not begin"),
    ],
)
def test_other_arrays_are_refused_with_the_file(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "bad.npy"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=match) as caught:
        read_samples(tmp_path, [X])
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600


def test_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    for values in ([0.5, 1, 2, 3], [2**40, 1, 2, 3]):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(SourceError, match="of input 'count' cannot hold"):
            read_samples(tmp_path, [TensorSpec("count", (4,), "int32", None)])


def test_shapes_are_read_from_headers_alone(tmp_path: Path) -> None:
    file, single = tmp_path / "a.npz", tmp_path / "a.npy"
    np.savez(file, x=np.zeros((1, 2, 3)), kernel=np.zeros(5), other=np.zeros(7))
    assert sample_shapes(file, ["x", "kernel", "missing"]) == {"x": (1, 2, 3), "kernel": (5,)}
    single.write_bytes(npy(described(shape=(10**6, 10**6))))  # of which not one number is there
    assert sample_shapes(single, ["x"]) == {"x": (10**6, 10**6)}
    assert sample_shapes(single, ["x", "y"]) == {} == sample_shapes(tmp_path / "a.png", ["x"])
    for damaged in (single, file):
        damaged.write_bytes(b"nonsense")
        with pytest.raises(SourceError, match=damaged.name):
            sample_shapes(damaged, ["x"])


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    for data, match in ((b"", "damaged"), (b"PK\x05\x06" + bytes(30), "damaged"), (saved(FIELD), "damaged")):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=match):
            read_samples(tmp_path, [X])
    np.savez(path, y=FIELD)
    with pytest.raises(SourceError, match="no array 'x'; it has y"):
        read_samples(tmp_path, [X])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(described(shape=(1, 2, 3)), bytes(10**7)))
    with pytest.raises(SourceError, match="needs 24 bytes and has 10000000"):
        read_samples(tmp_path, [X])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_a_typed_error_or_a_sample(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=FIELD)
    for suffix, whole in ((".npy", saved(FIELD)), (".npz", buffer.getvalue())):
        content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
        for _ in range(data.draw(st.integers(0, 3)) if content else 0):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / f"damaged{suffix}").write_bytes(content)
        try:
            (sample,) = read_samples(tmp_path, [X])
        except BadInputError as error:
            assert f"damaged{suffix}" in str(error)
        else:
            assert sample.arrays["x"].shape == (1, 2, 3)


def test_folders_that_hold_no_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no"):
        read_samples(tmp_path, [X])
    with pytest.raises(SourceError, match="no such folder"):
        read_samples(tmp_path / "none", [X])
    path = tmp_path / "a.npy"
    np.save(path, FIELD)
    with pytest.raises(SourceError, match="not a folder"):
        read_samples(path, [X])
    with pytest.raises(SourceError, match=r"a\.npy: the network has 2 inputs; write .* with x, count"):
        read_samples(tmp_path, [X, COUNT])
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(SourceError, match="not a regular file"):
            read_samples(tmp_path, [X])


def test_a_photo_does_not_go_into_any_tensor(tmp_path: Path) -> None:
    os.link(sample_photo("chelsea"), tmp_path / "cat.png")
    with pytest.raises(SourceError, match=r"cat\.png: a photo cannot be put into input 'x' \(1x2x3\)"):
        read_samples(tmp_path, [X])


def test_a_sources_own_samples_are_checked_alike(tmp_path: Path) -> None:
    def wrapped(result: object) -> Any:
        return checked(lambda specs: result, "net")  # type: ignore[arg-type,return-value]

    (sample,) = wrapped([Sample("a", {"x": FIELD[0].astype("f8"), "more": FIELD})])([X])
    assert set(sample.arrays) == {"x"} and sample.arrays["x"].dtype == np.float32
    for result, match in (
        ([], "expected 1 to 1000 samples"),
        (3, "expected 1 to 1000 samples, got 3"),
        ([FIELD], "expected a Sample"),
        ([Sample("a", {"y": FIELD})], "samples of net: 'a' has no array 'x'"),
        ([Sample("a", {"x": FIELD[:, 1:]})], r"'a': array 'x' has shape \[1, 1, 3\]"),
        ([Sample("a", {"x": FIELD * 1000})], "values from 0 to 833"),
    ):
        with pytest.raises(SourceError, match=match):
            wrapped(result)([X])
    with pytest.raises(SourceError, match=r"test_samples\.py:\d+: ZeroDivisionError"):
        checked(lambda specs: 1 // 0, "net")([X])  # type: ignore[arg-type,return-value]


def test_an_archive_that_holds_far_more_than_the_input_takes_no_memory(tmp_path: Path) -> None:
    import resource

    for compressed in (True, False):
        file = tmp_path / "bomb.npz"
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("x.npy", "w") as stream,
        ):
            if compressed:
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": "<f4", "fortran_order": False, "shape": (1, 2, 8192, 8192)}
                )
                for _ in range(512):
                    stream.write(bytes(1 << 20))
            else:
                np.lib.format.write_array(stream, np.zeros((3, 3), np.float32))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spec = TensorSpec(name="x", shape=(1, 2, 16, 16), dtype="float32", value_range=None)
        with pytest.raises(SourceError, match=r"has shape .* expects"):
            read_sample(file, [spec])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"
