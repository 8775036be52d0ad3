"""The files of ONNX Runtime Web that a page needs, taken from its npm package and kept in the user's cache.

Nothing else is accepted than the files of one release: the package by its integrity hash, each file by its
SHA-256, whether npm fetched it or a folder at hand holds it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...runtime.errors import BadInputError, TargetUnavailableError
from ...runtime.files import replacing
from ...runtime.outside.files import read_bounded
from ...runtime.tensorrt.caches import cache_folder

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package, as npm writes it into a lock file."""

FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
"""File in ``dist/`` of the package -> its SHA-256."""

PROVIDERS = {"wasm": tuple(FILES)[:3], "webgpu": tuple(FILES)[3:]}
"""What a page runs on -> the files that this takes."""

NPM = "npm"
"""The value of the option ``runtime`` that asks for the package from npm."""
MAX_BYTES = 64 * 1024**2
PATIENCE_S = 600
COMMAND = f"npm pack {PACKAGE}@{VERSION}"


def needed(provider: str, precision: str) -> tuple[str, ...]:
    """Return the names of the files that a page may load.

    Args:
        provider: the target's option: ``auto``, ``wasm`` or ``webgpu``.
        precision: at ``int8``, the page chooses WebAssembly on its own (``chooseProvider`` in worker.js).
    """
    if provider == "auto":
        return PROVIDERS["wasm"] if precision == "int8" else tuple(FILES)
    return PROVIDERS[provider]


def download_problem() -> str | None:
    """Say why the files are not at hand, or ``None``: what keeps this target out of ``--target all``."""
    if _cached() is not None:
        return None
    return npm_problem() or (
        f"`all` downloads nothing, and the files of {PACKAGE} {VERSION} are not here yet; name the target, "
        "--target web, to fetch them through npm (33 MB, once)"
    )


def npm_problem() -> str | None:
    """Say why the files cannot be had without a folder at hand, or ``None``; fetches nothing."""
    if shutil.which("npm") or _cached() is not None:
        return None
    return (
        f"the files of {PACKAGE} {VERSION} come through npm, which is not installed: install Node.js, or run "
        f"`{COMMAND}` elsewhere, unpack it and name the folder with --target web:runtime=DIR"
    )


def runtime_files(source: str = NPM) -> dict[str, bytes]:
    """Return the runtime's files by name.

    Args:
        source: :data:`NPM`, or a folder that holds the files, or the package, or a project with it in
            ``node_modules``.

    Raises:
        TargetUnavailableError: npm is missing or cannot fetch the package; says what to do without it.
        BadInputError: the folder lacks a file, or one is not of this release.
    """
    if source != NPM:
        return _of_folder(Path(source))
    if (kept := _cached()) is not None:
        return kept
    with _package() as archive:
        files = _unpacked(archive)
    if (folder := cache_folder(f"{PACKAGE}-{VERSION}")) is not None:
        for name, data in files.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
    return files


def _cached() -> dict[str, bytes] | None:
    """Return what an earlier call kept; ``None`` where a file is missing or altered."""
    folder = cache_folder(f"{PACKAGE}-{VERSION}")
    if folder is None:
        return None
    try:
        return {name: _checked(name, read_bounded(folder / name, MAX_BYTES)) for name in FILES}
    except BadInputError:
        return None


def _of_folder(folder: Path) -> dict[str, bytes]:
    places = [
        folder,
        folder / "dist",
        folder / "package" / "dist",
        folder / "node_modules" / PACKAGE / "dist",
    ]
    place = next((place for place in places if (place / next(iter(FILES))).exists()), None)
    if place is None:
        raise BadInputError(
            f"{folder}: holds no {next(iter(FILES))}; name a folder with the files of {PACKAGE} {VERSION} "
            f"(`{COMMAND}` fetches them)"
        )
    return {name: _checked(name, read_bounded(place / name, MAX_BYTES), place) for name in FILES}


def _checked(name: str, data: bytes, place: Path | None = None) -> bytes:
    if hashlib.sha256(data).hexdigest() != FILES[name]:
        where = name if place is None else place / name
        raise BadInputError(f"{where}: is not the file of {PACKAGE} {VERSION} (`{COMMAND}` fetches it)")
    return data


@contextmanager
def _package() -> Iterator[Path]:
    """Let npm fetch the package, with the registry and the proxy that it is set up for."""
    problem = npm_problem()
    program = shutil.which("npm")
    if problem or program is None:
        raise TargetUnavailableError(f"target web: {problem}")
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-") as folder:
        words = [program, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S
            )
            why = "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-300:] or "no reason"
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        archives = [] if why else list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise TargetUnavailableError(
                f"target web: npm could not fetch {PACKAGE} {VERSION} ({' '.join(why.split())}); try "
                f"`{COMMAND}`, or name a folder with its files: --target web:runtime=DIR"
            )
        yield archives[0]


def _unpacked(archive: Path) -> dict[str, bytes]:
    """Return the files of a package, each checked; nothing is written to where the package says.

    Raises:
        BadInputError: another package than the pinned one.
    """
    data = read_bounded(archive, MAX_BYTES)
    digest = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if digest != INTEGRITY:
        raise BadInputError(f"{PACKAGE} {VERSION}: the registry gave another package than the pinned one")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as package:
        files = {}
        for name in FILES:
            member = package.extractfile(f"package/dist/{name}")
            if member is None:
                raise BadInputError(f"{archive.name}: {name} is not a plain file")
            files[name] = _checked(name, member.read(MAX_BYTES))
    return files
