"""An artifact: a folder with a built model and ``passport.json``, checked when opened, written whole or not.

An artifact may come from anywhere, so opening one trusts nothing: names must be plain and inside the folder,
links and special files are refused, sizes are bounded, every byte is hashed, and a file the passport does not
list is refused, since a model format might read it unchecked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .buckets.folders import size_folders
from .errors import ArtifactError, FdikpEdgeError, OutputError, OutputExistsError
from .evidence import Evidence
from .fields import PASSPORT_NAME
from .files import (
    locked,
    make_folder_beside,
    making_folder,
    move_folder,
    output_error,
    remove_folder,
    remove_litter,
    replacing,
    sha256_of,
    write_problem,
)
from .outside.files import open_regular, read_bounded
from .outside.npy import read_npy
from .passport import MAX_FILE_BYTES, MAX_FILES, MAX_PASSPORT_BYTES, Passport, TensorContract
from .strict_json import printable
from .trust import signature

MAX_GOLDEN_BYTES = 1024**3
"""Largest golden input or output that :meth:`Artifact.golden` reads into memory."""

_AMENDABLE = {"state", "reason", "notes"}
# What operating systems drop into folders, and a passport whose rewriting was cut short.
_DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_MOST_NAMED = 8
_AGAIN = "Copy or export the artifact again"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An artifact whose files were found to be what its passport says."""

    path: Path
    passport: Passport

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Open and check an artifact folder.

        Raises:
            ArtifactError: not an artifact, incomplete, altered, from another format version, unsafe, or
                without the signature that :func:`.trust.signature.required` asks for. The message names the
                folder and the file.
        """
        folder = Path(path)
        try:
            resolved = folder.resolve(strict=True)
            if not resolved.is_dir():
                raise ArtifactError("is a file; give the artifact's folder")
            passport = Passport.from_json(_read_passport(resolved))
            signature.check_artifact(resolved, passport)
            _check_files(resolved, passport)
        except ArtifactError as error:
            raise ArtifactError(f"{folder}: {error}") from error
        except FileNotFoundError as error:
            raise ArtifactError(f"{folder}: no such folder") from error
        except (OSError, ValueError, RuntimeError) as error:  # unreadable, a NUL in the name, a loop of links
            raise ArtifactError(f"{folder}: cannot be read: {error}") from error
        return cls(path=resolved, passport=passport)

    @property
    def model_path(self) -> Path:
        """The file (or folder) the runtime opens."""
        return self.path / self.passport.model_file

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """Return the bytes of a listed file, hashed again: what is returned is what was promised.

        Raises:
            ArtifactError: not listed, larger than ``limit`` bytes, unreadable, or altered meanwhile.
        """
        entry = self.passport.files.get(name)
        if entry is None or entry["bytes"] > limit:
            size = "is not listed in the passport" if entry is None else f"is larger than {limit} bytes"
            raise ArtifactError(f"{self.path}: {name}: {size}. {_AGAIN}")
        data = read_bounded(self.path / name, entry["bytes"], ArtifactError, follow_links=False)
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ArtifactError(f"{self.path}: {name}: was altered after it was opened. {_AGAIN}")
        return data

    def amend(self, **fields: Any) -> Artifact:
        """Rewrite the passport in one step, and return the artifact as it is now.

        Only ``state``, ``reason`` and ``notes`` may change; :meth:`record` adds what was measured.

        Raises:
            TypeError: a field that may not change after the build.
            ArtifactError: a value that is not plain JSON (a NaN, a numpy number), or another artifact is
                there by now.
            OutputError: the folder cannot be written.
        """
        if wrong := set(fields) - _AMENDABLE:
            raise TypeError(f"only {', '.join(sorted(_AMENDABLE))} can be amended, not {sorted(wrong)}")
        return self._rewritten(lambda now: dataclasses.replace(now, **fields))

    def record(self, *evidence: Evidence) -> Artifact:
        """Add what was measured to the passport, in one step, and return the artifact as it is now.

        Nothing better is lost: see :meth:`.passport.Passport.with_evidence`.

        Raises:
            ArtifactError: a value that is not plain JSON (a NaN, a numpy number), or another artifact is
                there by now.
            OutputError: the folder cannot be written.
        """
        return self._rewritten(lambda now: now.with_evidence(*evidence))

    def _rewritten(self, changed: Callable[[Passport], Passport]) -> Artifact:
        """Change the passport as it is now: another process may have added to it since it was opened."""
        with locked(self.path):
            passport = _clean(changed(self._now()))
            data = passport.to_json()
            with replacing(self.path / PASSPORT_NAME) as temporary:
                temporary.write_bytes(data)
        return Artifact(self.path, passport)

    def _now(self) -> Passport:
        """Return the passport as it lies there, which is still that of the files that were opened."""
        try:
            now = Passport.from_json(_read_passport(self.path))
        except (ArtifactError, OSError) as error:
            raise ArtifactError(f"{self.path}: was removed or altered meanwhile: {error}") from error
        if now.files != self.passport.files:
            raise ArtifactError(
                f"{self.path}: was replaced by another artifact meanwhile; run the command again"
            )
        return now

    def golden(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
        """Return the recorded inputs and outputs by name, with the shapes and dtypes of the contracts.

        Raises:
            ArtifactError: there are none, or they are not such arrays.
        """
        golden = self.passport.golden
        if golden is None:
            raise ArtifactError(f"{self.path}: carries no golden input and output")
        inputs, outputs = (
            {end.name: self._load(name, end) for name, end in zip(golden[key], ends, strict=True)}
            for key, ends in (("inputs", self.passport.inputs), ("outputs", self.passport.outputs))
        )
        return inputs, outputs

    def _load(self, name: str, contract: TensorContract) -> np.ndarray[Any, Any]:
        file = self.path / name
        with open_regular(file, ArtifactError, follow_links=False) as stream:
            try:
                size = os.fstat(stream.fileno()).st_size
                if size > MAX_GOLDEN_BYTES:
                    raise ValueError(f"larger than {MAX_GOLDEN_BYTES} bytes")
                array: np.ndarray[Any, Any] = read_npy(
                    stream, size, shape=contract.shape, dtype=contract.dtype
                ).copy(order="C")
            except (OSError, ValueError, MemoryError) as error:
                raise ArtifactError(
                    f"{file}: not a readable array, or not as the passport says: {error}. {_AGAIN}"
                ) from error
        if array.dtype.kind in "fc" and np.isnan(array).any():  # nothing compares with a NaN
            raise ArtifactError(f"{file}: holds NaN. {_AGAIN}")
        return array


class ArtifactWriter:
    """Builds an artifact in a folder beside ``dest`` and moves it there when it is complete.

    ::

        with ArtifactWriter(dest) as writer:
            (writer.folder / "model.onnx").write_bytes(model)
            artifact = writer.commit(passport)

    Leaving the block without :meth:`commit`, by an error or Ctrl-C, leaves nothing behind. With ``overwrite``
    an existing *artifact* is replaced; any other folder that is not empty is never touched.
    """

    folder: Path
    """Where to put the files; exists inside the ``with`` block."""

    def __init__(self, dest: str | Path, *, overwrite: bool = False) -> None:
        """Plan to write to ``dest``; nothing is touched before the ``with`` block."""
        self.dest = Path(os.path.abspath(dest))  # noqa: PTH100 - resolve() would follow a link at dest
        self.overwrite = overwrite
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ArtifactWriter:
        """Make the temporary folder.

        Raises:
            OutputError: ``dest`` exists and may not be replaced, or its parent cannot be written.
        """
        self._check_dest()
        with contextlib.ExitStack() as stack:
            stack.enter_context(making_folder(self.dest.parent))
            try:
                self.folder = make_folder_beside(self.dest)
            except OSError as error:
                raise output_error(self.dest, error) from error
            stack.callback(remove_folder, self.folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not committed; a file that could not be written becomes an ``OutputError``."""
        problem = error if isinstance(error, OSError) else None
        if isinstance(error, Exception) and not isinstance(error, (OSError, FdikpEdgeError)):
            problem = write_problem(self.folder)
        self._stack.__exit__(kind, error, trace)
        if problem is not None:
            raise output_error(self.dest, problem) from error

    def commit(self, passport: Passport) -> Artifact:
        """Hash every file in :attr:`folder`, write the passport with them, and move the folder to ``dest``.

        Raises:
            ArtifactError: the passport does not fit the files, or holds values that JSON cannot.
            OutputError: ``dest`` came into being meanwhile, or cannot be written.
        """
        sizes = _walk(self.folder)
        files: dict[str, dict[str, Any]] = {}
        for name, size in sorted(sizes.items()):
            files[name] = {"sha256": sha256_of(self.folder / name), "bytes": size}
        passport = _clean(dataclasses.replace(passport, files=files))
        if not files:
            raise ArtifactError(f"{self.dest}: no file was written")
        data = passport.to_json()
        try:
            (self.folder / PASSPORT_NAME).write_bytes(data)
            self._check_dest()
            move_folder(self.folder, self.dest)
        except OSError as error:
            raise output_error(self.dest, error) from error
        return Artifact(self.dest.resolve(), passport)

    def _check_dest(self) -> None:
        remove_litter(self.dest.parent)  # which puts back what a killed process was about to replace
        try:
            if not os.path.lexists(self.dest):
                return
            if self.dest.is_symlink() or not self.dest.is_dir():
                raise OutputError(f"{self.dest}: is in the way; remove it or choose another folder")
            if not any(self.dest.iterdir()):
                return
            artifact = (self.dest / PASSPORT_NAME).is_file()
        except OSError as error:
            raise output_error(self.dest, error) from error
        if not artifact:
            raise OutputError(f"{self.dest}: is a folder but no artifact; choose another folder")
        if not self.overwrite:
            raise OutputExistsError(
                f"{self.dest}: exists already; ask to overwrite it, or choose another folder"
            )
        try:
            listed = Passport.from_json(_read_passport(self.dest)).files
            foreign = sorted(set(_walk(self.dest)) - set(listed))
        except ArtifactError as error:
            raise OutputError(f"{self.dest}: not overwritten: {error}; remove it first") from error
        if foreign:
            raise OutputError(f"{self.dest}: not overwritten: {foreign[0]} in it is no part of the artifact")


