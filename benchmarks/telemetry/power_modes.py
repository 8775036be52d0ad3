"""Sets the power modes of a Jetson one after the other, and the mode from before at the end.

``nvpmodel -m ID`` sets a mode at once, unless it changes what only a restart can change: then it prints
"Reboot required for changing to this power mode" and asks whether to restart. It gets no answer here and
leaves the mode as it was. Written against recorded output; not verified on a board yet.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ...runtime.errors import BadInputError, DeviceError, TargetUnavailableError
from ...runtime.outside.files import read_bounded
from .jetson import find_program, parse_nvpmodel, parse_power_modes

ALL = "all"
CONF = Path("/etc/nvpmodel.conf")
_MAX_CONF_BYTES = 1 << 20
_TIMEOUT_S = 60.0
"""Setting a mode takes some seconds when it switches processors on or off."""
_SETTLE_S, _POLL_S = 15.0, 0.5
_REBOOT = re.compile(r"reboot required", re.IGNORECASE)
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(frozen=True)
class Mode:
    """A power mode by its number, which differs by board, and its name."""

    number: int
    name: str


class ModeRefusedError(DeviceError):
    """A mode that could not be set; the message says why. The mode from before is still set."""


def offered(conf: Path | None = None) -> tuple[Mode, ...]:
    """Return the modes of ``nvpmodel.conf`` in the order of their numbers.

    Raises:
        TargetUnavailableError: no such file, so no Jetson; or it names no mode.
    """
    conf = conf or CONF
    try:
        text = read_bounded(conf, _MAX_CONF_BYTES).decode("utf-8", errors="replace")
    except BadInputError as error:
        raise TargetUnavailableError(f"power modes need a Jetson: {error}") from error
    modes = tuple(Mode(number, name) for number, name in sorted(parse_power_modes(text).items()))
    if not modes:
        raise TargetUnavailableError(f"{conf}: names no power mode")
    return modes


def choose(text: str, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """Return the modes that ``text`` asks for: ``all``, or names or numbers by comma.

    Raises:
        BadInputError: one that the board does not have; lists those it has.
    """
    if text.strip().lower() == ALL:
        return modes
    by_word = {word: mode for mode in modes for word in (mode.name.lower(), str(mode.number))}
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word.lower() not in by_word]
    if unknown or not words:
        names = ", ".join(f"{mode.name} ({mode.number})" for mode in modes)
        raise BadInputError(
            f"power mode {', '.join(unknown) or text!r}: not on this board; expected all, or: {names}"
        )
    return tuple(dict.fromkeys(by_word[word.lower()] for word in words))


def current() -> Mode:
    """Return the mode that is set now.

    Raises:
        DeviceError: ``nvpmodel -q`` reports no mode, or no number for it.
        TargetUnavailableError: it is not installed.
    """
    facts: Mapping[str, Any] = parse_nvpmodel(_nvpmodel("-q"))
    if "power_mode" not in facts:
        raise DeviceError(f"nvpmodel: {facts['problem']}")
    name = str(facts["power_mode"])
    number = facts.get("power_mode_id")
    if number is None:
        number = next((mode.number for mode in offered() if mode.name == name), None)
    if number is None:
        raise DeviceError(f"nvpmodel: reports the power mode {name}, which {CONF} does not name")
    return Mode(int(number), name)


def set_mode(mode: Mode, settle_s: float = _SETTLE_S) -> None:
    """Set a mode, and wait until ``nvpmodel`` reports it.

    Raises:
        ModeRefusedError: it needs a restart, or was not set.
    """
    printed = _nvpmodel("-m", str(mode.number))
    if _REBOOT.search(printed):
        raise ModeRefusedError(
            f"{mode.name} needs a restart of the board; set it by hand, then profile it alone"
        )
    until = time.monotonic() + settle_s
    while (now := current()).number != mode.number:
        if time.monotonic() >= until:
            errors = [line for line in printed.splitlines() if "ERROR" in line]
            why = errors[0].strip()[:200] if errors else f"nvpmodel still reports {now.name}"
            raise ModeRefusedError(f"{mode.name} could not be set: {why}")
        time.sleep(_POLL_S)


@contextlib.contextmanager
def restored(told: Callable[[str], None] = lambda text: None) -> Iterator[Mode]:
    """Yield the mode that is set now; at the end of the block, whatever ends it, set it again.

    SIGTERM and SIGHUP (a lost connection) unwind the block too. ``told`` is called with a message.

    Raises:
        TargetUnavailableError: not root, or no Jetson.
        DeviceError: the mode could not be set again; says how to do it by hand.
    """
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        raise TargetUnavailableError("power modes can be set by root only; run the command with sudo")
    before = current()
    told(f"power mode {before.name} now; it is set again at the end (by hand: nvpmodel -m {before.number})")
    handlers = _unwinding()
    try:
        yield before
    finally:
        _ignoring(handlers)
        try:
            if current() != before:
                set_mode(before)
                told(f"power mode {before.name} is set again")
        except (DeviceError, TargetUnavailableError) as error:
            raise DeviceError(
                f"the power mode {before.name} could not be set again: {error}; "
                f"run: nvpmodel -m {before.number}"
            ) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _unwinding() -> dict[int, Any]:
    """Let signals that would end the process raise instead; return what they did before."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in _SIGNALS}
    return {**before, signal.SIGINT: signal.getsignal(signal.SIGINT)}


def _ignoring(handlers: Mapping[int, Any]) -> None:
    """Let nothing end the process while the mode is set again."""
    for number in handlers:
        signal.signal(number, signal.SIG_IGN)


def _nvpmodel(*arguments: str) -> str:
    """Return what ``nvpmodel`` prints. It has no input, so a question of it is answered with no."""
    try:
        done = subprocess.run(
            [find_program("nvpmodel"), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            start_new_session=True,  # Ctrl-C in the terminal is for us, who then restore the mode
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"nvpmodel did not answer: {str(error)[:200]}") from error
    return done.stdout + done.stderr
