"""Where a figure was measured: without that it says nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from ..runtime.sessions import available_threads

#: Instruction sets that decide how fast a network runs on a CPU.
_FLAGS = (
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
_PACKAGES = ("fdikp-edge", "torch", "onnx", "onnxruntime", "openvino", "numpy")


def machine_info() -> dict[str, Any]:
    """Return what a reader needs to know of this machine, as plain JSON values.

    Keys: ``cpu``, ``instructions`` (those that matter of the ones it has), ``threads`` (that this process may
    use), ``memory_gb``, ``virtual``, ``os``, ``python``, ``versions``, and ``load`` (the average of the last
    minute, in busy processors, ``None`` where the system does not tell).
    """
    facts = _cpuinfo()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "cpu": facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "threads": available_threads(),
        "memory_gb": _memory_gb(),
        "virtual": "hypervisor" in flags,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "load": load(),
    }


def load() -> float | None:
    """Return the load average of the last minute, or ``None`` where the system does not tell."""
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _cpuinfo() -> dict[str, str]:
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                facts.setdefault(key.strip(), value.strip())
    with contextlib.suppress(OSError):  # boards name themselves here
        facts.setdefault("Model", Path("/proc/device-tree/model").read_text().rstrip("\0"))
    return facts


def _memory_gb() -> float | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return None
