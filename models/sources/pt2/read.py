"""A file of ``torch.export.save`` as a source: ``net.pt2``, read without running anything in it.

``torch.export.load`` is not used. It unpickles example inputs and custom objects without restriction, and
evaluates text (shape expressions, guards). What is left without those is plain data: the graph as JSON, each
weight as raw bytes with its type and shape as JSON. Both are read here, checked, and become a module that
calls one operator after the other (:mod:`.graph`).

A file that needs more is refused with the reason: pickled weights, objects of other classes, dynamic shapes,
compiled code, operators from outside PyTorch.
"""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....runtime import strict_json
from ....runtime.errors import SourceError
from ....runtime.outside.files import open_regular
from ....runtime.outside.zips import bounded_zip
from ..base import DTYPES, NetworkSource, TensorSpec
from ..generic import described
from ..request import Request
from .fields import dtype_of, integers, mapping_at, text_at
from .graph import build
from .network import Pt2Network

MAX_FILE_BYTES = 2 * 2**30
MAX_JSON_BYTES = 64 * 2**20
MAX_ENTRIES = 50_000
_WAY_OUT = "Give the network's Python code instead (net.py:Net, and the weights with --weights)."


def resolve(request: Request) -> NetworkSource:
    """Return the source of a file whose shapes and weights are those that it was exported with.

    Raises:
        SourceError: the file is damaged, or holds something that could only be read by running it; says what.
    """
    request.refuse(
        arguments="the file holds a network that is built already",
        weights="the file holds its weights",
        seed="the weights are those of the file",
    )
    path = Path(request.spec)
    try:
        network, inputs, narrowed = _read(path)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SourceError(f"{path}: cannot be read without running it: {reason}. {_WAY_OUT}") from error
    specs = described(network, request.inputs) if request.inputs else inputs
    _check_shapes(path, specs, inputs)
    notes: tuple[str, ...] = ("float16 or bfloat16 in it was made float32",) if narrowed else ()
    guessed = next((spec for spec in specs if spec.is_picture and not request.inputs), None)
    if guessed is not None:
        notes += (f"input {guessed.name!r} ({guessed.words}) is taken to be a picture; --input overrides it",)
    return NetworkSource(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem),
        spec=request.spec,
        load=lambda: network,
        inputs=specs,
        note=f"those in {path.name}",
        notes=notes,
    )


def _read(path: Path) -> tuple[Pt2Network, tuple[TensorSpec, ...], bool]:
    """Read and check a file; errors other than typed ones say only what is wrong with the content."""
    try:
        with open_regular(path, SourceError) as stream, bounded_zip(stream) as archive:
            files = _Files(archive)
            program = files.json("models/model.json")
            tensors = _tensors(files, "weights", "model_weights_config.json")
            tensors |= _tensors(files, "constants", "model_constants_config.json")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise SourceError(
            f"{path}: not a file of torch.export.save, or damaged ({str(error)[:200]})"
        ) from error
    network, metas = build(program, tensors)
    return network, _inputs(metas), network.narrowed


