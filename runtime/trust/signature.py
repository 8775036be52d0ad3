"""The signature of an artifact or a bundle: a small file beside the passport, or beside the bundle.

It covers what was built: the SHA-256 and the size of every file of the artifact, and the fields of the
passport that are fixed when it is built (:data:`SIGNED`). It leaves out what is measured later
(:data:`MEASURED`), so that a device can add evidence to an artifact that it may not sign.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import strict_json
from ..errors import ArtifactError, FdikpEdgeError, OutputExistsError
from ..fields import PASSPORT_NAME
from ..files import replacing
from ..outside.files import read_bounded
from ..passport import Passport
from .keys import PrivateKey, PublicKey

SIGNATURE_NAME = "signature.json"
"""In an artifact's folder; of a bundle, ``NAME.signature.json`` beside it."""

SIGNED = (
    "model", "weights_sha256", "program_sha256", "target", "precision", "plan", "precision_census",
    "calibration_sha256", "toolchain", "inputs", "outputs", "image_contract", "source", "model_file", "files",
    "golden",
)  # fmt: skip
"""The fields of a passport that are signed."""
MEASURED = (
    "format_version", "parity", "latency_ms", "measured_on", "evidence", "state", "reason", "notes",
)  # fmt: skip
"""Those that are not: measurements, and the version that holds them."""

MAX_SIGNATURE_BYTES = 4096

_FORMAT = "fdikp-edge signature"
_VERSION = 1
_ALGORITHM = "ed25519"
_KEYS = {"format", "version", "algorithm", "key", "signature"}
_required: list[PublicKey] = []


@contextlib.contextmanager
def required(key: PublicKey | None) -> Iterator[None]:
    """Within the block, no artifact opens that the owner of ``key`` did not sign; ``None`` asks nothing.

    It holds for the whole process and all its threads: a place that opens an artifact cannot forget it.
    """
    if key is None:
        yield
        return
    _required.append(key)
    try:
        yield
    finally:
        _required.remove(key)


def is_required() -> bool:
    """Say whether any key is required now."""
    return bool(_required)


def required_keys() -> list[PublicKey]:
    """Return the keys that are required now, for a process that has to require them too."""
    return list(_required)


def check_artifact(folder: Path, passport: Passport) -> None:
    """Check the signature of an artifact against each key that is required now.

    Raises:
        ArtifactError: it has none, is signed with another key, or differs from what was signed.
    """
    for key in _required:
        _check(folder / SIGNATURE_NAME, _of_artifact(passport), key, f"{PASSPORT_NAME} or a file")


def check_bundle(path: Path) -> None:
    """Check the signature of a bundle against each key that is required now.

    Raises:
        ArtifactError: as :func:`check_artifact`; the message names the bundle.
    """
    for key in _required:
        try:
            _check(bundle_signature(path), _of_bundle(path), key, "the bundle")
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error


def sign_artifact(folder: Path, passport: Passport, key: PrivateKey, *, overwrite: bool = False) -> Path:
    """Write the signature of an artifact that was opened, and return its file.

    Raises:
        OutputExistsError: another key signed it, and ``overwrite`` is not set.
        OutputError: it cannot be written.
    """
    return _write(folder / SIGNATURE_NAME, _of_artifact(passport), key, overwrite)


def sign_bundle(path: Path, key: PrivateKey, *, overwrite: bool = False) -> Path:
    """Write the signature of a bundle that was checked, and return its file.

    Raises:
        OutputError: as :func:`sign_artifact`.
    """
    return _write(bundle_signature(path), _of_bundle(path), key, overwrite)


def bundle_signature(path: Path) -> Path:
    """Return the file of a bundle's signature."""
    return path.with_name(f"{path.name}.{SIGNATURE_NAME}")


def signer(file: Path) -> str | None:
    """Return the id of the key that a signature file names, which proves nothing; ``None`` without a file.

    Raises:
        ArtifactError: the file is no signature.
    """
    return _read(file)[0] if file.is_file() else None


def _of_artifact(passport: Passport) -> bytes:
    content = {"inputs": [end.to_dict() for end in passport.inputs]}
    content["outputs"] = [end.to_dict() for end in passport.outputs]
    return _message("artifact", {name: content.get(name, getattr(passport, name)) for name in SIGNED})


def _of_bundle(path: Path) -> bytes:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return _message("bundle", {"sha256": digest.hexdigest()})


def _message(kind: str, content: Any) -> bytes:
    """Return what is signed: the beginning keeps a signature of one kind from counting as one of another."""
    return f"{_FORMAT} {_VERSION}: {kind} {strict_json.digest(content)}".encode()


def _write(file: Path, message: bytes, key: PrivateKey, overwrite: bool) -> Path:
    if file.exists() and not overwrite:
        with contextlib.suppress(ArtifactError):
            if _read(file) == (key.public.id, key.sign(message)):
                return file
        raise OutputExistsError(f"{file}: is a signature already, of another key or of what was there before")
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "algorithm": _ALGORITHM,
        "key": key.public.id,
        "signature": key.sign(message).hex(),
    }
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")
    return file


def _check(file: Path, message: bytes, key: PublicKey, what: str) -> None:
    if not file.exists():
        raise ArtifactError(f"is not signed (no {file.name}), and a signature of {key.path} is required")
    named, signature = _read(file)
    if named != key.id:
        raise ArtifactError(
            f"{file.name}: is the signature of another key ({named[:16]}) than {key.path} ({key.id[:16]})"
        )
    if not key.signed(message, signature):
        raise ArtifactError(f"{file.name}: does not fit: {what} was changed after it was signed")


def _read(file: Path) -> tuple[str, bytes]:
    """Return the id of the key, and the signature."""
    try:
        content = strict_json.parse(
            read_bounded(file, MAX_SIGNATURE_BYTES, ArtifactError, follow_links=False)
        )
        if not isinstance(content, dict) or set(content) != _KEYS or content["format"] != _FORMAT:
            raise ValueError("other keys than a signature has")
        if content["version"] != _VERSION or content["algorithm"] != _ALGORITHM:
            raise ValueError("a version or an algorithm that this release does not know")
        named, signature = str(content["key"]), bytes.fromhex(str(content["signature"]))
        if len(bytes.fromhex(named)) != 32 or len(signature) != 64:
            raise ValueError("a key or a signature of another length")
    except ValueError as error:
        raise ArtifactError(f"{file.name}: is no signature of an artifact: {error}") from error
    except FdikpEdgeError as error:
        raise ArtifactError(f"{file.name}: cannot be read: {error}") from error
    return named, signature
