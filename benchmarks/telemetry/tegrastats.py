"""``tegrastats``, as Jetson Linux prints it, line by line.

The fields differ by board and release (docs.nvidia.com/jetson, "tegrastats Utility"): the clock of the
processor's parts is a number, a list, or missing; rails are in milliwatts with or without the unit, with one,
two or three values (now, average, and most since JetPack 7); temperatures have a second value on some. What
is not known is kept in ``other``, never an error.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from pathlib import Path

from ...runtime.errors import BadInputError
from ...runtime.outside.files import read_bounded
from .reading import Reading

MAX_RECORDING_BYTES = 256 * 1024**2
MAX_LINE = 16_384

_STAMP = re.compile(r"([0-9]{2}-[0-9]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2})\s+")
_MEMORY = re.compile(r"(RAM|SWAP|IRAM) ([0-9]{1,12})/([0-9]{1,12})(MB|kB)\s*(\([^)]*\))?")
_CPU = re.compile(r"CPU \[([^\]]*)\](?:@([0-9]{1,12}))?", re.IGNORECASE)
_TEMPERATURE = re.compile(
    r"([A-Za-z][\w.-]*)@(-?[0-9]{1,12}(?:\.[0-9]{1,12})?)C(?:/-?[0-9]{1,12}(?:\.[0-9]{1,12})?C)?"
    r"(?=\s|$)"
)
_RAIL = re.compile(
    r"([A-Za-z]\w*) (-?[0-9]{1,12})(?:mW)?/-?[0-9]{1,12}(?:mW)?(?:/-?[0-9]{1,12}(?:mW)?)?"
    r"(?=\s|$)"
)
_LONE_RAIL = re.compile(r"([A-Za-z]\w*) (-?[0-9]{1,12})mW(?=\s|$)")
_ENGINE = re.compile(r"([A-Za-z]\w*) ([0-9]{1,12})%(?:@([0-9]{1,12}|\[[^\]]*\]))?(?=\s|$)")
_IDLE_ENGINE = re.compile(r"([A-Za-z]\w*) ()@([0-9]{1,12}|\[[^\]]*\])(?=\s|$)")
_OFF = re.compile(r"([A-Za-z]\w*) off(?=\s|$)")
_CLOCK = re.compile(r"([A-Za-z]\w*) ([0-9]{1,12})(?=\s|$)")
_MTS = re.compile(r"MTS fg ([0-9]{1,12})% bg ([0-9]{1,12})%")
_NUMBER = re.compile("[0-9]{1,12}")  # \d is also other scripts' digits, and no reading is longer
_WORD = re.compile(r"\S+")

NOT_SENSORS = {"PMIC"}
"""Shown as a temperature, but the same 100 (or 50) degrees in every recording at hand."""
_OFF_C = -250.0  # a sensor of a part without power shows -256
_UNCONNECTED = "NC"


def parse(line: str) -> Reading:
    """Return what one line says. Never fails: a line of something else ends up in ``other``."""
    fields = _Line()
    text = line.strip()[:MAX_LINE]
    at = stamp.end() if (stamp := _STAMP.match(text)) else 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        at = fields.take(text, at)
    return fields.reading()


def stamp_of(line: str) -> datetime.datetime | None:
    """Return the time a line begins with, where it has one."""
    if match := _STAMP.match(line.strip()):
        with contextlib.suppress(ValueError):
            return datetime.datetime.strptime(match[1], "%m-%d-%Y %H:%M:%S")
    return None


class _Line:
    """What has been read of one line."""

    def __init__(self) -> None:
        self.power: dict[str, float] = {}
        self.temperature: dict[str, float] = {}
        self.clock: dict[str, float] = {}
        self.load: dict[str, float] = {}
        self.memory: dict[str, float] = {}
        self.other: dict[str, str] = {}
        self.unknown: str | None = None

    def reading(self) -> Reading:
        return Reading(
            power_mw=self.power,
            temperature_c=self.temperature,
            clock_mhz=self.clock,
            load_percent=self.load,
            memory_mb=self.memory,
            other=self.other,
        )

    def take(self, text: str, at: int) -> int:
        """Read what begins at ``at``, and return where the next thing may begin."""
        for pattern, keep in _RULES:
            match = pattern.match(text, at)
            if match and match.end() > at:
                self.unknown = None
                keep(self, match)
                return match.end()
        match = _WORD.match(text, at)
        assert match is not None  # the caller skipped the spaces
        if self.unknown is None:
            self.unknown = match[0]
            self.other.setdefault(self.unknown, "")
        else:  # words that follow an unknown one are its value
            self.other[self.unknown] = f"{self.other[self.unknown]} {match[0]}".strip()
        return match.end()

    def keep_memory(self, match: re.Match[str]) -> None:
        scale = 1.0 if match[4] == "MB" else 1 / 1024
        self.memory[match[1]] = int(match[2]) * scale
        self.memory[f"{match[1]} total"] = int(match[3]) * scale

    def keep_cpu(self, match: re.Match[str]) -> None:
        for number, core in enumerate(match[1].split(",")):
            load, _, clock = core.strip().partition("@")
            if not load.endswith("%") or not _NUMBER.fullmatch(load[:-1]):
                self.other[f"cpu{number}"] = core.strip()
                continue
            self.load[f"cpu{number}"] = float(load[:-1])
            clock = clock or match[2] or ""
            if _NUMBER.fullmatch(clock):
                self.clock[f"cpu{number}"] = float(clock)

    def keep_temperature(self, match: re.Match[str]) -> None:
        value = float(match[2])
        if value < _OFF_C or match[1] in NOT_SENSORS:
            self.other[match[1]] = f"{match[2]}C"
        else:
            self.temperature[match[1]] = value

    def keep_rail(self, match: re.Match[str]) -> None:
        if match[1] != _UNCONNECTED:
            self.power[match[1]] = float(match[2])

    def keep_engine(self, match: re.Match[str]) -> None:
        name = match[1].removesuffix("_FREQ")
        if match[2]:
            self.load[name] = float(match[2])
        clocks = [float(n) for n in _NUMBER.findall(match[3] or "")]
        if clocks:  # of a processor in several parts, the fastest
            self.clock[name] = max(clocks)

    def keep_clock(self, match: re.Match[str]) -> None:
        self.clock[match[1].removesuffix("_FREQ")] = float(match[2])

    def keep_off(self, match: re.Match[str]) -> None:
        self.other[match[1]] = "off"

    def keep_mts(self, match: re.Match[str]) -> None:
        self.load["MTS fg"], self.load["MTS bg"] = float(match[1]), float(match[2])


_RULES = (
    (_MEMORY, _Line.keep_memory),
    (_CPU, _Line.keep_cpu),
    (_MTS, _Line.keep_mts),
    (_TEMPERATURE, _Line.keep_temperature),
    (_RAIL, _Line.keep_rail),
    (_LONE_RAIL, _Line.keep_rail),
    (_ENGINE, _Line.keep_engine),
    (_IDLE_ENGINE, _Line.keep_engine),
    (_OFF, _Line.keep_off),
    (_CLOCK, _Line.keep_clock),
)


def read_recording(path: Path, interval_s: float = 1.0) -> list[Reading]:
    """Read a file of lines that ``tegrastats --logfile`` wrote, for a replay.

    Args:
        path: the file. Empty lines are passed over.
        interval_s: between two lines, where they carry no time of their own or it stands still (their time
            has seconds only).

    Raises:
        BadInputError: it cannot be read, is larger than 256 MB, or not one line of it tells anything.
    """
    data = read_bounded(path, MAX_RECORDING_BYTES)
    lines = [line for line in data.decode("utf-8", errors="replace").splitlines() if line.strip()]
    readings = [parse(line) for line in lines]
    if not any(reading.power_mw or reading.temperature_c or reading.clock_mhz for reading in readings):
        raise BadInputError(f"{path}: contains no tegrastats line")
    return [reading.at(time) for reading, time in zip(readings, _times(lines, interval_s), strict=True)]


def _times(lines: list[str], interval_s: float) -> list[float]:
    stamps = [stamp_of(line) for line in lines]
    first, last = stamps[0], stamps[-1]
    if len(lines) > 1 and first is not None and last is not None:
        # Whole seconds: spread evenly over what the first and the last say.
        interval_s = (last - first).total_seconds() / (len(lines) - 1) or interval_s
    return [round(number * abs(interval_s), 6) for number in range(len(lines))]
