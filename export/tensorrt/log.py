"""What a TensorRT builder said: kept within bounds, without this machine's paths, its warnings explained."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from ...runtime.strict_json import printable

KEPT_BYTES = 96 * 1024
"""How much of the start and of the end of a log is kept."""

_EXPLAINED = {
    "layernorm nodes in FP16": "layers that overflow or lose too much precision in float16 on photos stay "
    "in float32; this one does not",
    "Running layernorm after self-attention": "as above",
}
"""Part of a warning -> why it is expected. Other warnings go into the artifact's notes as they are."""

# Polygraphy's own remarks on what it would like to have installed, and where it found what it has.
_NOISE = re.compile(rb"'colored' module|Loaded Module")
_DIARY, _CONTINUED = b"[X]", b"    "
"""Begins what only a compiler's author reads, and each further line of a remark. The list of layers is one
(:mod:`.layer_report` reads it)."""
_MEMORY = re.compile(r"bad_alloc|out of memory|OutOfMemory|cannot allocate memory", re.IGNORECASE)
_WARNINGS = 5


def condensed(log: Path, replace: Mapping[str, str]) -> str:
    """Return a log's text without the compiler's diary, the middle left out where it is long.

    ``replace``: path -> what to write in its place.
    """
    first: list[bytes] = []
    last: deque[bytes] = deque()
    size = held = left_out = 0
    diary = False
    with log.open("rb") as stream:
        for line in stream:
            diary = line.startswith(_DIARY) or (diary and line.startswith(_CONTINUED))
            if diary or _NOISE.search(line):
                continue
            size += len(line)
            if size <= KEPT_BYTES:
                first.append(line)
                continue
            last.append(line[-KEPT_BYTES:])
            held += len(last[-1])
            while held > KEPT_BYTES:
                held -= len(last[0])
                left_out += len(last.popleft())
    note = [b"[... %d bytes left out ...]\n" % left_out] if left_out else []
    text = printable(b"".join([*first, *note, *last]).decode("utf-8", errors="replace"))
    for path, name in replace.items():
        text = text.replace(path, name)
    return text


def warnings_in(log: str, title: str) -> list[str]:
    """Return a note for each different warning, with why it is expected where that is known."""
    warnings = list(dict.fromkeys(line[3:].strip() for line in log.splitlines() if line.startswith("[W]")))
    notes = []
    for line in warnings[:_WARNINGS]:
        known = next((why for part, why in _EXPLAINED.items() if part in line), "")
        notes.append(f"{title} warns: {line[:300]}" + (f" (expected: {known})" if known else ""))
    if len(warnings) > _WARNINGS:
        notes.append(f"{title} warns {len(warnings) - _WARNINGS} times more; see build.log")
    return notes


def cause(log: str, problem: str, returncode: int) -> str:
    """Return why a builder failed: its error messages, or else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("[E]")][:3] or ([] if problem else lines[-1:])
    return (
        "; ".join(filter(None, dict.fromkeys([*errors, problem])))
        or f"the builder exited with code {returncode}"
    )


def out_of_memory(returncode: int, log: str, problem: str) -> bool:
    """Whether a builder failed because it ran out of memory: killed by the system, or by its own message."""
    return returncode in (-9, 137) or bool(_MEMORY.search(problem)) or bool(_MEMORY.search(log))
