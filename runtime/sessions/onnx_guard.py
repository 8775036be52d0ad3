"""Find the files an ONNX model refers to, without loading it.

An ONNX file may keep tensors in other files and names them by path. A runtime follows that path, so before
one sees the model, every such path must be one of the artifact's own, hashed files. The ``onnx`` package is
not needed on a device: this reads just enough of the protobuf wire format, and skips over the weights.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..artifact import Artifact
from ..errors import ArtifactError
from ..outside.files import open_regular
from ..outside.protobuf import MAX_DEPTH, fields

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


def check_external_data(artifact: Artifact) -> None:
    """Check that the ONNX model refers to no file outside the artifact.

    Raises:
        ArtifactError: the file is not ONNX, or refers to a file the passport does not list.
    """
    path = artifact.model_path
    try:
        locations = external_locations(path)
    except (OSError, ValueError) as error:
        message = f"{path}: not a readable ONNX model: {error}. Export the artifact again"
        raise ArtifactError(message) from error
    folder = path.parent.relative_to(artifact.path)
    for location in locations:
        # Listed names are plain ones inside the folder, so this refuses "../" and absolute paths too.
        if (folder / location).as_posix() not in artifact.passport.files:
            raise ArtifactError(
                f"{path}: refers to {location!r:.80}, which is not one of the artifact's files"
            )


def external_locations(path: Path) -> list[str]:
    """Return the names of other files that an ONNX file keeps tensors in, as it writes them, sorted.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, cut short, or not ONNX.
    """
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sorted(set(_locations(data, 0, len(data), "Model", 0)))


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _SCHEMA[message]
    for field, wire, first, last in fields(data, start, end):
        child = children.get(field) if wire == 2 else None
        if child == "Entry":
            entry = {number: data[a:b] for number, kind, a, b in fields(data, first, last) if kind == 2}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode("utf-8")
        elif child is not None:
            yield from _locations(data, first, last, child, depth + 1)
