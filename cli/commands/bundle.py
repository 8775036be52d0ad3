"""``fdikp-edge bundle``: one file that builds, checks, times and profiles itself on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import show
from ..artifacts import folders_of
from ..guard import complain
from ..options import NONE, ArtifactsArgument, JsonOption, OverwriteOption
from ..signature import checks_signatures


@checks_signatures
def bundle(
    artifacts: ArtifactsArgument,
    device: Annotated[
        str, typer.Option("--for", metavar="NAME", help="Device type: jetson or android.")
    ] = "jetson",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Output file.")] = Path(
        "model.bundle"
    ),
    table: Annotated[
        list[Path],
        typer.Option(
            "--table",
            metavar="PATH",
            help="Calibration table to include. Repeatable.",
            show_default="none",
        ),
    ] = NONE,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Pack artifacts into one file for a device.

    The file contains the models, their golden inputs and outputs, a photo, and the program for the device:
    run `python model.bundle build` there, then verify, bench, profile or deblur. The device needs only NumPy
    and TensorRT or ONNX Runtime. For android (targets litert and executorch) it is a zip archive with a
    script that measures the models on a phone through adb. Of a folder of artifacts, those for other devices
    are left out.
    """
    with show.working("opening the artifacts") as step:
        from ...export.device.bundle import make_bundle, taken_by

        folders = folders_of(artifacts)
        taken, others = taken_by(device, folders)
        if taken:  # without any, the error names what a bundle takes
            folders = taken
            for path, target in others.items():
                complain(f"{path}: is for target {target}, which is not for {device}; skipped", kind="note")
        written = make_bundle(folders, out, device=device, tables=table, overwrite=overwrite, progress=step)
    if json:
        show.as_json(
            {
                "path": str(written.path),
                "sha256": written.sha256,
                "bytes": written.bytes,
                "artifacts": list(written.artifacts),
            }
        )
        return 0
    show.facts(
        f"Bundle for {device}",
        [
            ("file", str(written.path)),
            ("size", f"{written.bytes / 1e6:.1f} MB"),
            ("sha256", written.sha256),
            ("contents", ", ".join(written.artifacts)),
        ],
    )
    show.line(
        "Unpack it beside a phone and run: sh measure.sh (docs/android.md)"
        if device == "android"
        else f"On the device: python3 {written.path.name} build, then verify, bench, profile, deblur."
    )
    return 0
