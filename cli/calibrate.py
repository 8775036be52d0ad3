"""``fdikp-edge calibrate``: ranges of a network on photos, as one table for fp16 and int8 builds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runtime.errors import BadInputError, OutputError
from . import show
from .guard import complain
from .options import (
    ALL,
    ContractOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    SeedOption,
    SizeOption,
    TargetsOption,
)
from .parsing import check_model, parse_contract, parse_size


def calibrate(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTOS]...", help="Photos or folders; those shipped when left out."),
    ] = None,
    model: ModelOption = "tiny",
    target: TargetsOption = ALL,
    size: SizeOption = "256x256",
    contract: ContractOption = "float",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="File to write.")] = Path(
        "table.json"
    ),
    tiles: Annotated[
        int, typer.Option(metavar="N", min=2, max=256, help="Pieces of photos to take ranges from.")
    ] = 16,
    overwrite: OverwriteOption = False,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> int:
    """Take the ranges that fp16 and int8 builds need.

    Chooses pieces of the photos for what they cover, runs the network on them, and writes one table for every
    target. `deploy` does the same by itself with the photos that are shipped.
    """
    from ..calibration.samples import choose, find_photos, shipped_photos
    from ..export.targets import select

    height_width = parse_size(size)
    image_contract = parse_contract(contract)
    check_model(model, height_width)
    profiles = dict.fromkeys(row.profile for row, _ in select(target, ["fp32"]) if row.calibrated)
    if not profiles:
        raise BadInputError(f"no calibration table is used for {', '.join(target)}; build it without one")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; choose another name, or overwrite it")
    samples = choose(find_photos(photos) if photos else shipped_photos(), height_width, count=tiles)
    with show.working("reading the network") as step:
        from ..export.build import load_model, lower_model
        from ..export.calibrate import calibrate as run

        step(0, 3, "lowering")
        first, *others = profiles
        lowered = lower_model(
            load_model(model, seed=seed), height_width, contract=image_contract, profile=first
        )
        table = run(
            [lowered, *(lowered.for_profile(name) for name in others)], samples=samples, progress=step
        )
        table.write(out)
    for note in samples.warnings:
        complain(note, kind="warning")
    if json:
        show.as_json({"path": str(out), "sha256": table.sha256, "samples": dict(table.samples)})
        return 0
    facts = [("model", table.model), ("table", table.sha256), ("tiles", f"{len(samples.tiles)}")]
    facts += [(name, f"{low:g} to {high:g}") for name, (low, high) in samples.coverage().items()]
    for section in table.sections.values():
        facts.append((section.profile, f"{len(section.quantised())} of {len(section.layers)} layers in int8"))
        facts.append(("", f"float16 emulated: {section.half.emulated_db:.1f} dB"))
    show.facts(str(out), facts)
    return 0
