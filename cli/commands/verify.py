"""``fdikp-edge verify``: artifacts against PyTorch eager, or against their recorded output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...runtime.errors import BadInputError
from ...runtime.tensors import described
from .. import show
from ..artifacts import open_artifacts
from ..eager import source_of_artifact, torch_is_here
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

if TYPE_CHECKING:
    from ...benchmarks.accuracy.parity import Parity
    from ...benchmarks.accuracy.worst_case import WorstCase
    from ...runtime.artifact import Artifact
    from ...runtime.sessions import Session


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
    save: SaveOption = True,
    json: JsonOption = False,
) -> int:
    """Check artifacts against PyTorch.

    Compares each artifact with PyTorch eager (native FFT) on photos and checks the budget of its precision.
    The result is written into the passport.
    """
    if worst_case and (golden or not torch_is_here()):
        raise BadInputError("--worst-case needs PyTorch: the golden output covers one photo only")
    golden = golden or not torch_is_here()
    search = _Worst(worst_dir, tries) if worst_case else None
    done: list[tuple[Artifact, Parity, str, WorstCase | None]] = []
    opened = open_artifacts(artifacts)
    check_photos(photo)
    if search is not None:
        from ...benchmarks.accuracy.worst_case import default_file
        from ...runtime.files import check_place

        for artifact in opened:
            check_place(default_file(artifact.path, search.folder), overwrite=True)
    with show.working("opening") as step:
        for number, artifact in enumerate(opened):
            step(number, len(opened), artifact.path.name)
            done.append((artifact, *_check(artifact, photo, network, golden, threads, search, step)))
    rows = [_row(artifact, parity, caveat, golden, worst) for artifact, parity, caveat, worst in done]
    if json:
        show.as_json({"artifacts": rows})
    else:
        _print(rows)
    for (artifact, parity, *_), row in zip(done, rows, strict=True):
        for problem in parity.problems:
            complain(f"{artifact.path}: {problem} ({parity.worst_photo})", kind="failed")
        if save:
            _save(artifact, row)
    return 0 if all(parity.within_budget for _, parity, *_ in done) else 1


@dataclass(frozen=True)
class _Worst:
    folder: Path | None
    tries: int


def _check(
    artifact: Artifact,
    photos: list[Path],
    network: ReferenceOptions,
    golden: bool,
    threads: int | None,
    search: _Worst | None,
    step: show.Step,
) -> tuple[Parity, str, WorstCase | None]:
    from ...benchmarks.accuracy import parity
    from ...runtime.sessions import open_session

    with open_session(artifact, threads=threads) as session:
        if golden:
            return parity.verify_golden(session), _caveats(session), None
        from ...export.build import reference_for
        from ...export.inputs import samples_of

        source = source_of_artifact(artifact, network)
        reference = reference_for(artifact, source)
        samples = samples_of(source, session.inputs, photos)
        if search is None:
            return parity.verify(session, reference, samples), _caveats(session), None
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
        return parity.verify(session, reference, [*samples, worst.photo]), _caveats(session), worst


def _caveats(session: Session) -> str:
    return "; ".join(filter(None, (session.caveat, session.remark)))


def _row(
    artifact: Artifact, parity: Parity, caveat: str, golden: bool, worst: WorstCase | None
) -> dict[str, Any]:
    from ...benchmarks.accuracy.parity import GOLDEN_ONLY

    state, reason = parity.verdict(caveat, GOLDEN_ONLY if golden else "")
    return {
        "path": str(artifact.path),
        "target": artifact.passport.target,
        "precision": artifact.passport.precision,
        "state": state,
        "reason": reason,
        "against": "golden" if golden else "eager",
        "parity": parity.to_dict(),
        **({} if worst is None else {"worst_case": worst.to_dict()}),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    measures = {row["parity"]["measure"] for row in rows}
    tensors, mixed = measures == {"tensor"}, len(measures) > 1
    far = ("max rel#", "mean rel#", "SNR dB#") if tensors else ("max abs#", "mean abs#", "PSNR dB#")
    heading = "worst sample" if "tensor" in measures else "worst photo"
    columns = ("artifact", "state", *far, *(() if tensors else ("SSIM#",)), heading, "against")
    cells = []
    for row in rows:
        parity = row["parity"]
        figures = (f"{parity['max_abs']:.2e}", f"{parity['mean_abs']:.2e}", f"{parity['psnr_db']:.1f}")
        name = Path(row["path"]).name
        ssim = "" if parity["measure"] == "tensor" else f"{parity['ssim']:.6f}"
        similar = () if tensors else (ssim,)
        cells.append((name, row["state"], *figures, *similar, parity["worst_photo"], row["against"]))
    show.table("Parity: artifact against PyTorch", columns, cells)
    if mixed:
        show.line("of results that are no images: max abs relative to the largest magnitude, SNR for PSNR.")
    for row in rows:
        if worst := row.get("worst_case"):
            show.line(
                f"{Path(row['path']).name}: worst of {worst['tried']} pictures: {worst['name']}, "
                f"{worst['max_abs']:.2e} against {worst['photos_max_abs']:.2e} on photos; {worst['file']}"
            )
            if (own := worst["own_psnr_db"]) is not None:
                show.line(
                    f"   PyTorch's own output keeps {own:.1f} dB PSNR there if its input changes by up to "
                    "half an 8-bit step (58.9 dB)"
                )


def _save(artifact: Artifact, row: dict[str, Any]) -> None:
    from ...benchmarks.timing.machine import machine_info

    artifact.amend(parity=row["parity"], state=row["state"], reason=row["reason"], measured_on=machine_info())
