"""Archives: what is read of a foreign one, and names of arrays that NumPy's own writer mistakes."""

from __future__ import annotations

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.outside.zips import bounded_zip, write_npz


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "x", "self", "ä/b"])
def test_arrays_of_any_name_come_back(name: str) -> None:
    arrays = {name: np.arange(6, dtype=np.float32).reshape(2, 3), "other": np.uint8([[1, 2]])}
    stream = io.BytesIO()
    write_npz(stream, arrays)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as back:
        assert set(back.files) == set(arrays)
        for key, value in arrays.items():
            assert np.array_equal(back[key], value) and back[key].dtype == value.dtype


def archive(entries: int) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for number in range(entries):
            packed.writestr(f"{number:0200}", b"x")
    stream.seek(0)
    return stream


def test_a_table_of_contents_has_a_bound() -> None:
    with bounded_zip(archive(50)) as packed:
        assert len(packed.namelist()) == 50 and packed.read(packed.namelist()[7]) == b"x"
    with pytest.raises(zipfile.BadZipFile, match=r"table of contents has [0-9]+ bytes; at most 12000"):
        bounded_zip(archive(50), 12_000)


def test_after_opening_entries_of_any_size_are_read() -> None:
    stream, content = io.BytesIO(), bytes(100_000)
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("a", content)
    with bounded_zip(stream, 1000) as packed:
        assert packed.read("a") == content


def test_a_table_of_many_small_entries_takes_little_memory(tmp_path: Path) -> None:
    one = archive(1).getvalue()
    start = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    table = one[start:end] * 400_000
    tail = bytearray(one[end:])
    tail[12:16] = len(table).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(one[:start] + table + tail)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "x.npz").open("rb") as stream, pytest.raises(zipfile.BadZipFile):
        bounded_zip(stream)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"
