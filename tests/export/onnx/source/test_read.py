"""Hostile and broken ONNX files are refused with a reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from fdikp_edge.export.onnx.source import read
from fdikp_edge.export.onnx.source.source import load_onnx_source
from fdikp_edge.runtime.errors import BadInputError, FdikpEdgeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent))
from graphs import dft, model_of, noise


def with_weights(folder: Path, location: str = "weights.bin") -> Path:
    """A model that keeps a tensor in another file, which exists where it lies inside the folder."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = model_of([node], {"x": [256]}, ["y"], {"w": noise(256)})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [256]))
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0, convert_attribute=False
    )
    path = folder / "net.onnx"
    onnx.save(model, path)
    if location != "weights.bin":
        changed = onnx.load(path, load_external_data=False)
        for entry in changed.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        path.write_bytes(changed.SerializeToString())
    return path


def test_tensors_in_another_file_are_read_and_belong_to_the_digest(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    model, digest = read.read_model(path)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), noise(256))
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert read.read_model(path)[1] != digest


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../secret", "C:\\x", "", "nul", "absent.bin"]
)
def test_files_outside_the_folder_are_not_opened(location: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    path = with_weights(inside, location)
    with pytest.raises(BadInputError, match=r"net\.onnx.*(plain path|no such file|where the file says)"):
        load_onnx_source(path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match="symbolic link"):
        load_onnx_source(path)


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("value", ["-8", "99999999999999999999999", "2048", "eight"])
def test_a_piece_outside_its_file_is_refused(key: str, value: str, tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    model = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry for entry in model.graph.initializer[0].external_data}
    entries[key].value = value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match=r"'w' is not in 'weights\.bin'"):
        load_onnx_source(path)


def test_size_is_bounded_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_weights(tmp_path)
    monkeypatch.setattr(read, "MAX_BYTES", path.stat().st_size + 1000)
    with pytest.raises(BadInputError, match="with the files it names"):
        load_onnx_source(path)
    monkeypatch.setattr(read, "MAX_BYTES", 10)
    with pytest.raises(BadInputError, match="an ONNX file has at most"):
        load_onnx_source(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a network")


def folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    del path


def old(path: Path) -> None:
    model = dft([1, 8, 2], 1)
    model.ir_version = 3
    path.write_bytes(model.SerializeToString())


def deep(path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        size, rest = bytearray(), len(content)
        while rest > 127:
            size.append(rest & 127 | 128)
            rest >>= 7
        return bytes([number << 3 | 2, *size, rest]) + content

    graph = b""
    for _ in range(200):  # graph.node, node.attribute, attribute.g
        graph = field(1, field(5, field(6, graph)))
    path.write_bytes(bytes([8, 10]) + field(7, graph))


@pytest.mark.parametrize("write", [empty, text, folder, nothing, old, deep])
def test_what_is_no_network_is_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    write(path)
    with pytest.raises(BadInputError, match=r"net\.onnx: "):
        load_onnx_source(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_a_typed_error_or_in_a_network(data: st.DataObject, tmp_path: Path) -> None:
    raw = bytearray(dft([1, 8, 2], 1, length=6).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "net.onnx"
    path.write_bytes(raw)
    try:
        load_onnx_source(path)
    except FdikpEdgeError as error:
        assert "net.onnx" in str(error)
