"""A bundle for Python callers: opened with the same checks as on a device, its artifacts and its photo."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import strict_json
from ..artifact import Artifact
from ..errors import BundleError, UnknownNameError
from ..outside.files import open_regular
from ..outside.npy import read_npy
from ..photo import Photo
from . import entry


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle."""

    path: Path
    """The bundle itself."""
    folder: Path
    """Where it was unpacked."""
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path, cache: Path | None = None) -> Bundle:
        """Check a bundle, unpack it into ``cache`` (the user's own when ``None``), and return it.

        Raises:
            BundleError: it is refused; nothing is left behind.
        """
        file = Path(path)
        with _refusing(file):
            return cls.unpacked(entry.unpack(file, cache or entry.default_cache()), file)

    @classmethod
    def unpacked(cls, folder: Path, path: Path) -> Bundle:
        """Return a bundle that the entry script has checked and unpacked into ``folder``."""
        with _refusing(path):
            return cls(path, folder, entry.read_manifest(path, contents=False))

    @property
    def names(self) -> list[str]:
        """Names of the artifacts."""
        return list(self.manifest["artifacts"])

    def artifacts(self, names: Sequence[str] = (), precisions: Sequence[str] = ()) -> list[Artifact]:
        """Return the artifacts asked for, all of them when nothing is asked for.

        Raises:
            UnknownNameError: a name or precision that none has; lists those there are. Or none has both.
            ArtifactError: an artifact is not sound.
        """
        for name in names:
            if name not in self.names:
                raise UnknownNameError(
                    f"no artifact {name!r} in {self.path}; there are: {', '.join(self.names)}"
                )
        opened = [Artifact.open(self.folder / "artifacts" / name) for name in self.names]
        present = {artifact.passport.precision for artifact in opened}
        for precision in precisions:
            if precision not in present:
                raise UnknownNameError(
                    f"no artifact at {precision!r} in {self.path}; there are: {', '.join(sorted(present))}"
                )
        chosen = [
            artifact
            for artifact in opened
            if (not names or artifact.path.name in names)
            and (not precisions or artifact.passport.precision in precisions)
        ]
        if not chosen:  # or a check of nothing would pass
            raise UnknownNameError(
                f"{', '.join(names)}: not at {', '.join(precisions)}; leave out the artifact or the precision"
            )
        return chosen

    def photo(self) -> Photo:
        """Return the photograph that comes with the bundle; no image library is needed for it.

        Raises:
            BundleError: it is no array of uint8, height x width x 3.
        """
        file = self.folder / self.manifest["photo"]
        with open_regular(file, BundleError) as stream:
            try:
                pixels = read_npy(stream, os.fstat(stream.fileno()).st_size, dtype="uint8")
                if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape) < 1:
                    raise ValueError(f"its shape {list(pixels.shape)} is not that of a photo")
            except (OSError, ValueError, MemoryError) as error:
                raise BundleError(f"{file}: not a readable photo: {error}") from error
        return Photo(pixels=pixels, source=file)


def check_bundle(path: str | Path) -> dict[str, Any]:
    """Check a bundle without unpacking it, and return its manifest.

    Raises:
        BundleError: it is refused.
    """
    with _refusing(Path(path)):
        return entry.read_manifest(Path(path))


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except entry.RefusedError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise BundleError(f"{path}: {strict_json.printable(message)}") from error
