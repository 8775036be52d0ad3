"""A golden array is held against the contract before memory is taken, whatever its header says."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small_bundle
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import ArtifactError
from fdikp_edge.runtime.outside.npy import read_npy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

RIGHT = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 32, 32), }"


def npy(header: str, body: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin-1") + b"\n"
    width = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + width + text + body


def shape(words: str) -> bytes:
    return npy(RIGHT.replace("(1, 3, 32, 32)", words))


HOSTILE = {
    "a zip": b"PK\x03\x04" + bytes(100),
    "empty": b"",
    "cut short": b"\x93NUMPY\x01\x00\x10",
    "brackets": npy("(" * 9000),
    "sums": npy("1+" * 4000 + "1"),
    "nested shape": shape("(" * 4000 + ")" * 4000),
    "a side of 2**70": shape(f"({2**70},)"),
    "4,000,000,000 elements": shape("(4000000000,)"),
    "many large sides": shape("(" + "9999999999, " * 30 + ")"),
    "5,000 digits": shape("(" + "9" * 5000 + ",)"),
    "negative": shape("(-1, 3, 32, 32)"),
    "objects": npy(RIGHT.replace("<f4", "|O"), b"cos\nsystem\n."),
    "records": npy(RIGHT.replace("'<f4'", "[('a', '<f4')]"), bytes(4 * 3 * 32 * 32)),
    "a width that is none": npy(RIGHT.replace("<f4", "<f3"), bytes(3 * 3 * 32 * 32)),
    "a key twice": npy(RIGHT.replace("}", "'shape': (1,)}"), bytes(4 * 3 * 32 * 32)),
    "no order": npy("{'descr': '<f4', 'shape': (1, 3, 32, 32)}", bytes(4 * 3 * 32 * 32)),
    "a header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    "too little": npy(RIGHT, bytes(8)),
    "too much": npy(RIGHT, bytes(4 * 3 * 32 * 32 + 1)),
    "another type": npy(RIGHT.replace("<f4", "<i4"), bytes(4 * 3 * 32 * 32)),
    "NaN": npy(RIGHT, np.full(3 * 32 * 32, np.nan, np.float32).tobytes()),
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(small_bundle.make(tmp_path_factory.mktemp("golden") / "a"))


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused_before_memory_is_taken(case: str, artifact: Artifact) -> None:
    assert artifact.passport.golden is not None
    (name,) = artifact.passport.golden["inputs"]
    (artifact.path / name).write_bytes(HOSTILE[case])
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError) as caught:
            artifact.golden()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert name in str(caught.value)
    assert len(str(caught.value)) < 600


@given(
    arrays.arrays(st.sampled_from("?bBhHiIlLefdFD"), arrays.array_shapes(min_dims=0, max_side=4)),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_numpy_writes_comes_back(array: np.ndarray, fortran: bool) -> None:
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(array) if fortran and array.ndim else array)
    stream.seek(0)
    result = read_npy(stream, len(stream.getvalue()))
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()


@given(st.data())
@settings(max_examples=200)
def test_mutated_headers_are_refused_by_one_type(data: st.DataObject) -> None:
    content = bytearray(npy(RIGHT, bytes(4 * 3 * 32 * 32)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 90))] = data.draw(st.integers(0, 255))
    try:
        result = read_npy(io.BytesIO(bytes(content)), len(content))
    except ValueError:
        return
    assert result.nbytes == 4 * 3 * 32 * 32


def test_the_order_of_keys_is_free(tmp_path: Path) -> None:
    content = npy("{'shape':(2,),\"fortran_order\":False,'descr':'<f4'}", bytes(8))
    assert read_npy(io.BytesIO(content), len(content)).shape == (2,)
