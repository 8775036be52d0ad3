"""What a visitor of the page downloads: sizes as they are, with gzip and with Brotli."""

from __future__ import annotations

import gzip
import shutil
import subprocess

from .runtime_files import PROVIDERS

COMPRESSED = {"wasm": (3_712_000, 2_712_000), "webgpu": (6_646_000, 4_725_000)}
"""Bytes of the pinned runtime's files for a provider with gzip (level 9) and with Brotli (quality 9)."""
NAMES = {"wasm": "WebAssembly", "webgpu": "WebGPU"}
PATIENCE_S = 120

_BROTLI = """
const { brotliCompressSync, constants } = require("node:zlib");
const data = require("node:fs").readFileSync(0);
const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
console.log(brotliCompressSync(data, { params }).length);
"""


def download_note(model: bytes, runtime: dict[str, bytes]) -> str:
    """Say how much a visitor loads: the model, and the runtime for what the page may run on.

    Brotli figures of the model need Node.js, which comes with npm; without it they are left out.
    """
    compressed = [(len(gzip.compress(model)), "gzip")]
    if (brotli := brotli_size(model)) is not None:
        compressed.append((brotli, "Brotli"))
    parts = [_part("model", len(model), compressed)]
    for provider, names in PROVIDERS.items():
        if runtime.keys() >= set(names):
            size = sum(len(runtime[name]) for name in names)
            small = list(zip(COMPRESSED[provider], ("gzip", "Brotli"), strict=True))
            parts.append(_part(f"runtime for {NAMES[provider]}", size, small))
    return "download: " + "; ".join(parts)


def _part(what: str, size: int, compressed: list[tuple[int, str]]) -> str:
    return f"{what} {_mb(size)} (" + ", ".join(f"{_mb(s)} with {how}" for s, how in compressed) + ")"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def brotli_size(data: bytes) -> int | None:
    """Return the size of ``data`` with Brotli at quality 9; ``None`` without Node.js."""
    program = shutil.which("node")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-e", _BROTLI], input=data, capture_output=True, timeout=PATIENCE_S, check=True
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
