"""How long a profile measures, and the command-line options of its settings.

Imports little, because both command lines (also the one on a device) read it to show their help.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUERIES, SECONDS = 1024, 60.0
"""What MLPerf Inference asks of a single stream (github.com/mlcommons/inference_policies, as of v5)."""


LIMIT, MOST_SECONDS = 1800.0, 7 * 86_400.0
"""Seconds: the hard limit that nobody asked for, and the longest that anybody may ask for: a week."""

IDLE, SOAK = 10.0, 180.0
"""Seconds: the longest idle period and soak that nobody asked for."""


@dataclass(frozen=True)
class Setting:
    """The command-line option of a :class:`Protocol` field: ``--option METAVAR``, ``least`` to ``most``."""

    option: str
    metavar: str
    least: float
    most: float
    help: str
    former: str = ""
    """An old name of the option that command lines still accept."""
    follows: str = ""
    """What the default follows from, in words, if it is no fixed number."""


def _set_by(
    option: str,
    metavar: str,
    least: float,
    most: float,
    help: str,
    default: Any,
    former: str = "",
    follows: str = "",
) -> Any:
    setting = Setting(option, metavar, least, most, help, former, follows)
    return dataclasses.field(default=default, metadata={"setting": setting})


@dataclass(frozen=True)
class Protocol:
    """How long to measure.

    Attributes:
        queries: minimum number of queries.
        seconds: minimum measuring time, in seconds.
        max_seconds: hard time limit, in seconds, even if the minimums are not reached. By default
            :data:`LIMIT`, or twice ``seconds`` where that is longer, so that a soak of hours is not cut.
        idle_seconds: idle period at the start, to measure idle power. By default as long as ``seconds``,
            at most :data:`IDLE`: who asks for a short run gets one.
        soak_seconds: maximum time to wait for a steady state. By default three times ``seconds``, at most
            :data:`SOAK`.
        warmup: queries before all others, not recorded.
        interval_s: sensor sampling period, in seconds.
    """

    queries: int = _set_by("queries", "N", 1, 1_000_000, "minimum number of queries", QUERIES)
    seconds: float = _set_by("seconds", "S", 0.05, MOST_SECONDS, "minimum measuring time", SECONDS)
    max_seconds: float = _set_by(
        "max-seconds",
        "S",
        0.05,
        MOST_SECONDS,
        "hard time limit",
        None,
        former="most-seconds",
        follows=f"{LIMIT:g}, or twice --seconds where that is longer",
    )
    idle_seconds: float = _set_by(
        "idle",
        "S",
        0,
        86_400,
        "idle period before measuring, for idle power",
        None,
        follows=f"as --seconds, at most {IDLE:g}",
    )
    soak_seconds: float = _set_by(
        "soak",
        "S",
        0,
        86_400,
        "maximum time to wait for a steady state",
        None,
        follows=f"3 times --seconds, at most {SOAK:g}",
    )
    warmup: int = 3
    interval_s: float = _set_by("interval", "S", 0.05, 60, "sensor sampling period", 0.5)

    def __post_init__(self) -> None:
        """Fill in the times that follow from ``seconds``."""
        if self.max_seconds is None:
            object.__setattr__(self, "max_seconds", min(MOST_SECONDS, max(LIMIT, 2 * self.seconds)))
        if self.idle_seconds is None:
            object.__setattr__(self, "idle_seconds", min(IDLE, self.seconds))
        if self.soak_seconds is None:
            object.__setattr__(self, "soak_seconds", min(SOAK, 3 * self.seconds))


SETTINGS: Mapping[str, Setting] = {
    field.name: field.metadata["setting"]
    for field in dataclasses.fields(Protocol)
    if "setting" in field.metadata
}
"""Field -> its option."""
