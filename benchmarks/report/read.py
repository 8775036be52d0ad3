"""Read a ``report.json``, which may come from anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runtime import strict_json
from ...runtime.errors import ReportError
from ...runtime.outside.files import read_bounded
from .model import REPORT_JSON

MAX_BYTES = 64 * 1024 * 1024
MAX_ARTIFACTS = 1000


def read_report(path: str | Path) -> dict[str, Any]:
    """Return the content of a report, or of the ``report.json`` in a folder.

    Raises:
        ReportError: it cannot be read, is larger than 64 MB, is not strict JSON, or is no report.
    """
    file = Path(path)
    if file.is_dir():
        file = file / REPORT_JSON
    value = read_json(file, MAX_BYTES)
    entries = value.get("artifacts")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReportError(f"{file}: is not a report: it has no list of artifacts")
    if len(entries) > MAX_ARTIFACTS:
        raise ReportError(f"{file}: lists {len(entries)} artifacts, more than the {MAX_ARTIFACTS} allowed")
    for number, entry in enumerate(entries):
        for key in ("target", "precision", "state"):
            if not isinstance(entry.get(key), str):
                raise ReportError(f"{file}: artifacts[{number}].{key}: expected text")
    return value


def read_json(file: Path, most: int) -> dict[str, Any]:
    """Return the object in a file of strict JSON of at most ``most`` bytes; raises :class:`ReportError`."""
    try:
        value = strict_json.parse(read_bounded(file, most, ReportError))
    except json.JSONDecodeError as error:
        raise ReportError(f"{file}: is not JSON: {error}") from error
    except ValueError as error:
        raise ReportError(f"{file}: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"{file}: expected an object, got {type(value).__name__}")
    return value


def number(value: Any) -> float | None:
    """Return a finite number, or ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return None
    return converted if math.isfinite(converted) else None


def table(value: Any) -> Mapping[str, Any]:
    """Return an object of a report, or an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}
