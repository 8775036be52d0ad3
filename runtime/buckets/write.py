"""Write a folder of buckets whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError, OutputExistsError
from ..files import make_folder_beside, making_folder, move_folder, output_error, remove_folder, remove_litter
from .folders import holds_only_sizes


def _check_dest(dest: Path, overwrite: bool) -> None:
    remove_litter(dest.parent)  # which puts back what a killed process was about to replace
    try:
        if not os.path.lexists(dest):
            return
        if dest.is_symlink() or not dest.is_dir():
            raise OutputError(f"{dest}: is in the way; remove it or choose another folder")
        if not any(dest.iterdir()):
            return
        if not holds_only_sizes(dest):
            raise OutputError(f"{dest}: holds more than artifacts of several sizes; choose another folder")
    except OSError as error:
        raise output_error(dest, error) from error
    if not overwrite:
        raise OutputExistsError(f"{dest}: exists already; ask to overwrite it, or choose another folder")


@contextlib.contextmanager
def writing_buckets(dest: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to build buckets in, moved to ``dest`` when the block ends well, and removed otherwise.

    A block that builds nothing finds out whether ``dest`` may be written, and leaves it as it is. With
    ``overwrite`` all sizes that are there are replaced, so that no older one stays among them.

    Raises:
        OutputError: ``dest`` is no folder of buckets, may not be replaced, or cannot be written.
    """
    dest = Path(os.path.abspath(dest))  # noqa: PTH100 - resolve() would follow a link at dest
    _check_dest(dest, overwrite)
    with making_folder(dest.parent):
        try:
            folder = make_folder_beside(dest)
        except OSError as error:
            raise output_error(dest, error) from error
        try:
            yield folder
            _check_dest(dest, overwrite)
            try:
                if any(folder.iterdir()):
                    move_folder(folder, dest)
            except OSError as error:
                raise output_error(dest, error) from error
        finally:
            remove_folder(folder)
