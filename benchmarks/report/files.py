"""The pictures beside a ``report.json``: what it says of them, and which of them may be believed.

A report names its picture files with their sizes and hashes. Whoever reads it elsewhere takes a file only if
it is the very one: a report from another machine cannot be given other pictures on the way, and cannot
have a file of this machine shown that it does not already hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime import fields
from ...runtime.errors import FieldError, ReportError
from ...runtime.files import sha256_of
from .pictures import Pictures

MAX_BYTES = 256 * 1024 * 1024
"""A larger file is left where it is. The largest photo read by default, losslessly, takes about that."""
MAX_PICTURES = 240
"""Of one report; a page with more would be none to look at."""


def listed(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what a report in ``folder`` says of its picture files: name -> ``{"sha256", "bytes"}``."""
    return {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in dict.fromkeys(names)
    }


def pictures_of(
    report: Mapping[str, Any], folder: Path, places: Sequence[int | None], device: str
) -> Pictures:
    """Return the pictures of a report that was read from ``folder``.

    Args:
        report: as :func:`.read.read_report` returns it.
        folder: where it lies, with its pictures.
        places: the index in the page of each of its artifacts; ``None`` for one that is not in it.
        device: what to call the report where a picture is missing.

    Returns:
        The pictures that are those the report speaks of, and a sentence for each that is not.
    """
    reader = _Reader(report, folder, device)
    before = reader.path(report.get("before"))
    after: dict[str | int | Path, Path] = {}
    errors: dict[str | int | Path, tuple[Path, Path]] = {}
    for place, entry in zip(places, report["artifacts"], strict=True):
        if place is None:
            continue
        if (path := reader.path(entry.get("picture"))) is not None:
            after[place] = path
        drawn = entry.get("error_map")
        if isinstance(drawn, Mapping):
            files = reader.path(drawn.get("map")), reader.path(drawn.get("reference"))
            if files[0] is not None and files[1] is not None:
                errors[place] = (files[0], files[1])
    photo = report.get("photo")
    return Pictures(
        before, after, errors, photo if isinstance(photo, str) else None, tuple(dict.fromkeys(reader.missing))
    )


class _Reader:
    """Checks one name after the other; ``missing`` says what was wrong with some."""

    def __init__(self, report: Mapping[str, Any], folder: Path, device: str) -> None:
        self._record = report.get("pictures")
        self._folder = folder
        self._device = device
        self._checked: dict[str, Path | None] = {}
        self.missing: list[str] = []

    def path(self, name: Any) -> Path | None:
        """Return the file that the report calls ``name``, or nothing and a sentence in ``missing``."""
        if name is None:
            return None
        if not isinstance(self._record, Mapping):
            self.missing.append(
                f"{self._device}: no pictures, because its report has no hashes of them; an earlier "
                "release wrote it; deploy again there"
            )
            return None
        key = str(name)
        if key not in self._checked:
            try:
                self._checked[key] = self._verified(name, self._record)
            except (FieldError, ReportError, OSError) as error:
                self.missing.append(f"{self._device}: {_problem(error)}")
                self._checked[key] = None
        return self._checked[key]

    def _verified(self, name: Any, record: Mapping[str, Any]) -> Path:
        safe = fields.safe_path(name, "a picture")
        if len(self._checked) >= MAX_PICTURES:
            raise ReportError(f"more than {MAX_PICTURES} pictures; the rest are left out")
        if safe not in record:
            raise ReportError(f"no picture {safe}: the report does not record its hash")
        recorded = fields.record(record[safe], f"pictures[{safe}]", ["sha256", "bytes"])
        size = fields.count(recorded["bytes"], f"pictures[{safe}].bytes")
        digest = fields.sha256(recorded["sha256"], f"pictures[{safe}].sha256")
        path = self._folder / safe
        if not path.exists():
            raise ReportError(f"no picture {safe}: it is not next to the report")
        if path.is_symlink() or not path.is_file() or size > MAX_BYTES:
            raise ReportError(f"no picture {safe}: not a plain file of at most {MAX_BYTES >> 20} MiB")
        if path.stat().st_size != size or sha256_of(path) != digest:
            raise ReportError(f"no picture {safe}: its hash differs from the report's")
        return path


def _problem(error: FieldError | ReportError | OSError) -> str:
    if isinstance(error, FieldError):
        return f"{error.where}: {error.problem}"
    return (isinstance(error, OSError) and error.strerror) or str(error)