def _clean(passport: Passport) -> Passport:
    """Reasons and notes often quote a library's message: keep its escape codes out of people's terminals."""
    return dataclasses.replace(
        passport, reason=printable(passport.reason), notes=[printable(note) for note in passport.notes]
    )


def _artifacts_below(folder: Path) -> str:
    """Return which artifacts a folder holds, in words to end a sentence; empty if it holds none."""
    try:
        below = sorted(place.name for place in folder.iterdir() if (place / PASSPORT_NAME).is_file())
    except OSError:
        return ""
    more = f" and {len(below) - _MOST_NAMED} more" if len(below) > _MOST_NAMED else ""
    names = ", ".join(printable(name) for name in below[:_MOST_NAMED])
    return f"; it holds artifacts, name one of them: {names}{more}" if below else ""


def _read_passport(folder: Path) -> bytes:
    file = folder / PASSPORT_NAME
    try:
        info = file.lstat()
    except FileNotFoundError:
        if sizes := [place.name for place in size_folders(folder)[:_MOST_NAMED]]:
            raise ArtifactError(
                f"holds an artifact for each size ({', '.join(sizes)}); give the folder of one of them"
            ) from None
        raise ArtifactError(
            f"has no {PASSPORT_NAME}; this is not an artifact folder{_artifacts_below(folder)}"
        ) from None
    if not stat.S_ISREG(info.st_mode):
        raise ArtifactError(f"{PASSPORT_NAME} is not a plain file")
    with open_regular(file, ArtifactError, follow_links=False) as stream:
        return stream.read(MAX_PASSPORT_BYTES + 1)


