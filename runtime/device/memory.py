"""How much memory a process has held at most, and how often the kernel ended one to free some."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ..errors import TargetUnavailableError

ROOT = Path("/")
_STATUS, _CLEAR, _EVENTS = "proc/self/status", "proc/self/clear_refs", "proc/vmstat"
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def peak_mb(root: Path = ROOT) -> float:
    """Return the most this process has held resident so far, in 10^6 bytes.

    Raises:
        TargetUnavailableError: the system does not tell.
    """
    # Not getrusage where it can be helped: on Linux that figure survives exec, and would count the parent's.
    if (match := _PEAK.search(_text(root / _STATUS))) is not None:
        return int(match[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError as error:
        raise TargetUnavailableError("this system does not report peak memory") from error
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def restart_peak(root: Path = ROOT) -> bool:
    """Let :func:`peak_mb` count from now on (Linux), and say whether that worked."""
    with contextlib.suppress(OSError):
        (root / _CLEAR).write_text("5")  # proc(5): resets the peak resident set size
        return True
    return False


def oom_kills(root: Path = ROOT) -> int | None:
    """Return how many processes the kernel has killed because memory ran out, ``None`` where it is not told.

    Everybody may read it (``oom_kill`` of ``/proc/vmstat``, from Linux 4.13); containers count too.
    """
    match = _KILLS.search(_text(root / _EVENTS))
    return None if match is None else int(match[1])


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="ascii", errors="replace")
    return ""
