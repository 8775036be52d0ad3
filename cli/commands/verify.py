"""``fdikp-edge verify``: artifacts against PyTorch eager, or against their recorded output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...runtime.buckets.folders import shown_name
from ...runtime.errors import BadInputError
from ...runtime.tensors import described
from .. import show
from ..artifacts import open_artifacts
from ..eager import refuse_unused, source_of_artifact, torch_is_here
from ..evidence import record
from ..groups import spread
from ..guard import complain
from ..options import (
    NONE,
    ArtifactsArgument,
    JsonOption,
    PhotosOption,
    ReferenceOptions,
    SaveOption,
    ThreadsOption,
)
from ..parsing import check_photos
from ..signature import checks_signatures

if TYPE_CHECKING:
    from ...benchmarks.accuracy.parity import Parity
    from ...benchmarks.accuracy.worst_case import WorstCase
    from ...runtime.artifact import Artifact
    from ...runtime.evidence import Evidence


_AGAINST = {"eager": "PyTorch eager", "golden": "golden only"}


@checks_signatures
@spread
def verify(
    *,
    artifacts: ArtifactsArgument,
    photo: PhotosOption = NONE,
    network: ReferenceOptions,
    golden: Annotated[
        bool, typer.Option("--golden", help="Check only against the golden output stored in the artifact.")
    ] = False,
    worst_case: Annotated[
        bool,
        typer.Option("--worst-case", help="Search for the image with the largest difference and save it."),
    ] = False,
    worst_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Folder for worst-case images.", show_default="next to the artifact"
        ),
    ] = None,
    tries: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=100_000, help="Number of images to try in the worst-case search."
        ),
    ] = 96,
    threads: ThreadsOption = None,
    save: SaveOption = None,
    json: JsonOption = False,
) -> int:
    """Check artifacts against PyTorch.

    Compares each artifact with PyTorch eager (native FFT) on photos and checks the budget of its precision.
    The result is added to the evidence in the passport.
    """
    if worst_case and (golden or not torch_is_here()):
        raise BadInputError("--worst-case needs PyTorch: the golden output covers one photo only")
    if golden or not torch_is_here():
        refuse_unused([*(["--photo"] if photo else []), *network.given()], "--golden" if golden else "")
        golden = True
    search = _Worst(worst_dir, tries) if worst_case else None
    done: list[_Checked] = []
    opened = open_artifacts(artifacts)
    check_photos(photo)
    if search is not None:
        from ...benchmarks.accuracy.worst_case import default_file
        from ...runtime.files import check_place

        for artifact in opened:
            check_place(default_file(artifact.path, search.folder), overwrite=True)
    with show.working("opening") as step:
        for number, artifact in enumerate(opened):
            step(number, len(opened), shown_name(artifact.path))
            done.append(_check(artifact, photo, network, golden, threads, search, step))
    rows = [_row(checked, golden) for checked in done]
    if json:
        show.as_json({"artifacts": rows})
    else:
        _print(rows, of_onnx=str(network.model).endswith(".onnx"))
    for checked, row in zip(done, rows, strict=True):
        parity = checked.parity
        for problem in parity.problems:
            complain(f"{checked.artifact.path}: {problem} ({parity.worst_photo})", kind="failed")
        record(checked.artifact, _evidence(row), save)
    return 0 if all(checked.parity.within_budget for checked in done) else 1


@dataclass(frozen=True)
class _Worst:
    folder: Path | None
    tries: int


@dataclass(frozen=True)
class _Checked:
    artifact: Artifact
    parity: Parity
    caveat: str
    using: dict[str, str | int]
    is_stand_in: bool
    worst: WorstCase | None = None


def _check(
    artifact: Artifact,
    photos: list[Path],
    network: ReferenceOptions,
    golden: bool,
    threads: int | None,
    search: _Worst | None,
    step: show.Step,
) -> _Checked:
    from ...benchmarks.accuracy import parity
    from ...runtime.sessions import open_session

    with open_session(artifact, threads=threads) as session:
        caveat = "; ".join(filter(None, (session.caveat, session.remark)))
        using = session.describe()
        if golden:
            return _Checked(artifact, parity.verify_golden(session), caveat, using, session.is_stand_in)
        from ...export.build import reference_for
        from ...export.inputs import samples_of

        source = source_of_artifact(artifact, network)
        reference = reference_for(artifact, source)
        samples = samples_of(source, session.inputs, photos)
        if search is None:
            checked = parity.verify(session, reference, samples)
            return _Checked(artifact, checked, caveat, using, session.is_stand_in)
        if not artifact.passport.maps_pictures:
            raise BadInputError(
                f"{artifact.path}: --worst-case searches among images; this artifact takes "
                f"{described(session.inputs)}"
            )
        from ...benchmarks.accuracy.worst_case import default_file, find_worst

        worst = find_worst(
            session,
            reference,
            photos,
            file=default_file(artifact.path, search.folder),
            evaluations=search.tries,
            progress=step,
        )
        checked = parity.verify(session, reference, [*samples, worst.photo])
        return _Checked(artifact, checked, caveat, using, session.is_stand_in, worst)


def _row(checked: _Checked, golden: bool) -> dict[str, Any]:
    from ...benchmarks.accuracy.parity import GOLDEN_ONLY

    artifact, parity, worst = checked.artifact, checked.parity, checked.worst
    verdict, reason = parity.verdict(checked.caveat, GOLDEN_ONLY if golden else "")
    # Whatever a stand-in shows, the artifact's own model did not run.
    state = "unverified" if checked.is_stand_in and verdict == "verified" else verdict
    return {
        "path": str(artifact.path),
        "target": artifact.passport.target,
        "precision": artifact.passport.precision,
        "state": state,
        "reason": reason,
        "against": "golden" if golden else "eager",
        "session": checked.using,
        "parity": parity.to_dict(),
        **({} if worst is None else {"worst_case": worst.to_dict()}),
    }


def _print(rows: list[dict[str, Any]], *, of_onnx: bool) -> None:
    against = {**_AGAINST, "eager": "ONNX Runtime"} if of_onnx else _AGAINST
    measures = {row["parity"]["measure"] for row in rows}
    tensors, mixed = measures == {"tensor"}, len(measures) > 1
    far = ("max rel#", "mean rel#", "SNR dB#") if tensors else ("max abs#", "mean abs#", "PSNR dB#")
    heading = "worst sample" if "tensor" in measures else "worst photo"
    columns = ("artifact", "state", *far, *(() if tensors else ("SSIM#",)), heading, "against")
    cells = []
    for row in rows:
        parity = row["parity"]
        figures = (f"{parity['max_abs']:.2e}", f"{parity['mean_abs']:.2e}", f"{parity['psnr_db']:.1f}")
        name = shown_name(Path(row["path"]))
        ssim = "" if parity["measure"] == "tensor" else f"{parity['ssim']:.6f}"
        similar = () if tensors else (ssim,)
        cells.append((name, row["state"], *figures, *similar, parity["worst_photo"], against[row["against"]]))
    whom = "the original file in ONNX Runtime" if of_onnx else "PyTorch"
    show.table(f"Parity: artifact against {whom}", columns, cells)
    if mixed:
        show.line("of results that are no images: max abs relative to the largest magnitude, SNR for PSNR.")
    if any(row["against"] == "golden" for row in rows):
        show.line(
            "golden only: compared with the result of PyTorch that is stored in the artifact, for one sample"
        )
    for row in rows:
        if worst := row.get("worst_case"):
            show.line(
                f"{shown_name(Path(row['path']))}: worst of {worst['tried']} pictures: {worst['name']}, "
                f"{worst['max_abs']:.2e} against {worst['photos_max_abs']:.2e} on photos; {worst['file']}"
            )
            if (own := worst["own_psnr_db"]) is not None:
                show.line(
                    f"   PyTorch's own output keeps {own:.1f} dB PSNR there if its input changes by up to "
                    "half an 8-bit step, which is 58.9 dB PSNR of the input"
                )


def _evidence(row: dict[str, Any]) -> Evidence:
    from ...benchmarks.timing.machine import machine_info
    from ...runtime.evidence import parity_evidence

    return parity_evidence(
        row["parity"], row["state"], row["reason"], where=machine_info(), using=row["session"]
    )
