"""Mixed precision on this machine: times a model's layers, searches, and times what was found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..export.mixed_precision import Bounds, choose_mixed_precision
from ..export.targets import Target
from ..runtime.progress import Progress
from .timing.layer_times import Stopwatch

if TYPE_CHECKING:
    from ..export.calibrate import CalibrationTable, Samples
    from ..export.lowered import LoweredModel

__all__ = ["Bounds", "timed_mixed_precision"]


def timed_mixed_precision(
    model: LoweredModel,
    table: CalibrationTable,
    bounds: Bounds,
    target: Target,
    *,
    samples: Samples | None = None,
    pairs: str | Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Return the table of the int8 and float layers that meet the bounds on a target, timed on this machine.

    Args:
        model: lowered for the target.
        table: its calibration table.
        bounds: what to keep.
        target: built and timed on this machine.
        samples: see :func:`fdikp_edge.export.mixed_precision.choose_mixed_precision`, as ``pairs``.
        pairs: photos to judge on.
        threads: processor threads; all that may be used when ``None``.
        progress: called with (steps done, steps in total, message).

    Raises:
        TargetUnavailableError: the target cannot be timed here.
        CheckFailedError: the bounds cannot be met; the message gives the best result.
        CalibrationError: a table of another program or profile, or pairs that do not fit.
    """
    if progress is not None:
        progress(0, 1, f"timing the layers ({target.name})")
    with Stopwatch(model, target, threads=threads) as watch:
        chosen = choose_mixed_precision(
            model, table, bounds, target, watch.times(table), samples=samples, pairs=pairs, progress=progress
        )
        if progress is not None:
            progress(1, 1, f"timing the mixed-precision model ({target.name})")
        section = chosen.section(model.lowered.key)
        assert section.mixed_precision is not None
        timed = dataclasses.replace(section.mixed_precision, confirmed_speedup=watch.speedup(chosen))
    return chosen.to_float(model.lowered.key, {}, timed)
