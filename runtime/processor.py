"""What this machine's processor can compute and how much memory is free, from what the system says."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_fp16",
    "avx512_bf16",
    "amx_tile",
    "asimddp",
    "i8mm",
)
"""Instruction sets that decide how fast a network runs on a CPU, as Linux names them."""
_X86 = "sse2"
_ARM = "asimd"
_DOT_PRODUCT = ("avx512_vnni", "avx_vnni", "asimddp")


@lru_cache(maxsize=1)
def facts() -> dict[str, str]:
    """Return the first processor's fields of ``/proc/cpuinfo``, and ``Model`` of a board; Linux only."""
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
    with contextlib.suppress(OSError):  # boards name themselves here
        fields.setdefault("Model", Path("/proc/device-tree/model").read_text().rstrip("\0"))
    return fields


def flags() -> frozenset[str]:
    """Return the instruction sets that Linux lists for this processor; empty where it is unknown."""
    return frozenset(facts().get("flags", facts().get("Features", "")).split())


def has_dot_product() -> bool | None:
    """Return whether the processor has an 8-bit dot product: VNNI, or ``asimddp`` on ARM; ``None`` if
    unknown."""
    own = flags()
    if not own & {_X86, _ARM}:
        return None
    return not own.isdisjoint(_DOT_PRODUCT)


def saturates() -> bool:
    """Return whether 8-bit products overflow here: an x86 processor without VNNI.

    Its kernels add two products of an unsigned and a signed byte in 16 bits (``vpmaddubsw``), which clips
    the sum to 32767, where VNNI adds four in 32 bits. ARM adds in 32 bits with or without a dot product.
    ``False`` where the processor is unknown.
    """
    return _X86 in flags() and has_dot_product() is False


def available_memory() -> int | None:
    """Return the bytes that a process can still take without swapping; ``None`` where the system tells none.

    On Linux the smaller of what is free and what the control group allows; elsewhere all physical memory.
    """
    sizes = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                sizes.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError, KeyError):  # ValueError: the word "max", without a limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        counts = dict(line.split(maxsplit=1) for line in lines)
        cached = int(counts["inactive_file"]) + int(counts["active_file"])  # given back when asked for
        sizes.append(max(0, limit - used + cached))
    if not sizes and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(sizes, default=None)
