"""A zip archive for a PC with a phone: models, golden data, and scripts that measure them through ``adb``.

What an artifact's model is run by, its target says (:mod:`.phone_run`). Nothing of this was run on a phone:
results of ``measure.sh`` are of the device, and artifacts stay as they are.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.artifact import Artifact
from ....runtime.errors import BadInputError
from ....runtime.fields import PASSPORT_NAME
from ....runtime.files import check_place, replacing
from ....runtime.photo import Array
from ....runtime.progress import Progress
from ...targets import get_target
from ..wheel import add_entry
from .phone_run import input_file

SCRIPTS = ("measure.sh", "compare.py")
TOLERANCE_DB, ENOUGH_DB = 10.0, 100.0
"""How much lower than where it was verified a model's PSNR may be, and what is enough in any case."""

_README = """\
Models for Android, written by fdikp-edge. Nothing in here was run on a phone.

  sh measure.sh

measures every model on the device that adb finds, and writes results/report.json. The comments at the head
of measure.sh say what it needs. docs/android.md of fdikp-edge shows how an app calls the models.
"""
_TAKEN = ("device", "report")
"""Files in the folder of results begin with these."""
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
"""Names that a shell takes as they are."""


def write_android(
    device: str,
    opened: Sequence[tuple[str, Artifact]],
    path: Path,
    *,
    overwrite: bool,
    progress: Progress = lambda done, total, now: None,
) -> None:
    """Write the archive, whole or not at all. The same artifacts give the same bytes.

    Args:
        device: the name by which targets know it.
        opened: name in the archive, artifact.
        path: the archive.
        overwrite: replace ``path``.
        progress: called with (done, total, what is being done).

    Raises:
        ArtifactError: a model is damaged.
        BadInputError: an artifact that nothing runs on Android, or without golden data.
        OutputError: ``path`` cannot be written.
    """
    check_place(path, overwrite=overwrite)
    files: dict[str, bytes] = {"README.txt": _README.encode()}
    home = importlib.resources.files(__package__)
    files.update({name: (home / name).read_bytes() for name in SCRIPTS})
    entries, lines = [], []
    for number, (name, artifact) in enumerate(opened):
        progress(number, len(opened) + 1, f"packing {name}")
        entry, line, own = _packed(device, name, artifact)
        entries.append(entry)
        lines.append(line)
        files.update(own)
    files["models.json"] = (json.dumps(entries, indent=2) + "\n").encode()
    files["models.tsv"] = "".join(f"{line}\n" for line in lines).encode()
    sums = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    files["files.sha256"] = "".join(sums).encode()
    progress(len(opened), len(opened) + 1, f"writing {path.name}")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(files):
            add_entry(archive, name, files[name])


def _packed(device: str, name: str, artifact: Artifact) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    """Return what the report needs of an artifact, its line for the script, and its files."""
    passport = artifact.passport
    if passport.golden is None:
        raise BadInputError(f"{artifact.path}: has no golden data, so nothing could compare its results")
    if not _PLAIN.fullmatch(name):
        raise BadInputError(f"{artifact.path}: rename the folder to letters, digits, dots, - and _ alone")
    run = get_target(passport.target).phone_run(device, artifact)
    if name in (*_TAKEN, run.tool):
        raise BadInputError(f"{artifact.path}: rename the folder: {name} is the name of another file")
    folder = f"models/{name}"
    files = {f"{folder}/{file}": (artifact.path / file).read_bytes() for file in passport.files}
    files[f"{folder}/{PASSPORT_NAME}"] = (artifact.path / PASSPORT_NAME).read_bytes()
    for number, file in enumerate(passport.golden["inputs"]):
        files[f"{folder}/{input_file(number)}"] = _array(artifact, file).tobytes()
    golden = passport.golden["outputs"]
    ends = zip(golden, passport.outputs, strict=True)
    peaks = [_peak(_array(artifact, file), end.value_range) for file, end in ends]
    here = (passport.parity or {}).get("psnr_db")
    least = min(here, ENOUGH_DB) - TOLERANCE_DB if isinstance(here, (int, float)) else 0.0
    entry = {
        "name": name,
        "tool": run.tool,
        "golden": golden,
        "peaks": peaks,
        "least_psnr_db": least,
        "outputs": run.outputs,
        "log": asdict(run.log),
    }
    return entry, "\t".join([name, run.tool, ",".join(run.outputs), run.command]), files


def _array(artifact: Artifact, file: str) -> Array:
    array: Array = np.load(artifact.path / file, allow_pickle=False)
    return np.ascontiguousarray(array)


def _peak(golden: Array, limits: tuple[float, float] | None) -> float:
    """Return what PSNR is taken relative to: the range of a contract, else the largest golden value."""
    return float(limits[1] - limits[0]) if limits else float(np.abs(golden).max() or 1.0)
