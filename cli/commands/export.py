"""``fdikp-edge export``: build artifacts, without verifying or measuring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...runtime.errors import TargetUnavailableError
from .. import show
from ..groups import spread
from ..options import (
    ALL,
    FP32,
    OUT_FOLDER,
    JsonOption,
    NetworkOptions,
    OutFolderOption,
    OverwriteOption,
    PrecisionsOption,
    TableOption,
    TargetsOption,
)

if TYPE_CHECKING:
    from ...export.targets import Target


@spread
def export(
    *,
    network: NetworkOptions,
    target: TargetsOption = ALL,
    precision: PrecisionsOption = FP32,
    table: TableOption = None,
    out: OutFolderOption = OUT_FOLDER,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Build artifacts without verifying them.

    Each artifact is written completely or not at all. Verify it later with `fdikp-edge verify`.
    """
    from ...benchmarks.deploy import artifact_name
    from ...export.targets import select
    from ...runtime.artifact import ArtifactWriter
    from ...runtime.files import making_folder

    height_width = network.height_width()
    chosen = select(target, precision)
    rows = [_row(row, number_format) for row, number_format in chosen]
    if all(row["state"] for row in rows):
        raise TargetUnavailableError(
            "; ".join(f"{r['target']} {r['precision']}: {r['reason']}" for r in rows)
        )
    with show.working("reading the network") as step, making_folder(out):
        from ...calibration.table import read_table
        from ...export.build import build_artifact
        from ...export.lowered import lower_model

        ranges = None if table is None else read_table(table)
        source = network.source()
        extent = source.extent(height_width)
        todo = []
        for (row, number_format), entry in zip(chosen, rows, strict=True):
            if not entry["state"]:
                dest = out / artifact_name(source.name, row.name, number_format, extent)
                todo.append((row, number_format, dest, entry))
                with ArtifactWriter(dest, overwrite=overwrite):
                    pass  # finds out now, and not after the work, whether it may be written
        step(1, len(todo) + 2, "lowering")
        lowered = lower_model(
            source, height_width, contract=network.contract.contract, profile=todo[0][0].profile
        )
        for number, (row, number_format, dest, entry) in enumerate(todo):
            step(number + 2, len(todo) + 2, f"building {row.name} {number_format}")
            artifact = build_artifact(lowered, row, number_format, dest, table=ranges, overwrite=overwrite)
            entry.update(path=str(dest), state=artifact.passport.state, reason=artifact.passport.reason)
    if json:
        show.as_json({"artifacts": rows})
    else:
        columns = ("target", "precision", "state", "path", "reason")
        show.table("Exported", columns, [tuple(entry[column] for column in columns) for entry in rows])
    return 0


def _row(target: Target, precision: str) -> dict[str, str]:
    """Return the line of one artifact; one that cannot be built here has its state already, and says why."""
    from ...export.targets import capability

    ability = capability(target)
    reason = "" if precision in target.precisions else f"{precision} is not supported by this target"
    if not ability.can_build:
        reason = ability.reason
    state = "unavailable" if reason else ""
    return {"target": target.name, "precision": precision, "path": "", "state": state, "reason": reason}
