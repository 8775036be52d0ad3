"""Put the results of a run into a folder all at once, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..runtime.buckets.folders import holds_only_sizes
from ..runtime.errors import OutputError, OutputExistsError
from ..runtime.fields import PASSPORT_NAME
from ..runtime.files import REPLACED, make_folder_beside, output_error, remove_folder


class Stage:
    """A folder beside ``out``, whose content :meth:`publish` moves there."""

    def __init__(self, folder: Path, out: Path, *, overwrite: bool) -> None:
        """Use ``folder``, which exists and is on the same disk as ``out``."""
        self.folder = folder
        self._out = out
        self._overwrite = overwrite

    def reserve(self, *names: str) -> None:
        """Check, before the work, that entries of these names may be written to ``out``.

        Raises:
            OutputError: one exists and may not be overwritten, or is a folder that is none of ours.
        """
        for name in names:
            path = self._out / name
            if not os.path.lexists(path):
                continue
            if not self._overwrite:
                raise OutputExistsError(
                    f"{path}: exists already; allow overwriting, or choose another folder"
                )
            if path.is_dir() and not path.is_symlink() and not _ours(path):
                raise OutputError(f"{path}: is in the way and was not written by this tool")

    def publish(self) -> None:
        """Move everything to ``out``; what it replaces goes away. An error or Ctrl-C midway undoes it all.

        Raises:
            OutputError: ``out`` cannot be written.
        """
        old = self.folder / REPLACED
        with contextlib.ExitStack() as undo:
            try:
                old.mkdir()
                for entry in sorted(self.folder.iterdir()):
                    if entry == old:
                        continue
                    place = self._out / entry.name
                    if os.path.lexists(place):
                        place.rename(old / entry.name)
                        undo.callback((old / entry.name).rename, place)
                    entry.rename(place)
                    undo.callback(place.rename, entry)
            except OSError as error:
                raise output_error(self._out, error) from error
            undo.pop_all()


@contextlib.contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Stage]:
    """Give a :class:`Stage` for ``out``, an existing folder; whatever was not published is removed.

    Raises:
        OutputError: nothing can be written beside or in ``out``.
    """
    try:
        folder = make_folder_beside(out / "stage")
    except OSError as error:
        raise output_error(out, error) from error
    try:
        yield Stage(folder, out, overwrite=overwrite)
    finally:
        remove_folder(folder)


def _ours(folder: Path) -> bool:
    """Whether a folder is an artifact, a folder of its sizes, empty, or one of an earlier run's pictures."""
    entries = list(folder.iterdir())
    pictures = all(entry.suffix == ".png" and entry.is_file() for entry in entries)
    return pictures or (folder / PASSPORT_NAME).is_file() or holds_only_sizes(folder)
