"""Weights files: read them without trusting them, write them whole or not at all.

A weights file is input from strangers. Its size is bounded before it is read, its header before it is parsed,
and nothing in it is ever executed. Whatever is wrong raises
:class:`~fdikp_edge.runtime.errors.CheckpointError`, which names the file and the first offending key.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as serialise_safetensors
from torch import Tensor

from ..runtime.errors import CheckpointError, FdikpEdgeError, OutputError, OutputExistsError
from ..runtime.files import replacing
from ..runtime.outside.files import read_bounded
from ..runtime.outside.zips import bounded_zip
from .pickle_bounds import check_pickle

#: Ten times the largest variant in float32: room for other precisions and for what a trainer stores beside.
MAX_FILE_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_ARCHIVE_ENTRIES = 50_000
MAX_RANK = 8
SUFFIXES = (".safetensors", ".pth", ".pt")
#: Where training scripts put the weights inside a larger dictionary; the first that is there counts.
WRAPPERS = ("state_dict", "model", "params", "params_ema")
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_OTHER_ITEM_BYTES = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "C64": 8}
_FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file: tensors by key, as stored, and the strings stored beside them."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()
    """How the tensors were wrapped in the file."""

    def error(self, problem: str) -> CheckpointError:
        """Return an error about this file."""
        return CheckpointError(f"{self.path}: {problem}")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a .safetensors, .pth or .pt file of finite floating-point tensors.

    Raises:
        CheckpointError: it is anything else; the message says what is wrong.
    """
    checkpoint = read_tensors(path)
    for key, value in checkpoint.tensors.items():
        if value.dtype not in _FLOATING:
            raise checkpoint.error(f"key {key!r:.80} is not a plain floating-point tensor ({value.dtype})")
        if not bool(torch.isfinite(value).all()):
            raise checkpoint.error(f"key {key!r:.80} holds values that are not finite")
    return checkpoint


def read_tensors(
    path: Path, *, max_bytes: int | None = None, wrappers: Sequence[str] = WRAPPERS
) -> Checkpoint:
    """Read a .safetensors, .pth or .pt file of plain tensors, whatever their types and values.

    Args:
        path: the file, or a folder laid out like a repository of Hugging Face, with one file of weights
            (``model.safetensors``).
        max_bytes: of the file, unpacked, and of all tensors in it; :data:`MAX_FILE_BYTES` when ``None``.
        wrappers: keys under which the tensors may lie; the first that the file has counts.

    Raises:
        CheckpointError: it is anything else; the message says what is wrong.
    """
    limit = MAX_FILE_BYTES if max_bytes is None else max_bytes
    if path.is_dir() and path.suffix.lower() not in SUFFIXES:
        path = _weights_in(path)
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(f"{path}: not a weights file; expected one of {', '.join(SUFFIXES)}")
    data = _read_bounded(path, limit)
    if path.suffix.lower() == ".safetensors":
        return _from_safetensors(path, data, limit)
    return _from_pickle(path, data, limit, wrappers)


def choose_weights(names: Sequence[str], where: object, error: type[FdikpEdgeError] = CheckpointError) -> str:
    """Return which of the files of a folder or repository holds the weights.

    ``model.safetensors`` if there is one; else the only .safetensors file; else the only .pth or .pt file.

    Raises:
        FdikpEdgeError: of the type ``error``: there is none, or there are several; names ``where`` it looked.
    """
    usual = "model.safetensors"
    if usual in names:
        return usual
    for suffixes in (SUFFIXES[:1], SUFFIXES[1:]):
        files = sorted(name for name in names if name.lower().endswith(suffixes))
        if len(files) == 1:
            return files[0]
        if files:
            listed = ", ".join(file[:80] for file in files[:4])
            raise error(f"{where}: holds several files of weights ({listed}); name one of them")
    raise error(f"{where}: a folder without weights; expected {usual}")


def _weights_in(folder: Path) -> Path:
    """Return the file of weights in a folder that was copied or downloaded as a whole.

    In the folder that ``huggingface_hub`` keeps for a repository, it is that of the revision ``main``.

    Raises:
        CheckpointError: there is none, or the weights are in several files.
    """
    try:
        if (folder / "snapshots").is_dir() and (folder / "refs").is_dir():
            main = folder / "refs" / "main"
            commit = read_bounded(main, 100, CheckpointError).decode(errors="replace").strip()
            if not re.fullmatch("[0-9a-f]{40}", commit):
                raise CheckpointError(f"{main}: holds no commit")
            folder = folder / "snapshots" / commit
        names = [file.name for file in folder.iterdir() if file.is_file()]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}") from error
    return folder / choose_weights(names, folder)


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write a .safetensors file beside ``path`` and rename it, so that ``path`` is never half a file.

    Equal content gives equal bytes. :class:`OutputError` if the suffix is another, if ``path`` exists and
    ``overwrite`` is not set, or if the disk refuses.
    """
    if path.suffix.lower() != ".safetensors":
        raise OutputError(f"{path}: weights are written as .safetensors only")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already")
    data = _with_sorted_metadata(
        serialise_safetensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()}),
        metadata,
    )
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_bounded(path: Path, limit: int) -> bytes:
    return read_bounded(path, limit, CheckpointError)


def _from_safetensors(path: Path, data: bytes, limit: int) -> Checkpoint:
    header, start = _parse_header(path, data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: key '__metadata__' is not a table of strings")
    for key, entry in header.items():
        _check_entry(path, key, entry, len(data) - start, limit)
    try:
        tensors = parse_safetensors(data)
    except Exception as error:  # the parser reports by many types; whichever it is, the file is not usable
        raise CheckpointError(f"{path}: not a valid safetensors file ({error})") from error
    return Checkpoint(path, dict(tensors), metadata)


def _parse_header(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header as parsed JSON, and where the tensor data begins."""
    if len(data) < 8:
        raise CheckpointError(f"{path}: only {len(data)} bytes, too short for a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: not a safetensors file (its header claims {length} bytes)")
    if length > len(data) - 8:
        raise CheckpointError(f"{path}: truncated inside the header")

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} appears twice")
        return table

    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a safetensors file (header: {str(error)[:200]})") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file (the header is not a table)")
    return header, 8 + length


