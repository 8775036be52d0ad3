"""The ``web`` target: the page, the model and the runtime's files in one folder for any static server."""

from __future__ import annotations

import importlib.resources
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.installed.packages import ONNXRUNTIME
from ...runtime.samples import defocused_photo
from ..onnx import build as onnx_build
from ..onnx.source.program import OnnxProgram
from ..target import BuildResult
from .download import download_note
from .runtime_files import NPM, PACKAGE, PROVIDERS, VERSION, needed, runtime_files
from .webgpu import avoid_wrong_kernels

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

PAGE = ("index.html", "style.css", "page.js", "engine.js", "worker.js", "tiling.js", "pixels.js")
RUNTIME_FOLDER = "ort"
SETTINGS = "settings.json"
SAMPLE = "sample.jpg"


def build(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write the model, the page and the runtime into ``folder``; see
    :class:`~fdikp_edge.export.target.Builder`.

    ``options``: ``provider`` is what the page runs on, ``runtime`` where the runtime's files come from.

    Raises:
        TargetUnavailableError: the runtime's files cannot be had here; says what to do.
        BadInputError: the folder named for them does not hold the files of the pinned release.
    """
    chosen = options or {}
    provider = chosen.get("provider", "wasm")
    every = runtime_files(chosen.get("runtime", NPM))  # before the work of minutes
    files = {name: every[name] for name in needed(provider, precision)}
    built = onnx_build.build(
        lowered,
        precision,
        folder,
        table=table,
        provenance=provenance,
        change=avoid_wrong_kernels if set(files) & set(PROVIDERS["webgpu"]) else None,
    )
    place = folder / RUNTIME_FOLDER
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    _write_licences(place)
    page = importlib.resources.files(__package__) / "page"
    for name in PAGE:
        (folder / name).write_bytes((page / name).read_bytes())
    shutil.copy(defocused_photo(), folder / SAMPLE)
    settings = {"provider": provider, "sample": SAMPLE}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    model = (folder / built.model_file).read_bytes()
    toolchain = {**built.toolchain, PACKAGE: VERSION}
    return BuildResult(
        built.model_file,
        toolchain,
        built.census,
        built.precisions,
        [*built.notes, download_note(model, files)],
    )


_LICENCES = """\
Licences of the files in this folder

ort/         ONNX Runtime Web, Copyright (c) Microsoft Corporation, MIT: ort/LICENSE.txt. What it contains of
             others: ort/ThirdPartyNotices.txt, where the installation that wrote this folder had that file.
sample.jpg   NASA, portrait of Eileen Collins, no known copyright restrictions; put out of focus.
page         index.html, style.css and the scripts beside it: fdikp-edge, Apache License 2.0.
model.onnx   as its network's weights.
"""


def _write_licences(folder: Path) -> None:
    """Write what allows this folder to be published; the third parties' notices come with ONNX Runtime."""
    (folder.parent / "LICENSES.txt").write_text(_LICENCES, encoding="utf-8")
    page = importlib.resources.files(__package__) / "page"
    (folder / "LICENSE.txt").write_bytes((page / "onnxruntime-license.txt").read_bytes())
    spec = importlib.util.find_spec(ONNXRUNTIME.module)
    notices = Path(spec.origin).parent / "ThirdPartyNotices.txt" if spec and spec.origin else None
    if notices is not None and notices.is_file():
        shutil.copy(notices, folder / notices.name)
