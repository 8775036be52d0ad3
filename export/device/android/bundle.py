"""A zip archive for a PC with a phone: models, golden data, and scripts that measure them through ``adb``.

What an artifact's model is run by is a row of :data:`RUNNERS`. Nothing of this was run on a phone: results of
``measure.sh`` are of the device, and artifacts stay as they are.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.artifact import Artifact
from ....runtime.errors import ArtifactError, BadInputError
from ....runtime.fields import PASSPORT_NAME
from ....runtime.files import check_place, replacing
from ....runtime.outside.files import read_bounded
from ....runtime.outside.tflite import read_tflite
from ....runtime.photo import Array
from ....runtime.progress import Progress
from ....runtime.strict_json import parse
from ..wheel import add_entry

SCRIPTS = ("measure.sh", "compare.py")
MAX_MODEL_BYTES = 2**31 - 1
TOLERANCE_DB, ENOUGH_DB = 10.0, 100.0
"""How much lower than where it was verified a model's PSNR may be, and what is enough in any case."""

_README = """\
Models for Android, written by fdikp-edge. Nothing in here was run on a phone.

  BENCHMARK_MODEL=path/to/benchmark_model sh measure.sh

measures every model on the device that adb finds, and writes results/report.json. The comments at the head
of measure.sh say what it needs. docs/android.md of fdikp-edge shows how an app calls the models.
"""


@dataclass(frozen=True)
class Runner:
    """How ``measure.sh`` runs the models of a target: ``flags`` returns those of an artifact's delegate."""

    flags: Callable[[Artifact], str]


def litert_flags(artifact: Artifact) -> str:
    """Return the flag of ``benchmark_model`` for the delegate that the file's metadata ask for.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        model = read_tflite(read_bounded(artifact.model_path, MAX_MODEL_BYTES, ArtifactError))
        facts = parse(model.metadata.get("fdikp_edge", b"{}"))
        delegate = facts.get("delegate", "cpu") if isinstance(facts, dict) else "cpu"
    except ValueError as error:
        raise ArtifactError(f"{artifact.model_path}: not a usable .tflite file: {error}") from error
    return {"gpu": "--use_gpu=true", "nnapi": "--use_nnapi=true"}.get(str(delegate), "--use_xnnpack=true")


RUNNERS: Mapping[str, Runner] = {"litert": Runner(litert_flags)}
"""Target -> how it runs on Android."""


def write_android(
    opened: Sequence[tuple[str, Artifact]],
    path: Path,
    *,
    overwrite: bool,
    progress: Progress = lambda done, total, now: None,
) -> None:
    """Write the archive, whole or not at all. The same artifacts give the same bytes.

    Args:
        opened: name in the archive, artifact.
        path: the archive.
        overwrite: replace ``path``.
        progress: called with (done, total, what is being done).

    Raises:
        BadInputError: an artifact that nothing here runs on Android, or without golden data.
        OutputError: ``path`` cannot be written.
    """
    check_place(path, overwrite=overwrite)
    files: dict[str, bytes] = {"README.txt": _README.encode()}
    home = importlib.resources.files(__package__)
    files.update({name: (home / name).read_bytes() for name in SCRIPTS})
    entries, lines = [], []
    for number, (name, artifact) in enumerate(opened):
        progress(number, len(opened) + 1, f"packing {name}")
        entry, line, own = _packed(name, artifact)
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


def _packed(name: str, artifact: Artifact) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    """Return what the report needs of an artifact, its line for the script, and its files."""
    passport = artifact.passport
    if passport.target not in RUNNERS or passport.golden is None:
        what = "golden data" if passport.golden is None else f"a runner for target {passport.target}"
        raise BadInputError(f"{artifact.path}: there is no {what}, so nothing could measure it on Android")
    folder = f"models/{name}"
    files = {f"{folder}/{file}": (artifact.path / file).read_bytes() for file in passport.files}
    files[f"{folder}/{PASSPORT_NAME}"] = (artifact.path / PASSPORT_NAME).read_bytes()
    layers, shapes, values = [], [], []
    for number, (contract, file) in enumerate(zip(passport.inputs, passport.golden["inputs"], strict=True)):
        files[f"{folder}/input_{number}.bin"] = _array(artifact, file).tobytes()
        layers.append(contract.name)
        shapes.append(",".join(map(str, contract.shape)))
        values.append(f"{contract.name}:@/input_{number}.bin")
    golden = passport.golden["outputs"]
    ends = zip(golden, passport.outputs, strict=True)
    peaks = [_peak(_array(artifact, file), end.value_range) for file, end in ends]
    here = (passport.parity or {}).get("psnr_db")
    least = min(here, ENOUGH_DB) - TOLERANCE_DB if isinstance(here, (int, float)) else 0.0
    entry = {"name": name, "golden": golden, "peaks": peaks, "least_psnr_db": least}
    flags = RUNNERS[passport.target].flags(artifact)
    words = [name, passport.model_file, flags, ",".join(layers), ":".join(shapes), ",".join(values)]
    return entry, "\t".join(words), files


def _array(artifact: Artifact, file: str) -> Array:
    array: Array = np.load(artifact.path / file, allow_pickle=False)
    return np.ascontiguousarray(array)


def _peak(golden: Array, limits: tuple[float, float] | None) -> float:
    """Return what PSNR is taken relative to: the range of a contract, else the largest golden value."""
    return float(limits[1] - limits[0]) if limits else float(np.abs(golden).max() or 1.0)
