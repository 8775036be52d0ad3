"""Ed25519 keys in PEM files: made, read, used. ``cryptography`` is imported when one is first needed.

The files are those of other tools (PKCS #8 and SubjectPublicKeyInfo), so ``openssl pkey`` shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInputError, TargetUnavailableError
from ..files import check_new, write_new
from ..installed.packages import CRYPTOGRAPHY
from ..outside.files import read_bounded

if TYPE_CHECKING:
    from types import ModuleType

PUBLIC_SUFFIX = ".pub"
"""What the public key's file is called beside the private one's: ``team.key.pub``."""
MAX_KEY_BYTES = 16 * 1024

_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644


@dataclass(frozen=True)
class PublicKey:
    """What checks signatures; ``path`` is the file that it came from, for messages."""

    raw: bytes
    path: Path

    @property
    def id(self) -> str:
        """What the key is called in signatures: the SHA-256 of its 32 bytes, in hexadecimal."""
        return hashlib.sha256(self.raw).hexdigest()

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether the owner of the private key made ``signature`` (64 bytes) for ``message``."""
        from cryptography.exceptions import InvalidSignature

        key = _ed25519().Ed25519PublicKey.from_public_bytes(self.raw)
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """What signs. Its text shows no secret."""

    _key: Any
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes; the same for the same message."""
        return bytes(self._key.sign(message))


def make_keys(path: Path) -> PublicKey:
    """Write a new private key to ``path``, for its owner alone (mode 0600), and the public key beside it.

    Raises:
        OutputError: one of the two files exists, since neither is ever replaced; or they cannot be written.
        TargetUnavailableError: ``cryptography`` is not installed.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as forms

    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    beside = public_path(path)
    check_new(beside)
    write_new(path, private, _PRIVATE_MODE)
    try:
        write_new(beside, public, _PUBLIC_MODE)
    except BaseException:
        path.unlink()  # just made, and nothing was signed with it
        raise
    return PublicKey(bytes(key.public_key().public_bytes_raw()), beside)


def public_path(path: Path) -> Path:
    """Return where the public key of a private key's file lies."""
    return path.with_name(path.name + PUBLIC_SUFFIX)


def read_public(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        BadInputError: no such file, or no Ed25519 public key in PEM form.
        TargetUnavailableError: ``cryptography`` is not installed.
    """
    kind = _ed25519().Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = read_bounded(path, MAX_KEY_BYTES)
    if b"PRIVATE KEY" in data:
        raise BadInputError(
            f"{path}: is a private key; give the public one ({public_path(path).name}), and keep this one "
            "off devices"
        )
    key = _parsed(lambda: load_pem_public_key(data), kind, path, "public")
    return PublicKey(bytes(key.public_bytes_raw()), path)


def read_private(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        BadInputError: no such file, protected by a password, or no Ed25519 private key in PEM form.
        TargetUnavailableError: ``cryptography`` is not installed.
    """
    kind = _ed25519().Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = read_bounded(path, MAX_KEY_BYTES)
    if b"ENCRYPTED" in data:
        raise BadInputError(
            f"{path}: is protected by a password, which is not read; `openssl pkey` removes it"
        )
    key = _parsed(lambda: load_pem_private_key(data, password=None), kind, path, "private")
    return PrivateKey(key, PublicKey(bytes(key.public_key().public_bytes_raw()), path))


def _parsed(load: Callable[[], Any], kind: type[Any], path: Path, half: str) -> Any:
    """Return the key that ``load`` reads, if it is of this kind; ``half`` is ``public`` or ``private``."""
    try:
        key = load()
    except Exception as error:  # ValueError, UnsupportedAlgorithm, and what OpenSSL raises for damaged bytes
        raise BadInputError(f"{path}: no {half} key in PEM form, as keygen writes it") from error
    if not isinstance(key, kind):
        raise BadInputError(f"{path}: is a {half} key of another kind; an Ed25519 key is needed")
    return key


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise TargetUnavailableError(
            f"signatures need cryptography, which is not installed here: {CRYPTOGRAPHY.cure}"
        ) from error
    return ed25519
