"""A ``.mlpackage`` folder: its manifest, its description, its program and its weights, all read as
hostile."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .. import strict_json
from ..errors import ArtifactError, FdikpEdgeError
from ..outside.files import open_regular, read_bounded
from ..outside.protobuf import Buffer, fields
from .immediate import Array, Span, children, integers
from .program import Program, Stored, Value, read_program
from .weights import WeightFile

NEWEST_SPECIFICATION = 9
"""Newest Core ML specification this release reads: that of iOS 18 and macOS 15."""
OPSETS = ("CoreML7", "CoreML8")
"""Operation sets this release reads: those of iOS 17 and iOS 18."""

_MAX_MODEL_BYTES = 512 * 1024**2
_MAX_MANIFEST_BYTES = 1024**2
_ITEM_FOLDER = "Data"
_ARRAY_DTYPES = {65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8", 65552: "float16"}
_COLOURS = {10: "grey", 20: "RGB", 30: "BGR", 40: "grey float16"}
_MLPROGRAM = 502


@dataclass(frozen=True)
class Feature:
    """One input or output as an app sees it: an array, or an image of a colour layout."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    colour: str | None = None


@dataclass(frozen=True)
class Package:
    """An opened package; ``metadata`` is what its author wrote in (key to text)."""

    path: Path
    specification: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    metadata: dict[str, str]
    program: Program
    _weights: dict[str, WeightFile]

    @classmethod
    def open(cls, path: str | Path) -> Package:
        """Read a package folder.

        Raises:
            ArtifactError: not a package, corrupt, of a newer version, or no ML program. Weights are only
                looked at when they are asked for.
        """
        folder = Path(path)
        try:
            model = folder / _ITEM_FOLDER / _model_item(folder)
            if not model.is_file():
                raise ValueError(f"the model {model.name} that its manifest names is missing")
            if model.stat().st_size > _MAX_MODEL_BYTES:
                raise ValueError(f"its model file is larger than {_MAX_MODEL_BYTES} bytes")
            with open_regular(model) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(folder, model, data)
        except (
            OSError,
            ValueError,
            RecursionError,
            FdikpEdgeError,
        ) as error:
            raise ArtifactError(
                f"{folder}: not a readable Core ML package: {strict_json.printable(str(error))}. "
                "Export the artifact again"
            ) from error

    def array(self, value: Value) -> Array | str:
        """Return a constant of the program, from the weight file if it is there.

        Raises:
            ArtifactError: the weight file is missing, cut short, or holds something else at that place.
        """
        content = value.content
        if not isinstance(content, Stored):
            return content
        try:
            if content.file not in self._weights:
                self._weights[content.file] = WeightFile(self._weight_path(content.file))
            return self._weights[content.file].read(content.offset, value.type)
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{self.path}: weights {content.file!r:.80} at {content.offset}: {error}. "
                "Export the artifact again"
            ) from error

    def close(self) -> None:
        """Let go of the weight files; closing twice is fine."""
        for file in self._weights.values():
            file.close()
        self._weights.clear()

    def _weight_path(self, name: str) -> Path:
        inside = PurePosixPath(name.removeprefix("@model_path/"))
        if (
            not name.startswith("@model_path/")
            or ".." in inside.parts
            or inside.is_absolute()
            or "\\" in name
        ):
            raise ValueError("is no plain path inside the package")
        folder = self.path / _ITEM_FOLDER / PurePosixPath(_model_item(self.path)).parent
        path: Path = folder / inside
        if path.is_symlink() or not path.is_file():
            raise ValueError("is missing")
        return path


def _model_item(folder: Path) -> str:
    """Return the path of the model inside ``Data``, which the manifest names."""
    file = folder / "Manifest.json"
    if not file.is_file():
        raise ValueError("has no Manifest.json")
    manifest = strict_json.parse(read_bounded(file, _MAX_MANIFEST_BYTES, ArtifactError))
    entries = manifest.get("itemInfoEntries") if isinstance(manifest, dict) else None
    if not isinstance(entries, dict):
        raise ValueError("its Manifest.json lists no items")
    version = manifest.get("fileFormatVersion")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise ValueError(f"its format version {version!r:.40} is not 1; this release reads 1")
    root = manifest.get("rootModelIdentifier")
    item = entries.get(root) if isinstance(root, str) else None
    path = item.get("path") if isinstance(item, dict) else None
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    if not isinstance(path, str) or not parts or "\\" in path or set(parts) & {"..", "/"}:
        raise ValueError("its Manifest.json names no model inside it")
    return path


def _read(folder: Path, model: Path, data: Buffer) -> Package:
    version, description, program = 0, None, None
    for number, wire, first, last in fields(data, 0, len(data)):
        if number == 1 and wire == 0:
            version = first
        elif number == 2 and wire == 2:
            description = (first, last)
        elif number == _MLPROGRAM and wire == 2:
            program = (first, last)
    if version > NEWEST_SPECIFICATION:
        raise ValueError(
            f"its specification {version} is newer than this release reads ({NEWEST_SPECIFICATION}). "
            "Update fdikp-edge, or build it for an older system"
        )
    if not version or description is None:
        raise ValueError(f"{model.name} is no Core ML model")
    if program is None:
        raise ValueError("holds no ML program (an older neural network, or another kind of model)")
    read = read_program(data, program)
    if read.opset not in OPSETS:
        raise ValueError(f"its operation set {read.opset!r:.40} is none of {', '.join(OPSETS)}")
    inputs = tuple(_feature(data, span) for span in children(data, description, 1))
    outputs = tuple(_feature(data, span) for span in children(data, description, 10))
    metadata = {}
    for span in children(data, description, 100):
        for entry in children(data, span, 100):
            held = {n: data[a:b].decode("utf-8") for n, wire, a, b in fields(data, *entry) if wire == 2}
            metadata[held.get(1, "")] = held.get(2, "")
    return Package(folder, version, inputs, outputs, metadata, read, {})


def _feature(data: Buffer, span: Span) -> Feature:
    held: dict[int, Span] = {n: (a, b) for n, wire, a, b in fields(data, *span) if wire == 2}
    name = data[slice(*held.get(1, (0, 0)))].decode("utf-8")
    for number, _, first, last in fields(data, *held.get(3, (0, 0))):
        if number == 4:
            sizes: dict[int, Any] = {n: a for n, wire, a, _ in fields(data, first, last) if wire == 0}
            colour = _COLOURS.get(sizes.get(3, 0))
            if colour is None:
                raise ValueError(f"{name!r:.80} is an image of an unknown colour layout")
            return Feature(name, (sizes.get(2, 0), sizes.get(1, 0)), "uint8", colour)
        if number == 5:
            numbers = {n: a for n, wire, a, _ in fields(data, first, last) if wire == 0}
            dtype = _ARRAY_DTYPES.get(numbers.get(2, 0), f"array type {numbers.get(2, 0)}")
            return Feature(name, tuple(integers(data, (first, last))), dtype)
    raise ValueError(f"{name!r:.80} is neither an array nor an image")
