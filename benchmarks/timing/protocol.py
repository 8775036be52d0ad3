"""How long a profile measures, and how its settings are called on command lines.

Light on purpose: both command lines, the one on a device too, read it to show their help.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUERIES, SECONDS = 1024, 60.0
"""What MLPerf Inference asks of a single stream (github.com/mlcommons/inference_policies, as of v5)."""


@dataclass(frozen=True)
class Setting:
    """How people set a field of :class:`Protocol`: ``--option METAVAR``, from ``least`` to ``most``."""

    option: str
    metavar: str
    least: float
    most: float
    help: str


def _set_by(option: str, metavar: str, least: float, most: float, help: str, default: Any) -> Any:
    return dataclasses.field(
        default=default, metadata={"setting": Setting(option, metavar, least, most, help)}
    )


@dataclass(frozen=True)
class Protocol:
    """How long to measure.

    Attributes:
        queries: least number of queries.
        seconds: least time they take together.
        most_seconds: stop then, whatever is still missing.
        idle_seconds: rest before, to see what the machine draws.
        soak_seconds: most time to wait for a steady state.
        warmup: queries before anything else.
        interval_s: between two looks at the sensors.
    """

    queries: int = _set_by("queries", "N", 1, 1_000_000, "least number of queries", QUERIES)
    seconds: float = _set_by("seconds", "S", 0.05, 86_400, "least time they take together", SECONDS)
    most_seconds: float = _set_by("most-seconds", "S", 0.05, 86_400, "stop then, whatever is missing", 1800.0)
    idle_seconds: float = _set_by("idle", "S", 0, 86_400, "rest first, for the idle power", 10.0)
    soak_seconds: float = _set_by("soak", "S", 0, 86_400, "most time to wait until steady", 180.0)
    warmup: int = 3
    interval_s: float = _set_by("interval", "S", 0.05, 60, "between two looks at the sensors", 0.5)


SETTINGS: Mapping[str, Setting] = {
    field.name: field.metadata["setting"]
    for field in dataclasses.fields(Protocol)
    if "setting" in field.metadata
}
"""Field -> how it is set."""
