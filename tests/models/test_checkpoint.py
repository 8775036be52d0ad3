import io
import json
import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import checkpoint
from fdikp_edge.models.checkpoint import read_checkpoint, write_checkpoint
from fdikp_edge.runtime.errors import CheckpointError, OutputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TENSORS = {"one.weight": torch.arange(6.0).reshape(2, 3), "two.bias": torch.tensor([1.5, -2.0]).double()}


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: object = (1,), begin: object = 0, end: object = 4) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(path: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, TENSORS, {"b": "2", "a": "é"})
    again = read_checkpoint(path)
    assert again.metadata == {"a": "é", "b": "2"}
    assert again.tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(again.tensors[k], v) and again.tensors[k].dtype == v.dtype for k, v in TENSORS.items()
    )
    assert names(tmp_path) == ["w.safetensors"]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    metadata = {str(n): str(n) for n in range(20)}
    for n in range(3):
        write_checkpoint(tmp_path / f"{n}.safetensors", TENSORS, metadata)
    assert len({(tmp_path / f"{n}.safetensors").read_bytes() for n in range(3)}) == 1


def test_nothing_is_overwritten_unasked_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        write_checkpoint(path, TENSORS, {})
    assert path.read_bytes() == b"precious"
    write_checkpoint(path, TENSORS, {}, overwrite=True)
    assert read_checkpoint(path).tensors
    with pytest.raises(OutputError, match=r"w\.safetensors"):
        write_checkpoint(path / "w.safetensors", TENSORS, {})  # below a file
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_checkpoint(tmp_path / "folder.safetensors", TENSORS, {}, overwrite=True)
    with pytest.raises(OutputError, match="only"):
        write_checkpoint(tmp_path / "w.pth", TENSORS, {})
    assert names(tmp_path) == ["folder.safetensors", "w.safetensors"]


