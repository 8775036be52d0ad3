"""Import the code that a user named, by module or by file, and leave the search path as it was.

What the code puts on the search path stays its own: it is there whenever code of that folder runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from ...runtime.errors import SourceError
from ...runtime.outside.files import read_bounded
from .users_code import users_code

MAX_FILE_BYTES = 16 * 2**20
_SIBLINGS: dict[str, dict[str, ModuleType]] = {}
"""Folder -> the modules that its files imported from it and from the folders in :data:`_ADDED`, by name:
those of two folders may share names."""
_ADDED: dict[str, tuple[list[str], list[str]]] = {}
"""Folder -> what its files put on the search path themselves, before the folder and behind it."""


@dataclass(frozen=True)
class Imported:
    """An imported module; ``folder`` holds the files it can import while :meth:`importable`."""

    module: ModuleType
    folder: Path
    first: bool
    """Whether ``folder`` is searched before installed packages, as Python does for a script."""

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """Let code in the block import files of the folder."""
        with _searching(self.folder, first=self.first):
            yield


def split(spec: str) -> tuple[str, str]:
    """Return the file or module, and the attribute, empty if none was named, of a spec.

    Raises:
        SourceError: one of them is no name.
    """
    place, colon, attribute = spec.rpartition(":")
    if not colon or spec.lower().endswith(".py"):  # `C:\\net.py` has a colon too
        place, attribute = spec, ""
    if attribute and not all(part.isidentifier() for part in attribute.split(".")):
        raise SourceError(f"{spec}: {attribute!r} is no name; write FILE.py:NAME or package.module:NAME")
    if not place.lower().endswith(".py") and not all(part.isidentifier() for part in place.split(".")):
        raise SourceError(f"{spec}: {place!r} is neither a Python file (.py) nor the name of a module")
    return place, attribute


def import_module(place: str) -> Imported:
    """Import a file (ending in ``.py``) or a module by name, which may also lie in the current folder.

    Raises:
        SourceError: there is none, or it fails while it is imported; with the file and line there.
    """
    return _from_file(Path(place)) if place.lower().endswith(".py") else _by_name(place)


def _by_name(name: str) -> Imported:
    folder = Path.cwd()
    with _searching(folder, first=False), users_code(name):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # found, and something that it imports is missing
            raise SourceError(
                f"no module named {error.name!r} is installed or lies in the current folder; for a file, "
                "write its path, ending in .py"
            ) from None
    return Imported(module, folder, first=False)


def _from_file(path: Path) -> Imported:
    """Run a file as a module of its own; it imports its neighbours as a script would."""
    try:
        full = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; a loop of links
        raise SourceError(f"{path}: cannot be read: {error}") from error
    data = read_bounded(full, MAX_FILE_BYTES, SourceError)
    # A name of its own, so that no installed module is hidden and no two files called net.py are mixed up.
    key = hashlib.sha256(str(full).encode(errors="surrogateescape")).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', full.stem)}_{key}"
    loader = SourceFileLoader(name, str(full))
    specification = importlib.util.spec_from_loader(name, loader)
    assert specification is not None, "a loader of our own always has one"
    module = importlib.util.module_from_spec(specification)
    imported = Imported(module, full.parent, first=True)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    try:
        with imported.importable(), users_code(str(path)):
            exec(loader.source_to_code(data, str(full)), module.__dict__)
    except BaseException:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise
    return imported


@contextlib.contextmanager
def _searching(folder: Path, *, first: bool) -> Iterator[None]:
    """Put a folder on the search path for the block, with those modules that were imported from it before."""
    text = str(folder)
    own = _SIBLINGS.setdefault(text, {})
    for other, modules in _SIBLINGS.items():
        if other != text:
            for name, module in modules.items():
                if sys.modules.get(name) is module:
                    del sys.modules[name]
    sys.modules.update(own)
    known = set(sys.modules)
    path = list(sys.path)
    before, behind = _ADDED.get(text, ([], []))
    sys.path[:] = [*before, text, *path, *behind] if first else [*before, *path, text, *behind]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        place = sys.path.index(text) if text in sys.path else 0
        before = [entry for entry in dict.fromkeys(sys.path[:place]) if entry not in path]
        behind = [entry for entry in dict.fromkeys(sys.path[place + 1 :]) if entry not in (*path, text)]
        _ADDED[text] = (before, behind)
        sys.path[:] = path
        folders = [folder, *(Path(entry).absolute() for entry in (*before, *behind) if entry)]
        for name in set(sys.modules) - known:
            module = sys.modules[name]
            file = getattr(module, "__file__", None)
            if file and "site-packages" not in file and any(map(Path(file).is_relative_to, folders)):
                own[name] = module
