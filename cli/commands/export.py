"""``fdikp-edge export``: build artifacts, without verifying or measuring them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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

    Each artifact is written completely or not at all. Verify it later with `fdikp-edge verify`. Several
    sizes, such as --size 256x256 --size 720x1280, are built into one folder for each target and precision.
    """
    from ...benchmarks.places import artifact_name, folder_name
    from ...export.targets import select
    from ...runtime.artifact import Artifact, ArtifactWriter
    from ...runtime.buckets.folders import size_name
    from ...runtime.buckets.write import writing_buckets
    from ...runtime.files import making_folder

    sizes = network.sizes()
    several = len(sizes) > 1
    chosen = select(target, precision)
    rows = [_row(row, number_format, size, several) for row, number_format in chosen for size in sizes]
    if all(row["state"] for row in rows):
        raise TargetUnavailableError(
            "; ".join(f"{r['target']} {r['precision']}: {r['reason']}" for r in rows[:: len(sizes)])
        )
    with show.working("reading the network", slow=True) as step, making_folder(out):
        from ...calibration.table import read_table
        from ...export.build import build_artifact
        from ...export.lowered import lower_model
        from ...export.sizes import build_sizes, check_sizes

        ranges = None if table is None else read_table(table)
        source = network.source()
        check_sizes(source, sizes, ranges)
        source = replace(source, load=functools.cache(source.load))  # the weights are read once
        writer: Callable[..., AbstractContextManager[Any]] = writing_buckets if several else ArtifactWriter
        todo = []
        for number, (row, number_format) in enumerate(chosen):
            entries = rows[number * len(sizes) : (number + 1) * len(sizes)]
            if entries[0]["state"]:
                continue
            if several:
                dest = out / folder_name(source.name, row.name, number_format)
            else:
                dest = out / artifact_name(source.name, row.name, number_format, source.extent(sizes[0]))
            todo.append((row, number_format, dest, entries))
            with writer(dest, overwrite=overwrite):
                pass  # finds out now, and not after the work, whether it may be written
        steps, total = itertools.count(1), (len(todo) + 1) * len(sizes) + 1

        def told(now: str, size: str = "") -> None:
            step(next(steps), total, f"{now} at {size}" if several else now)

        models = []
        for size in sizes:
            told("lowering", size_name(size))
            profile = todo[0][0].profile
            models.append(lower_model(source, size, contract=network.contract.contract, profile=profile))
        for row, number_format, dest, entries in todo:
            now = f"building {row.name} {number_format}"
            if several:
                progress = functools.partial(told, now)
                build_sizes(models, sizes, row, number_format, dest, overwrite=overwrite, progress=progress)
                places = [dest / size_name(size) for size in sizes]
            else:
                told(now)
                build_artifact(models[0], row, number_format, dest, table=ranges, overwrite=overwrite)
                places = [dest]
            for entry, place in zip(entries, places, strict=True):
                passport = Artifact.open(place).passport
                entry.update(path=str(place), state=passport.state, reason=passport.reason)
    if json:
        show.as_json({"artifacts": rows})
    else:
        columns = ("target", "precision", *(("size",) if several else ()), "state", "path", "reason")
        show.table("Exported", columns, [tuple(_cell(entry[column]) for column in columns) for entry in rows])
    return 0


def _cell(value: str | list[int]) -> str:
    return value if isinstance(value, str) else "x".join(map(str, value))


def _row(target: Target, precision: str, size: tuple[int, int], several: bool) -> dict[str, Any]:
    """Return the line of one artifact; one that cannot be built here has its state already, and says why."""
    from ...export.targets import capability

    reason = ""
    if precision not in target.precisions:  # which installing something does not change
        why = target.not_offered.get(precision)
        reason = f"{precision} is not supported by this target" + (f" ({why})" if why else "")
    elif not (ability := capability(target)).can_build:
        reason = ability.reason
    state = "unavailable" if reason else ""
    return {
        "target": target.name,
        "precision": precision,
        **({"size": list(size)} if several else {}),
        "path": "",
        "state": state,
        "reason": reason,
    }
