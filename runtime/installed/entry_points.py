"""What other installed packages add to the toolkit, by the entry points of their distributions.

An entry point is a name in a group, with a reference such as ``package.module:NAME``. The list is read from
the metadata of installed distributions, which imports nothing. Only :func:`load` imports a package, and only
the one that was asked for by name.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys

from ..errors import ExtensionError

TARGETS = "fdikp_edge.targets"
"""The group whose entries each load to a :class:`fdikp_edge.export.target.Target`."""

SOURCES = "fdikp_edge.sources"
"""The group whose entries are each named by a prefix (``PREFIX:...`` after ``--model``), and load to a
function that takes a ``fdikp_edge.models.sources.request.Request`` and returns a ``NetworkSource``."""

_Entries = tuple[importlib.metadata.EntryPoint, ...]


def names(group: str) -> list[str]:
    """Return the names of a group, sorted, each once."""
    return sorted({entry.name for entry in _entries(group, tuple(sys.path))})


def origin(group: str, name: str) -> str:
    """Return the distributions that have an entry of this name, with their versions; empty if none has."""
    return " and ".join(sorted(_distribution(entry) for entry in _named(group, name)))


def load(group: str, name: str) -> object | None:
    """Import what an entry refers to; ``None`` if no installed distribution has an entry of this name.

    Raises:
        ExtensionError: it cannot be imported, or two distributions have an entry of this name; names them.
    """
    entries = _named(group, name)
    if not entries:
        return None
    where = origin(group, name)
    if len(entries) > 1:
        raise ExtensionError(f"{name!r} is provided by {where}: uninstall all but one of them")
    try:
        loaded: object = entries[0].load()
    except (Exception, SystemExit) as error:  # the package's own code runs here
        raise ExtensionError(
            f"{name!r} is provided by {where}, which cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return loaded


def _named(group: str, name: str) -> _Entries:
    return tuple(entry for entry in _entries(group, tuple(sys.path)) if entry.name == name)


@functools.lru_cache(maxsize=8)
def _entries(group: str, path: tuple[str, ...]) -> _Entries:
    """Read the metadata, which takes milliseconds, once for each search path."""
    return tuple(importlib.metadata.entry_points(group=group))


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    owner = entry.dist
    return "an unnamed distribution" if owner is None else f"{owner.name} {owner.version}"