class _Files:
    """The entries of an archive by name, below its one top folder; uncompressed, as torch writes them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_FILE_BYTES:
            raise ValueError("it unpacks to more than a network can be")
        if packed := [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]:
            raise ValueError(f"entry {packed[0]!r:.80} is compressed, which torch.export.save never does")
        self._archive = archive
        self._entries = {entry.filename.partition("/")[2]: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError("two of its entries have the same name")
        if "archive_format" not in self._entries:
            raise ValueError("it is not in the format that torch.export.save writes since PyTorch 2.8")
        if compiled := [name for name in self._entries if name.startswith("data/aotinductor/")]:
            raise ValueError(f"it holds compiled code ({compiled[0]!r:.80})")

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """Return the bytes of an entry."""
        entry = self._entries.get(name)
        if entry is None:
            raise ValueError(f"it has no {name}")
        if entry.file_size > limit:
            raise ValueError(f"{name} has {entry.file_size} bytes; at most {limit} are read")
        return self._archive.read(entry)

    def json(self, name: str) -> Any:
        """Return the content of an entry as strict JSON."""
        return strict_json.parse(self.read(name, MAX_JSON_BYTES))


class _Stored:
    """A tensor of the file; ``parameter`` tells weights from buffers, ``narrow`` that it was 16 bits wide."""

    def __init__(self, tensor: Tensor, parameter: bool, narrow: bool) -> None:
        self.tensor, self.parameter, self.narrow = tensor, parameter, narrow


def _tensors(files: _Files, kind: str, config: str) -> dict[str, _Stored]:
    """Return the tensors that a table of the file lists, by name."""
    table = mapping_at(files.json(f"data/{kind}/{config}"), "config")
    raw: dict[str, bytes] = {}
    stored: dict[str, _Stored] = {}
    total = 0
    for name, entry in table.items():
        file = text_at(entry, "path_name")
        if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_[0-9]+", file):
            raise ValueError(f"{name!r:.80} is pickled or an object of another class ({file!r:.80})")
        if file not in raw:
            raw[file] = files.read(f"data/{kind}/{file}")
        tensor = _tensor(name, mapping_at(entry, "tensor_meta"), raw[file])
        total += tensor.numel() * tensor.element_size()
        if total > MAX_FILE_BYTES:
            raise ValueError(f"its tensors have more than {MAX_FILE_BYTES} bytes")
        narrow = tensor.dtype in (torch.float16, torch.bfloat16)
        stored[name] = _Stored(tensor.float() if narrow else tensor, bool(entry["is_param"]), narrow)
    return stored


def _tensor(name: str, meta: Any, data: bytes) -> Tensor:
    """Return a tensor from raw bytes, after checking that its shape and strides stay inside them."""
    dtype = dtype_of(meta["dtype"])
    sizes, strides = integers(meta["sizes"]), integers(meta["strides"])
    (offset,) = integers([meta["storage_offset"]])
    if len(sizes) != len(strides) or len(sizes) > 8 or min([*sizes, *strides, offset], default=0) < 0:
        raise ValueError(f"{name!r:.80} has an impossible shape")
    if math.prod(sizes) == 0:
        return torch.zeros(sizes, dtype=dtype)
    last = offset + sum((side - 1) * stride for side, stride in zip(sizes, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(data) or math.prod(sizes) * dtype.itemsize > MAX_FILE_BYTES:
        raise ValueError(f"{name!r:.80} is not wholly in the file")
    flat = torch.frombuffer(bytearray(data), dtype=dtype)
    tensor = torch.as_strided(flat, sizes, strides, offset).clone(memory_format=torch.contiguous_format)
    if bool(torch.isnan(tensor).any()):
        raise ValueError(f"{name!r:.80} holds values that are not numbers")
    return tensor


def _inputs(metas: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> tuple[TensorSpec, ...]:
    """Describe the inputs: the only one is a picture where its shape is that of one."""
    specs = []
    for name, (shape, dtype) in metas.items():
        word = str(dtype).removeprefix("torch.")
        if word not in DTYPES:
            raise ValueError(f"input {name!r:.80} is {word}; supported: {', '.join(DTYPES)}")
        color = {1: "grey", 3: "RGB"}.get(shape[1]) if len(shape) == 4 else None
        picture = len(metas) == 1 and word == "float32" and color is not None
        ranges = {"float32": (0.0, 1.0), "complex64": (-1.0, 1.0), "uint8": (0.0, 255.0)}
        specs.append(
            TensorSpec(
                name,
                shape,
                word,
                value_range=ranges.get(word),
                layout="NCHW" if picture else None,
                color=(color or "") if picture else "",
            )
        )
    return tuple(specs)


def _check_shapes(path: Path, specs: tuple[TensorSpec, ...], own: tuple[TensorSpec, ...]) -> None:
    if len(specs) != len(own):
        names = ", ".join(spec.name for spec in own)
        raise SourceError(f"{path}: the network has {len(own)} inputs ({names}), {len(specs)} are described")
    for spec, stored in zip(specs, own, strict=True):
        if len(spec.shape) != len(stored.shape) or any(
            given not in (None, side) for given, side in zip(spec.shape, stored.shape, strict=True)
        ):
            raise SourceError(
                f"{path}: was exported for input {stored.name!r} of {stored.words}, not {spec.words}; the "
                "shapes of an exported network are fixed"
            )