def _check_files(folder: Path, passport: Passport) -> None:
    sizes = _walk(folder)
    for name, entry in passport.files.items():
        if name not in sizes:
            raise ArtifactError(f"{name}: is missing. {_AGAIN}")
        if sizes[name] != entry["bytes"]:
            raise ArtifactError(f"{name}: {sizes[name]} bytes, the passport says {entry['bytes']}. {_AGAIN}")
    if extra := sorted(set(sizes) - set(passport.files)):
        raise ArtifactError(f"{extra[0]}: is not listed in the passport; remove it from the folder")
    for name, entry in passport.files.items():
        if sha256_of(folder / name) != entry["sha256"]:
            raise ArtifactError(f"{name}: was altered (its SHA-256 is not the one in the passport). {_AGAIN}")


def _walk(folder: Path) -> dict[str, int]:
    """Return path inside the folder -> bytes of every file but the passport and its signature.

    Raises:
        ArtifactError: a link, a device, a pipe, or more than ``MAX_FILES`` entries.
    """
    sizes: dict[str, int] = {}
    waiting = [(folder, "")]
    seen = 0
    while waiting:
        place, prefix = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                name = prefix + entry.name
                seen += 1
                if seen > 2 * MAX_FILES:
                    raise ArtifactError(f"holds more than {MAX_FILES} files")
                mode = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(mode.st_mode):
                    waiting.append((Path(entry.path), name + "/"))
                elif not stat.S_ISREG(mode.st_mode):
                    raise ArtifactError(f"{printable(name)}: links and special files are not accepted")
                elif name not in (PASSPORT_NAME, signature.SIGNATURE_NAME) and not _is_dropping(name):
                    sizes[name] = mode.st_size
    return sizes


def _is_dropping(name: str) -> bool:
    return name in _DROPPINGS or (name.startswith(".partial-") and name.endswith(".json"))
