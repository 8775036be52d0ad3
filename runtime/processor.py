"""What this machine's processor can compute, from what the system says about it."""

from __future__ import annotations

import contextlib
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
