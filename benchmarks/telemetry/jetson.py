"""A Jetson's own programs: ``tegrastats`` while something runs, ``nvpmodel`` and ``jetson_clocks`` before."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from ...runtime.errors import BadInputError, TargetUnavailableError
from ...runtime.outside.files import read_bounded
from . import tegrastats
from .reading import Reading

PLACES = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/home/nvidia")
"""Where the programs are on Jetson Linux, beside the search path (a plain user's lacks ``sbin``)."""

_MODE = re.compile(r"NV Power Mode:\s*(.+)")
_FAN = re.compile(r"NV Fan Mode:\s*(.+)")
_PAIR = re.compile(r"(\w+)=(\S+)")
_NAMED = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,6})\s+NAME=([^\s>]+)", re.MULTILINE)
_STATUS, _CONF = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
_MAX_CONF_BYTES = 1 << 20
_HELD = re.compile(r"cpu\d+|GPU", re.IGNORECASE)
_MEMORY = "EMC"
_TIMEOUT_S = 10.0


class TegrastatsSource:
    """The last line that ``tegrastats`` printed."""

    name = "tegrastats"

    def __init__(self, interval_s: float = 0.5) -> None:
        """Plan to ask for a line every ``interval_s``."""
        self.interval_ms = max(100, round(interval_s * 1000))
        self._process: subprocess.Popen[str] | None = None
        self._line: str | None = None

    def start(self) -> None:
        """Start the program.

        Raises:
            TargetUnavailableError: it is not installed, or does not start.
        """
        program = find_program("tegrastats")
        try:
            self._process = subprocess.Popen(
                [program, "--interval", str(self.interval_ms)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise TargetUnavailableError(f"{program} does not start: {error.strerror or error}") from error
        threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed by stop
            for line in process.stdout:
                self._line = line

    def read(self) -> Reading:
        """Return the newest line, empty where there is none since the last time."""
        line, self._line = self._line, None
        return Reading() if line is None else tegrastats.parse(line)

    def stop(self) -> None:
        """Stop the program."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def find_program(name: str) -> str:
    """Return the path of a Jetson program.

    Raises:
        TargetUnavailableError: it is not there.
    """
    path = shutil.which(name) or shutil.which(name, path=":".join(PLACES))
    if path is None:
        raise TargetUnavailableError(f"{name} not found (part of Jetson Linux)")
    return path


def power_mode() -> dict[str, Any]:
    """Return the power mode by name and what the clocks are held at, each with its ``problem`` if unknown.

    ``{"nvpmodel": {"power_mode": "MAXN", "power_mode_id": 0, …}, "jetson_clocks": {"locked": …}}``.
    """
    mode = _asked("nvpmodel", ["-q"], parse_nvpmodel)
    if "power_mode" not in mode:
        without = power_mode_without_root()
        mode = mode if "problem" in without else without
    return {
        "nvpmodel": mode,
        "jetson_clocks": _asked("jetson_clocks", ["--show"], parse_jetson_clocks),
    }


def parse_power_modes(conf: str) -> dict[int, str]:
    """Return number -> name of the modes in ``nvpmodel.conf``; numbers differ by board, names tell."""
    return {int(number): name for number, name in _NAMED.findall(conf)}


def power_mode_without_root(root: Path = Path("/")) -> dict[str, Any]:
    """Return the power mode as ``nvpmodel`` left it for its next start, which everybody may read.

    ``{"power_mode": "MAXN_SUPER", "power_mode_id": 2, "from": "/var/lib/nvpmodel/status"}``, or the problem.
    """
    try:
        status = read_bounded(root / _STATUS, 4096).decode("ascii", errors="replace")
        conf = read_bounded(root / _CONF, _MAX_CONF_BYTES).decode("utf-8", errors="replace")
    except BadInputError as error:
        return {"problem": str(error)}
    modes = parse_power_modes(conf)
    match = re.search(r"pmode:(\d{1,6})", status)
    if match is None or int(match[1]) not in modes:
        return {"problem": f"/{_STATUS} names no mode of /{_CONF}"}
    return {"power_mode": modes[int(match[1])], "power_mode_id": int(match[1]), "from": f"/{_STATUS}"}


def parse_nvpmodel(text: str) -> dict[str, Any]:
    """Return what ``nvpmodel -q`` says: ``power_mode``; ``power_mode_id``, ``fan_mode`` where shown."""
    fields: dict[str, Any] = {}
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        if match := _MODE.search(line):
            fields["power_mode"] = match[1].strip()
            following = lines[number + 1] if number + 1 < len(lines) else ""
            if re.fullmatch("[0-9]{1,6}", following):
                fields["power_mode_id"] = int(following)
        elif match := _FAN.search(line):
            fields["fan_mode"] = match[1].strip()
        elif "ERROR" in line:
            fields.setdefault("problem", line[:200])
    if "power_mode" not in fields:
        fields.setdefault("problem", "nvpmodel reported no power mode")
    return fields


def parse_jetson_clocks(text: str) -> dict[str, Any]:
    """Return what ``jetson_clocks --show`` says of each unit, and whether the clocks that count are held.

    ``{"machine": …, "locked": false, "units": {"cpu0": {"MinFreq": "729600", …}}}``. Processors and the GPU
    are held where their lowest and highest clock are the same, memory (``EMC``) where its clock is
    overridden: its limits stay apart. Other units, such as DLA, do not count: they show a lowest clock of 0.
    """
    units: dict[str, dict[str, str]] = {}
    fields: dict[str, Any] = {"units": units}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" ")
        if "Machine:" in line:
            fields["machine"] = line.partition("Machine:")[2].strip()
        elif "NV Power Mode" in line:
            fields["power_mode"] = line.partition(":")[2].strip()
        elif pairs := dict(_PAIR.findall(rest)):
            units[name.rstrip(":")] = pairs
    held = [
        unit["MinFreq"] == unit["MaxFreq"]
        for name, unit in units.items()
        if _HELD.fullmatch(name) and "MinFreq" in unit and "MaxFreq" in unit
    ]
    if not held:
        return {"problem": "jetson_clocks reported no clocks"}
    if "FreqOverride" in (memory := units.get(_MEMORY, {})):
        held.append(memory["FreqOverride"] == "1")
    fields["locked"] = all(held)
    return fields


def _asked(name: str, arguments: list[str], parse: Any) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [find_program(name), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except TargetUnavailableError as error:
        return {"problem": str(error)}
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"problem": f"{name} did not answer: {error}"[:200]}
    answer: dict[str, Any] = parse(done.stdout)
    printed = (done.stdout + done.stderr).lower()
    if "problem" in answer and "root" in printed:
        answer["problem"] = f"{name} must be run as root"
    return answer
