"""The one entry script of a bundle: checks every byte of it, unpacks it, and starts the device program.

This file stands at the top of each bundle as ``__main__.py``, so that ``python model.bundle build`` works
with nothing installed. It therefore imports the standard library alone, nothing of ours. Elsewhere it is read
as :mod:`fdikp_edge.runtime.device.entry`, and :mod:`.bundle` opens bundles with the same checks.

A bundle may come from anywhere. Its names must be plain, its entries plain files without repeats, its sizes
and ratios bounded, and its files exactly those that the manifest lists, with their SHA-256. What is refused
leaves nothing behind. The digests notice damage and edits; they are no signature, and whoever runs a bundle
runs this script as it stands in it: take bundles from people you trust, or compare the file's SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

FORMAT = "fdikp-edge bundle"
VERSION = 1
MANIFEST = "manifest.json"
CACHE_VARIABLE = "FDIKP_EDGE_CACHE"
SITE = "site"
"""Folder of the unpacked bundle that holds its Python packages."""

MAX_ENTRIES = 4096
MAX_FILE_BYTES = 4 * 1024**3
MAX_BYTES = 16 * 1024**3
MAX_MANIFEST_BYTES = 4 * 1024**2
MAX_TABLE_BYTES = 4 * 1024**2
"""Of the table of contents: room for 4096 names of a kilobyte each."""
MAX_RATIO = 200
"""How many times larger than its packed size a file may be; below a megabyte nothing is asked."""
FREE_BYTES = 1024**2

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROGRAM = re.compile(r"fdikp_edge(\.[a-z_]+)+")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_AGAIN = "Copy or make the bundle again"


class RefusedError(Exception):
    """The bundle is damaged, altered, foreign, from a newer version, or unsafe to unpack."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def read_manifest(path: Path, *, contents: bool = True) -> dict[str, Any]:
    """Check a whole bundle (without ``contents``, all but its files' bytes) and return its manifest.

    Raises:
        RefusedError: see the class; the message says which file and why.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive)
        if contents:
            _check_contents(archive, manifest)
    return manifest


def unpack(path: Path, cache: Path) -> Path:
    """Return the folder in ``cache`` that holds the bundle's files and :data:`SITE`, made or checked anew.

    Raises:
        RefusedError: the bundle is refused, or the cache belongs to somebody else or cannot be written.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive)
        folder = cache / str(manifest["manifest_sha256"])[:32]
        _private(cache)
        if folder.is_dir() and not _differs(folder, manifest):
            _check_contents(archive, manifest)  # damage is said even where a copy unpacked before is sound
            return folder
        partial = cache / f".partial-{secrets.token_hex(8)}"
        try:
            partial.mkdir(mode=0o700)
            for name, entry in manifest["files"].items():
                _write(partial / name, _contents(archive, name, entry))
            _install(partial / manifest["wheel"], partial / SITE)
            if folder.exists():  # damaged since it was made
                shutil.rmtree(folder)
            partial.replace(folder)
        except OSError as error:
            if folder.is_dir() and not _differs(folder, manifest):  # another run was faster
                return folder
            reason = error.strerror or error
            raise RefusedError(
                f"{cache}: cannot be written: {reason}. Set {CACHE_VARIABLE} to a folder of yours"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def default_cache() -> Path:
    """Return where bundles are unpacked: :data:`CACHE_VARIABLE`, or the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # nobody's home
        raise RefusedError(f"there is no home folder: set {CACHE_VARIABLE} to a folder of yours") from error
    return Path(base) / "fdikp-edge" / "bundles"


class _Bounded:
    """A stream that returns at most ``most`` bytes at once, as long as that is set."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self.stream = stream
        self.most: int | None = most

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes.

        Raises:
            BadZipFile: they are more than are allowed.
        """
        if self.most is not None and size > self.most:
            raise zipfile.BadZipFile(f"its table of contents has {size} bytes; at most {self.most} are read")
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def bounded_zip(stream: IO[bytes], most: int = MAX_TABLE_BYTES) -> zipfile.ZipFile:
    """Open an archive whose table of contents has at most ``most`` bytes; :mod:`zipfile` reads it at once,
    however long it is, and needs ten times its memory.

    Args:
        stream: the archive; stays the caller's to close.
        most: bytes of the table, from 46 for each entry.

    Raises:
        BadZipFile: it is longer, or the archive is damaged.
    """
    bounded = _Bounded(stream, most)
    archive = zipfile.ZipFile(bounded)
    bounded.most = None
    return archive


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RefusedError(f"{path}: is not a plain file")
        stream = path.open("rb")
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        raise RefusedError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with stream:
        try:
            archive = bounded_zip(stream)
        except OSError as error:
            raise RefusedError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise RefusedError(f"{path}: truncated or no bundle ({str(error)[:200]}). {_AGAIN}") from error
        yield archive


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the manifest, checked against the archive's own list of entries."""
    names = check_entries(archive.infolist(), archive.comment)
    if MANIFEST not in names:
        raise RefusedError(f"has no {MANIFEST}: this is no bundle")
    info = archive.getinfo(MANIFEST)
    if info.file_size > MAX_MANIFEST_BYTES:
        raise RefusedError(f"{MANIFEST}: larger than {MAX_MANIFEST_BYTES} bytes")
    manifest = _parse(b"".join(_stream(archive, MANIFEST)))
    listed = set(manifest["files"]) | {MANIFEST}
    if extra := sorted(names - listed):
        raise RefusedError(f"{extra[0]}: is not listed in the manifest. {_AGAIN}")
    if missing := sorted(listed - names):
        raise RefusedError(f"{missing[0]}: is missing. {_AGAIN}")
    return manifest


def check_entries(entries: list[zipfile.ZipInfo], comment: bytes = b"") -> set[str]:
    """Check what an archive says of its entries before anything is read, and return their names.

    Raises:
        RefusedError: an unsafe or repeated name, a link or special file, encryption, an unknown packing, or
            sizes that nobody asked for.
    """
    if len(entries) > MAX_ENTRIES:
        raise RefusedError(f"holds more than {MAX_ENTRIES} entries")
    if comment or (entries and min(entry.header_offset for entry in entries) != 0):
        raise RefusedError(f"has data around the archive that no bundle has. {_AGAIN}")
    names: set[str] = set()
    folded: set[str] = set()
    for entry in entries:
        name = entry.orig_filename
        shown = ascii(name)[:90]
        if not plain_name(name):
            raise RefusedError(f"{shown} is not a plain name inside the bundle")
        if name.casefold() in folded:
            raise RefusedError(f"{shown} is there twice")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or entry.is_dir():
            raise RefusedError(f"{shown} is a link, a folder or a special file, not a plain file")
        if entry.flag_bits & 0x1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedError(f"{shown} is encrypted, or packed in a way that bundles are not")
        if entry.file_size > max(FREE_BYTES, MAX_RATIO * entry.compress_size):
            raise RefusedError(f"{shown} would grow more than {MAX_RATIO} times when unpacked")
        if entry.file_size > MAX_FILE_BYTES:
            raise RefusedError(f"{shown} is larger than {MAX_FILE_BYTES} bytes")
        names.add(name)
        folded.add(name.casefold())
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise RefusedError(f"holds more than {MAX_BYTES} bytes")
    return names


def plain_name(name: str) -> bool:
    """Say whether a name stays inside a folder on every system."""
    parts = name.split("/")
    if len(name) > 240 or len(parts) > 12 or not name.isprintable() or set(name) & set('\\:*?"<>|'):
        return False
    return not any(
        part in ("", ".", "..") or part.endswith((" ", ".")) or _WINDOWS_DEVICE.fullmatch(part)
        for part in parts
    )


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 over a manifest without its own ``manifest_sha256``."""
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _parse(data: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key appears twice")
        return dict(pairs)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"is not the manifest of a {FORMAT}")
        version = value.get("version")
        if isinstance(version, int) and version > VERSION:
            raise RefusedError(
                f"{MANIFEST}: version {version} is newer than the {VERSION} read here; update fdikp-edge"
            )
        if version != VERSION:
            raise ValueError(f"version {version!r:.20} is unknown")
        if value.get("manifest_sha256") != manifest_digest(value):
            raise ValueError("was changed after it was written (its own SHA-256 does not match)")
        _check_fields(value)
    except KeyError as error:
        raise RefusedError(f"{MANIFEST}: has no {str(error)[:90]}. {_AGAIN}") from error
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise RefusedError(f"{MANIFEST}: {str(error)[:300]}. {_AGAIN}") from error
    return value


def _check_fields(value: dict[str, Any]) -> None:
    for name, entry in value["files"].items():
        if not plain_name(name) or name == MANIFEST or set(entry) != {"sha256", "bytes"}:
            raise ValueError(f"lists {ascii(name)[:90]} wrongly")
        size_fits = type(entry["bytes"]) is int and 0 <= entry["bytes"] <= MAX_FILE_BYTES
        if not size_fits or not _SHA256.fullmatch(entry["sha256"]):
            raise ValueError(f"lists {ascii(name)[:90]} wrongly")
    if not isinstance(value["device"], str) or not isinstance(value["made_with"], dict):
        raise ValueError("device: expected text, and made_with: expected an object")
    for key, version in value["made_with"].items():
        if not isinstance(version, str):
            raise ValueError(f"made_with: {ascii(key)[:90]}: expected text")
    artifacts = value["artifacts"]
    if not isinstance(artifacts, list) or not all(isinstance(a, str) and plain_name(a) for a in artifacts):
        raise ValueError("artifacts: expected a list of folders")
    if not _PROGRAM.fullmatch(value["program"]):
        raise ValueError("program: is none of ours")
    for key in ("wheel", "photo"):
        if value[key] not in value["files"]:
            raise ValueError(f"{key} is not one of the files")


def _stream(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    try:
        with archive.open(name) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise RefusedError(f"{name}: truncated or damaged ({str(error)[:200]}). {_AGAIN}") from error
    except OSError as error:
        raise RefusedError(f"{name}: cannot be read: {error.strerror or error}. {_AGAIN}") from error


def _contents(archive: zipfile.ZipFile, name: str, entry: dict[str, Any]) -> Iterator[bytes]:
    """Yield a file's bytes; what the manifest says of them is checked on the way and at the end."""
    state, size = hashlib.sha256(), 0
    for chunk in _stream(archive, name):
        size += len(chunk)
        if size > entry["bytes"]:
            break
        state.update(chunk)
        yield chunk
    if size != entry["bytes"] or state.hexdigest() != entry["sha256"]:
        raise RefusedError(f"{name}: was altered (its SHA-256 is not the one in the manifest). {_AGAIN}")


def _check_contents(archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    for name, entry in manifest["files"].items():
        for _ in _contents(archive, name, entry):
            pass


def _write(target: Path, chunks: Iterator[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)


def _install(wheel: Path, site: Path) -> None:
    with _opened(wheel) as packed:
        for name in check_entries(packed.infolist(), packed.comment):
            _write(site / name, _stream(packed, name))


def _differs(folder: Path, manifest: dict[str, Any]) -> bool:
    """Say whether an unpacked bundle is not what it was: a file altered, missing or added."""
    expected = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    present = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    with _opened(folder / manifest["wheel"]) as packed:
        for name in packed.namelist():
            expected[f"{SITE}/{name}"] = hashlib.sha256(b"".join(_stream(packed, name))).hexdigest()
    if set(present) != set(expected):
        return True
    return any(path.is_symlink() or sha256_of(path) != expected[name] for name, path in present.items())


def _private(cache: Path) -> None:
    """Make the cache, or check that nobody else can put code there."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = cache.stat()
    except OSError as error:
        reason = error.strerror or error
        raise RefusedError(
            f"{cache}: cannot be made: {reason}. Set {CACHE_VARIABLE} to a folder of yours"
        ) from error
    if hasattr(os, "getuid") and (info.st_uid != os.getuid() or info.st_mode & 0o022):
        raise RefusedError(
            f"{cache}: others may write there, and code is run from it. "
            f"Set {CACHE_VARIABLE} to a folder of yours"
        )


def main(bundle: Path) -> None:
    """Unpack the bundle this script stands in and hand over to its device program."""
    if sys.version_info < (3, 10):  # noqa: UP036 - this file meets whatever Python a device has
        message = "error: Python 3.10 or newer is needed (JetPack 6 has 3.10, JetPack 7 has 3.12)"
        raise SystemExit(_complain(message, 2))
    try:
        folder = unpack(bundle, default_cache())
        program = read_manifest(bundle, contents=False)["program"]
    except RefusedError as error:
        raise SystemExit(_complain(f"error: {bundle}: {error}", 2)) from None
    except KeyboardInterrupt:
        raise SystemExit(_complain("stopped; no partial output is left", 130)) from None
    sys.dont_write_bytecode = True  # the folder is checked at every start, and must not grow
    sys.path.insert(0, str(folder / SITE))
    try:
        device = importlib.import_module(program)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fdikp_edge"):
            raise
        message = f"error: {error.name} is not installed for {sys.executable}: pip install {error.name}"
        raise SystemExit(_complain(message, 2)) from None
    device.run(folder, bundle)


def _complain(message: str, code: int) -> int:
    print(message.encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return code


if __name__ == "__main__":
    main(Path(sys.argv[0]).absolute())
