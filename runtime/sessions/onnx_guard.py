"""Find the files an ONNX model refers to, without loading it.

An ONNX file may keep tensors in other files and names them by path. A runtime follows that path, so before
one sees the model, every such path must be one of the artifact's own, hashed files. The ``onnx`` package is
not needed on a device: this reads just enough of the protobuf wire format, and skips over the weights.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from ..artifact import Artifact
from ..errors import ArtifactError

# message -> field number -> message, along every way that leads to a tensor (onnx.proto3).
_SCHEMA: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_MAX_DEPTH = 64


def check_external_data(artifact: Artifact) -> None:
    """Check that the ONNX model refers to no file outside the artifact.

    Raises:
        ArtifactError: the file is not ONNX, or refers to a file the passport does not list.
    """
    path = artifact.model_path
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            locations = set(_locations(data, 0, len(data), "Model", 0))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        message = f"{path}: not a readable ONNX model: {error}. Export the artifact again"
        raise ArtifactError(message) from error
    folder = path.parent.relative_to(artifact.path)
    for location in sorted(locations):
        # Listed names are plain ones inside the folder, so this refuses "../" and absolute paths too.
        if (folder / location).as_posix() not in artifact.passport.files:
            raise ArtifactError(
                f"{path}: refers to {location!r:.80}, which is not one of the artifact's files"
            )


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _SCHEMA[message]
    for field, first, last in _fields(data, start, end):
        child = children.get(field)
        if child == "Entry":
            entry = {number: data[a:b] for number, a, b in _fields(data, first, last)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode("utf-8")
        elif child is not None:
            yield from _locations(data, first, last, child, depth + 1)


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each length-delimited field of one message."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        wire = key & 7
        if wire == 2:
            length, at = _varint(data, at, end)
            if length > end - at:
                raise ValueError("cut short")
            yield key >> 3, at, at + length
            at += length
        elif wire == 0:
            _, at = _varint(data, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} does not occur in ONNX")
    if at != end:
        raise ValueError("cut short")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")
