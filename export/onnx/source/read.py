"""Reads an ONNX file that somebody else wrote, as a hostile file.

Its tensors may lie in other files, which it names by path: only plain names inside its own folder are
followed, and no symbolic link. Sizes are bounded before anything is read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....runtime.errors import BadInputError, FieldError
from ....runtime.fields import safe_path
from ....runtime.files import sha256_of
from ....runtime.sessions.onnx_guard import external_locations

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2**31 - 1
"""Bytes of a file and of all files it names together: what protobuf can hold in one message."""
OLDEST_IR = 4
"""First version of the file format that is read; before it, every constant is an input too."""


def read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """Return the model with all its tensors inside it, and the SHA-256 of its bytes.

    The digest of a model in several files covers all of them.

    Raises:
        BadInputError: missing, too large, not valid ONNX, or it names a file outside its folder.
    """
    import onnx

    size = _size_of(path)
    try:
        locations = external_locations(path)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: not a readable ONNX file: {error}") from error
    folder = path.parent
    sizes = {location: _size_beside(path, location) for location in locations}
    total = size + sum(sizes.values())
    if total > MAX_BYTES:
        raise BadInputError(
            f"{path}: {total / 1e9:.1f} GB with the files it names; at most 2.1 GB are read, because the "
            "result is one file"
        )
    try:
        model = onnx.load(path, load_external_data=False)
        _check_texts(model)
    except Exception as error:  # protobuf's own, which is no part of its public interface
        raise BadInputError(f"{path}: not a readable ONNX file: {str(error)[:300]}") from error
    _check_extents(path, model, sizes)
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(folder))
        _check(model)
    except Exception as error:  # onnx's errors share no base class
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
        raise BadInputError(f"{path}: not valid ONNX: {lines[0][:300]}") from error
    return model, _digest(path, locations)


def _size_of(path: Path) -> int:
    if not path.exists():
        raise BadInputError(f"{path}: no such file")
    if not path.is_file():
        raise BadInputError(f"{path}: not a file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInputError(f"{path}: {size / 1e9:.1f} GB; an ONNX file has at most 2.1 GB")
    return size


def _size_beside(path: Path, location: str) -> int:
    """Return the size of a file that the model names, after a check of its name."""
    try:
        safe_path(location, "external data")
    except FieldError as error:
        raise BadInputError(
            f"{path}: keeps tensors in {location!r:.80}, which is not a plain path inside its folder"
        ) from error
    file = path.parent
    for part in location.split("/"):
        file = file / part
        if file.is_symlink():
            raise BadInputError(f"{path}: keeps tensors in {location!r:.80}, which is a symbolic link")
    if not file.is_file():
        raise BadInputError(f"{path}: keeps tensors in {location!r:.80}, and no such file is in its folder")
    return file.stat().st_size


def _check_extents(path: Path, model: onnx.ModelProto, sizes: dict[str, int]) -> None:
    """Check that every piece of another file lies inside that file."""
    import onnx

    tensors: Any = onnx.external_data_helper._get_all_tensors(model)
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        location, offset, length = (entry.get(key, "") for key in ("location", "offset", "length"))
        start, count = _number(offset or "0"), _number(length or "0")
        if location not in sizes or min(start, count) < 0 or start + count > sizes[location]:
            raise BadInputError(
                f"{path}: tensor {tensor.name!r:.80} is not in {location!r:.80} where the file says it is"
            )


def _number(text: str) -> int:
    """Return a whole number from 0, or -1."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _check_texts(message: Any) -> None:
    """Refuse a text that is not UTF-8: protobuf gives it as bytes, which nothing here expects.

    Raises:
        ValueError: there is one; names its field.
    """
    for field, value in message.ListFields():
        several = [value] if isinstance(value, bytes | str) or hasattr(value, "ListFields") else value
        if field.type == field.TYPE_MESSAGE:
            for inner in several:
                _check_texts(inner)
        elif field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in several):
            raise ValueError(f"{field.full_name} holds text that is not UTF-8")


def _check(model: onnx.ModelProto) -> None:
    import onnx

    if model.ir_version < OLDEST_IR:
        raise ValueError(f"format version (IR) {model.ir_version}; versions from {OLDEST_IR} are read")
    onnx.checker.check_model(model)


def _digest(path: Path, locations: list[str]) -> str:
    own = sha256_of(path)
    if not locations:
        return own
    state = hashlib.sha256(own.encode())
    for location in locations:
        state.update(f"\n{location} {sha256_of(path.parent / location)}".encode())
    return state.hexdigest()