BROKEN = {
    "empty": (b"", "only 0 bytes"),
    "short": (b"abc", "only 3 bytes"),
    "huge header": (safetensors({}, length=2**40), "header claims"),
    "text": (b"this is not a weights file at all", "header claims"),
    "cut header": (safetensors({}, length=500), "truncated inside the header"),
    "bad json": (safetensors(b"{nope"), "not a safetensors file"),
    "bad utf-8": (safetensors(b"\xff\xfe{}"), "not a safetensors file"),
    "deep json": (safetensors(b"[" * 100_000), "not a safetensors file"),
    "list": (safetensors([1, 2]), "not a table"),
    "repeated key": (safetensors(b'{"k":1,"k":2}'), "'k' appears twice"),
    "metadata": (safetensors({"__metadata__": {"variant": 3}}), "'__metadata__' is not a table of strings"),
    "metadata list": (safetensors({"__metadata__": []}), "'__metadata__' is not a table of strings"),
    "no tensor": (safetensors({"k": 3}), "'k' is not described"),
    "string": (safetensors({"k": "abc"}), "'k' is not described"),
    "no shape": (safetensors({"k": {"dtype": "F32", "data_offsets": [0, 4]}}), "'k' is not described"),
    "shape is a number": (safetensors({"k": entry(shape=3)}), "'k' is not described"),
    "odd offsets": (safetensors({"k": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}), "'k' is not"),
    "dtype": (safetensors({"k": entry("F4", (1,), 0, 8)}, bytes(8)), "'k' has type 'F4'"),
    "whole numbers": (safetensors({"k": entry("I64", (1,), 0, 8)}, bytes(8)), "'k' is not a plain floating"),
    "rank": (safetensors({"k": entry(shape=(1,) * 9000)}, bytes(4)), "'k' has an impossible shape"),
    "dtype list": (safetensors({"k": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}), "'k' has type"),
    "negative": (safetensors({"k": entry(shape=(-1, -1))}, bytes(4)), "'k' has an impossible shape"),
    "float shape": (safetensors({"k": entry(shape=(1.0,))}, bytes(4)), "'k' has an impossible shape"),
    "bool shape": (safetensors({"k": entry(shape=(True,))}, bytes(4)), "'k' has an impossible shape"),
    "huge": (safetensors({"k": entry(shape=(2**62, 2**62))}, bytes(4)), "'k' has an impossible shape"),
    "wrong bytes": (
        safetensors({"k": entry(shape=(2,))}, bytes(4)),
        "'k' of shape .* needs 8 bytes and has 4",
    ),
    "truncated": (safetensors({"k": entry(), "m": entry(begin=4, end=8)}, bytes(4)), "truncated; key 'm'"),
    "overlap": (safetensors({"k": entry(), "m": entry()}, bytes(4)), "not a valid safetensors file"),
    "trailing": (safetensors({"k": entry()}, bytes(40)), "not a valid safetensors file"),
    "nan": (
        safetensors({"k": entry()}, struct.pack("<f", float("nan"))),
        "'k' holds values that are not finite",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_safetensors_are_refused(name: str, tmp_path: Path) -> None:
    data, match = BROKEN[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(data)
    refused(path, match)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_a_checkpoint_error_or_a_readable_file(tmp_path: Path, data: st.DataObject) -> None:
    for suffix, whole in (("safetensors", _as_safetensors(tmp_path)), ("pth", _as_pth(TENSORS))):
        content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
        for _ in range(data.draw(st.integers(0, 3)) if content else 0):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path / f"damaged.{suffix}"
        path.write_bytes(content)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error)


def _as_safetensors(tmp_path: Path) -> bytes:
    path = tmp_path / "whole.safetensors"
    if not path.exists():
        write_checkpoint(path, TENSORS, {"a": "b"})
    return path.read_bytes()


def _as_pth(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_files_over_the_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "big.safetensors"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse: takes no room on the disk, and would not fit in memory
    refused(path, "larger than the 1000 bytes")


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file")
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth", "not a regular file")
    (tmp_path / "weights.zip").write_bytes(b"PK")
    refused(tmp_path / "weights.zip", "expected one of .safetensors, .pth, .pt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pt")
        refused(tmp_path / "pipe.pt", "not a regular file")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        OrderedDict,
        lambda t: {"state_dict": t, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda t: {"params": {f"module.{k}": v for k, v in t.items()}},
        lambda t: {k: torch.nn.Parameter(v) for k, v in t.items()},
    ],
    ids=["bare", "ordered", "trainer", "data parallel", "parameters"],
)
def test_pth_files_of_tensors_are_read(wrap: object, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(_as_pth(wrap(TENSORS)))  # type: ignore[operator]
    tensors = read_checkpoint(path).tensors
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], v) for k, v in TENSORS.items())


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("write", [_as_pth, pickle.dumps], ids=["torch.save", "bare pickle"])
def test_code_in_a_pickle_is_never_run(write: object, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    path = tmp_path / "evil.pth"
    path.write_bytes(write({"one.weight": torch.ones(2), "evil": Evil(mark)}))  # type: ignore[operator]
    refused(path, "mkdir|not an archive")
    assert not mark.exists()
    torch.load(path, weights_only=False) if write is _as_pth else pickle.loads(path.read_bytes())
    assert mark.exists(), "the file was harmless, so this test proved nothing"


def test_pth_files_without_usable_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for content, match in [
        ({"a": torch.ones(2), "b": "text"}, "key 'b' holds str"),
        ({3: torch.ones(2)}, "key 3 holds Tensor"),
        ({}, "no table of weights"),
        ([torch.ones(2)], "no table of weights, but list"),
        ({"a": torch.ones(2), "n": torch.ones(2, dtype=torch.int64)}, "key 'n' is not a plain floating"),
        ({"s": torch.eye(3).to_sparse()}, "key 's' is not a plain floating"),
        ({"v": torch.ones(1).expand(2**40)}, "key 'v' has an impossible shape"),
        ({"x": torch.tensor([1.0, float("inf")])}, "key 'x' holds values that are not finite"),
    ]:
        path.write_bytes(_as_pth(content))
        refused(path, match)
    path.write_bytes(_as_pth(TENSORS)[:-200])
    refused(path, "not an archive written by torch.save \\(or truncated\\)")


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data/0", "w") as file:
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    refused(path, "unpacks to 1 entries and 314572800 bytes")


def test_a_storage_shorter_than_its_tensor_claims_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lie.pth"
    with (
        zipfile.ZipFile(io.BytesIO(_as_pth({"a": torch.arange(8.0)}))) as source,
        zipfile.ZipFile(path, "w") as out,
    ):
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith("data.pkl"):
                content = content.replace(b"K\x08", b"K\xc8")  # eight numbers become two hundred
            out.writestr(info.filename, content)
    refused(path, "not a readable weights file")


def test_a_bomb_in_a_pickle_is_refused_before_it_is_built(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    nested: object = ()
    for _ in range(60):
        nested = (nested, nested)
    views = {f"v{n}": torch.ones(1).expand(60_000_000) for n in range(3000)}
    for content, match in (
        ({"a": torch.ones(1), "extra": nested}, "holds more than"),
        ({"a": torch.ones(1), "extra": bytearray(8)}, "bytearray, which no file of tensors needs"),
        (views, "'v1' has an impossible shape"),
    ):
        path.write_bytes(_as_pth(content))
        started = time.monotonic()
        refused(path, match)
        assert time.monotonic() - started < 10


def test_archives_of_several_disks_and_long_names_are_refused_briefly(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    data = bytearray(_as_pth(TENSORS))
    end = data.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 1, 0, 2)  # the zip64 record that names two disks
    path.write_bytes(data[:end] + locator + data[end:])
    refused(path, "archive")
    path.write_bytes(_as_pth({"k" * 5000: "text"}))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 400
