"""``fdikp-edge calibrate``: ranges of a network on photos, as one table for fp16 and int8 builds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...runtime.errors import BadInputError, TargetUnavailableError
from .. import show
from ..groups import spread
from ..guard import complain
from ..options import (
    ALL,
    JsonOption,
    MixedPrecisionOptions,
    NetworkOptions,
    OverwriteOption,
    TargetsOption,
    ThreadsOption,
)
from ..parsing import parse_radii

if TYPE_CHECKING:
    from ...calibration.table import ProgramCalibration, ProgramKey


@spread
def calibrate(
    *,
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTOS]...", help="Photos or folders; the included photos if omitted."),
    ] = None,
    network: NetworkOptions,
    target: TargetsOption = ALL,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Output file.")] = Path(
        "table.json"
    ),
    tiles: Annotated[
        int, typer.Option(metavar="N", min=2, max=256, help="Number of photo tiles used for calibration.")
    ] = 24,
    defocus: Annotated[
        str | None,
        typer.Option(
            metavar="RADII",
            help="Defocus radii in pixels, applied to the tiles in turn; for photos that are in focus.",
            show_default="0,1.5,3,5 for the included photos, 0 for yours",
        ),
    ] = None,
    protect_outliers: Annotated[
        bool,
        typer.Option(
            "--protect-outliers", help="Also keep layers sensitive to hard test patterns in float; slower."
        ),
    ] = False,
    sturdy: Annotated[bool, typer.Option("--sturdy", hidden=True)] = False,
    mixed: MixedPrecisionOptions,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Collect activation ranges for fp16 and int8.

    Selects varied tiles from the photos, runs the network on them, and writes one table for all targets.
    `deploy` does this automatically with the included photos. With --max-drop-db or --min-speedup, layers are
    timed on this machine, and the layers with the highest PSNR loss per millisecond saved stay in float.
    """
    from ...calibration.samples import choose, find_photos, shipped_photos
    from ...export.targets import select
    from ...runtime.files import check_place

    height_width = network.only_size("a calibration table belongs to one size")
    bounds = mixed.bounds()
    radii = parse_radii(defocus)
    rows = [row for row, _ in select(target, ["fp32"]) if row.calibrated]
    profiles = dict.fromkeys(row.profile for row in rows)
    if not profiles:
        raise BadInputError(
            f"these targets do not use a calibration table: {', '.join(target)}; export them without one"
        )
    check_place(out, overwrite=overwrite)
    unmixed: list[str] = []
    with show.working("reading the network", slow=True) as step:
        from ...calibration.defocus import in_turn
        from ...export.calibrate import calibrate as run
        from ...export.calibrate import default_radii
        from ...export.lowered import lower_model

        source = network.source()
        in_focus = samples = None
        if source.takes_photos and (photos or network.samples is None):
            chosen = find_photos(photos) if photos else shipped_photos()
            height, width = source.extent(height_width)  # its own, where it has one size only
            in_focus = choose(chosen, (height, width), count=tiles)
            samples = in_turn(in_focus, radii or default_radii(photos, source))
        elif photos or radii:
            raise BadInputError(f"{source.name}: takes no photos, so --photos and --defocus mean nothing")
        step(0, 3, "lowering")
        first, *others = profiles
        lowered = lower_model(source, height_width, contract=network.contract.contract, profile=first)
        models = {first: lowered, **{name: lowered.for_profile(name) for name in others}}
        table = run(
            list(models.values()), samples=samples, protect_outliers=protect_outliers or sturdy, progress=step
        )
        if bounds is not None:
            from ...benchmarks.mixed_precision import timed_mixed_precision

            # Targets of one profile share its section of the table: the first one decides.
            deciding = {row.profile: row for row in reversed(rows)}
            untimed = {}
            for row in deciding.values():
                how: dict[str, Any] = {"samples": in_focus, "pairs": mixed.pairs, "threads": threads}
                try:
                    table = timed_mixed_precision(
                        models[row.profile], table, bounds, row, **how, progress=step
                    )
                except TargetUnavailableError as error:
                    untimed[row.name] = error
            if len(untimed) == len(deciding):
                raise next(iter(untimed.values()))
            unmixed = [f"{error}; all of its int8 layers stay in int8" for error in untimed.values()]
        table.write(out)
    warnings = [*table.notes, *unmixed]
    for note in warnings:
        complain(note, kind="warning")
    if json:
        show.as_json(
            {
                "path": str(out),
                "model": table.model,
                "sha256": table.sha256,
                "samples": dict(table.samples),
                "warnings": warnings,
                "programs": [_program(*entry) for entry in table.sections.items()],
            }
        )
        return 0
    facts = [("model", table.model), ("table", table.sha256), ("samples", f"{table.samples['tiles']}")]
    if samples is not None:
        facts.append(("defocus radii", _radii(table.samples["radii"])))
        facts += [(name, f"{low:g} to {high:g}") for name, (low, high) in samples.coverage().items()]
    for (_, profile), section in table.sections.items():
        facts.append((profile, f"{len(section.quantised())} of {len(section.layers)} layers in int8"))
        facts.append(("", f"float16, emulated PSNR: {section.half.emulated_db:.1f} dB"))
        if section.mixed_precision is not None:
            facts.append(("", f"mixed precision: {section.mixed_precision.summary()}"))
    show.facts(str(out), facts)
    return 0


def _radii(radii: Sequence[float]) -> str:
    return ", ".join(f"{radius:g}" for radius in radii) + " pixels"


def _program(key: ProgramKey, section: ProgramCalibration) -> dict[str, Any]:
    program_sha256, profile = key
    mixture = section.mixed_precision
    return {
        "profile": profile,
        "program_sha256": program_sha256,
        "layers": len(section.layers),
        "int8_layers": len(section.quantised()),
        "float16_emulated_db": section.half.emulated_db,
        "mixture": None if mixture is None else mixture.to_dict(),
    }