def _check_entry(path: Path, key: str, entry: object, available: int, limit: int) -> None:
    """Check what the header says about one tensor against the bytes that are there."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]  # type: ignore[index]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError, IndexError):
        raise CheckpointError(f"{path}: key {key!r:.80} is not described as a tensor") from None
    known = _ITEM_BYTES | _OTHER_ITEM_BYTES
    if not isinstance(dtype, str) or dtype not in known:
        raise CheckpointError(f"{path}: key {key!r:.80} has type {dtype!r:.80}; expected: {', '.join(known)}")
    if len(shape) > MAX_RANK or any(type(n) is not int or n < 0 or n > limit for n in numbers):
        raise CheckpointError(
            f"{path}: key {key!r:.80} has an impossible shape or place {str(numbers)[:200]}"
        )
    size = known[dtype] * math.prod(shape)
    if end - begin != size:
        raise CheckpointError(
            f"{path}: key {key!r:.80} of shape {shape} needs {size} bytes and has {end - begin}"
        )
    if end > available:
        raise CheckpointError(f"{path}: truncated; key {key!r:.80} is not wholly in the file")


def _with_sorted_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Add ``metadata`` to a safetensors file in a fixed order (the library's own order is random)."""
    (length,) = struct.unpack("<Q", data[:8])
    header = {"__metadata__": dict(sorted(metadata.items()))} | json.loads(data[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the format asks
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _from_pickle(path: Path, data: bytes, limit: int, wrappers: Sequence[str]) -> Checkpoint:
    """Read what ``torch.save`` wrote, with the unpickler that builds tensors and runs nothing."""
    contents = _check_archive(path, data, limit)
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
        if not foreign:
            check_pickle(contents)
        content = None if foreign else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile pickle can raise anything; its first line says enough
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise CheckpointError(f"{path}: not a readable weights file ({reason})") from error
    if foreign:
        raise CheckpointError(
            f"{path}: refused, because it would call {foreign[0]!r} while loading; a weights file holds "
            "tensors only. Save the bare state_dict, or better a .safetensors file."
        )
    tensors, notes = _state_dict(path, content, wrappers)
    total = 0
    for key, value in tensors.items():
        if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_nested:
            raise CheckpointError(
                f"{path}: key {key!r:.80} is not a plain floating-point tensor ({value.dtype})"
            )
        total += value.numel() * value.element_size()
        if total > limit:  # views that repeat few stored values
            raise CheckpointError(f"{path}: key {key!r:.80} has an impossible shape {list(value.shape)}")
    return Checkpoint(path, {key: value.detach() for key, value in tensors.items()}, {}, notes)


def _check_archive(path: Path, data: bytes, limit: int) -> bytes:
    """Check the archive and return the pickle in it, which says what the archive holds."""
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise CheckpointError(
                f"{path}: not an archive written by torch.save (or truncated). Bare pickles and the format "
                "from before torch 1.6 are not read."
            )
        archive = bounded_zip(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: a damaged archive ({str(error)[:200]})") from error
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ARCHIVE_ENTRIES or unpacked > limit:
        raise CheckpointError(f"{path}: unpacks to {len(entries)} entries and {unpacked} bytes, too many")
    try:
        pickles = [archive.read(entry) for entry in entries if entry.filename.split("/")[-1] == "data.pkl"]
    except Exception as error:  # zipfile and its codecs report damage by many types
        raise CheckpointError(f"{path}: a damaged archive ({str(error)[:200]})") from error
    if len(pickles) != 1:
        raise CheckpointError(f"{path}: not an archive written by torch.save ({len(pickles)} data.pkl in it)")
    return pickles[0]


def _state_dict(
    path: Path, content: object, wrappers: Sequence[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find the tensors in what was loaded: bare, or inside a trainer's dictionary, or from DataParallel."""
    notes: tuple[str, ...] = ()
    if isinstance(content, Mapping):
        present = [wrapper for wrapper in wrappers if isinstance(content.get(wrapper), Mapping)]
        if present:
            content = content[present[0]]
            others = f" (the file has {', '.join(map(repr, present[1:]))} too)" if present[1:] else ""
            notes = (f"the weights are those under {present[0]!r} in {path.name}{others}",)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no table of weights, but {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: key {key!r:.80} holds {type(value).__name__}, not a tensor")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    if prefix:
        notes += (f"the prefix {prefix!r} was taken off the keys of {path.name}",)
    return {key.removeprefix(prefix): value for key, value in content.items()}, notes
