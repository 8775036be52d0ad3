"""``fdikp-edge export``: build artifacts, without verifying or measuring them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import (
    ALL,
    FP32,
    ContractOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    PrecisionsOption,
    SeedOption,
    SizeOption,
    TargetsOption,
)
from .parsing import artifact_name, check_model, parse_contract, parse_size


def export(
    model: ModelOption = "tiny",
    target: TargetsOption = ALL,
    precision: PrecisionsOption = FP32,
    size: SizeOption = "256x256",
    contract: ContractOption = "float",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write artifact folders into.")] = Path(
        "fdikp-edge-out"
    ),
    overwrite: OverwriteOption = False,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> int:
    """Build artifacts without verifying them.

    Each is written as OUT/MODEL-TARGET-PRECISION-HxW, complete or not at all.
    """
    from ..export.targets import capability, select
    from ..runtime.artifact import ArtifactWriter
    from ..runtime.errors import TargetUnavailableError
    from ..runtime.files import making_folder

    height_width = parse_size(size)
    image_contract = parse_contract(contract)
    name = check_model(model, height_width)
    rows: list[dict[str, str]] = []
    todo = []
    for row, number_format in select(target, precision):
        found = capability(row)
        offered = number_format in row.precisions
        reason = "" if found.can_build and offered else found.reason or f"not offered at {number_format} yet"
        dest = out / artifact_name(name, row.name, number_format, height_width)
        entry = {
            "target": row.name,
            "precision": number_format,
            "path": str(dest),
            "state": "",
            "reason": reason,
        }
        rows.append(entry)
        if reason:
            entry.update(state="unavailable", path="")
        else:
            todo.append((row, number_format, dest, entry))
    if not todo:
        raise TargetUnavailableError(
            "; ".join(f"{r['target']} {r['precision']}: {r['reason']}" for r in rows)
        )
    with show.working("reading the network") as step, making_folder(out):
        for _, _, dest, _ in todo:
            with ArtifactWriter(dest, overwrite=overwrite):
                pass  # finds out now, and not after the work, whether it may be written
        from ..export.build import build_artifact, load_model, lower_model

        steps = len(todo) + 2
        network = load_model(model, seed=seed)
        step(1, steps, "lowering")
        lowered = lower_model(network, height_width, contract=image_contract, profile=todo[0][0].profile)
        for number, (row, number_format, dest, entry) in enumerate(todo):
            step(number + 2, steps, f"building {row.name} {number_format}")
            made = build_artifact(lowered, row, number_format, dest, overwrite=overwrite)
            entry.update(state=made.passport.state, reason=made.passport.reason)
    if json:
        show.as_json({"artifacts": rows})
    else:
        columns = ("target", "precision", "state", "path", "reason")
        show.table("Exported", columns, [tuple(entry[column] for column in columns) for entry in rows])
    return 0
