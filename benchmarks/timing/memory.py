"""How much memory deblurring a large photo takes: the peak of a process that does nothing else.

    python -m fdikp_edge.benchmarks.timing.memory ARTIFACT --megapixels 24

A photo of that size is made up and written to disk; then a fresh process reads, deblurs and writes it, and
says what it held at most. Without ARTIFACT, the smallest variant is built for ONNX Runtime first.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.device.memory import peak_mb
from ...runtime.errors import CheckFailedError
from ...runtime.photo import Photo
from .. import script


def measure_memory(
    artifact: Path, megapixels: float, folder: Path, threads: int | None = None
) -> dict[str, Any]:
    """Deblur a made-up photo of ``megapixels`` in another process.

    Args:
        artifact: folder of an artifact this machine can run.
        megapixels: size of the photo, 3:2.
        folder: an existing folder for the photo and its result.
        threads: of the runtime; all that may be used when ``None``.

    Returns:
        ``{"height", "width", "tiles", "seconds", "started_mb", "opened_mb", "peak_mb"}``: resident megabytes
        (10^6 bytes) of the process after its imports, at most until the model was open, and at most in all.

    Raises:
        CheckFailedError: the process failed; quotes the last line of what it said.
        TargetUnavailableError: this system does not tell a process its peak.
    """
    from ...runtime.images import write_photo

    source = folder / "photo.png"
    write_photo(source, made_up_photo(megapixels))
    command = [
        sys.executable,
        "-m",
        "fdikp_edge.benchmarks.timing.memory",
        "--child",
        str(source),
        str(artifact),
    ]
    if threads is not None:
        command += ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise CheckFailedError(f"the deblurring process failed: {lines[-1] if lines else done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def made_up_photo(megapixels: float) -> Photo:
    """Return an 8-bit photo of gradients, edges and grain, 3:2, the same for a size every time."""
    height = max(2, round(math.sqrt(megapixels * 1e6 / 1.5)))
    width = max(2, round(height * 1.5))
    pixels = np.empty((height, width, 3), np.uint8)
    generator = np.random.default_rng(0)
    across = np.linspace(0, 1, width, dtype=np.float32)
    for y in range(height):
        light = 90 + 80 * across + 40 * np.sign(np.sin(40 * across + y / 97))
        grain = generator.integers(-8, 9, (width, 3))
        pixels[y] = np.clip(light[:, None] * (0.9, 1.0, 1.1) + grain, 0, 255)
    return Photo(pixels)


def _child(source: Path, artifact: Path, threads: int | None) -> dict[str, Any]:
    from ...runtime.deblur import Deblurrer
    from ...runtime.images import read_photo, write_photo
    from ...runtime.sessions import open_session

    started = peak_mb()
    with open_session(artifact, threads=threads) as session:
        opened = peak_mb()
        began = time.perf_counter()
        photo = read_photo(source)
        deblurrer = Deblurrer(session)
        write_photo(source.with_name("deblurred.png"), deblurrer.photo(photo))
        return {
            "height": photo.height,
            "width": photo.width,
            "tiles": deblurrer.grid(photo.height, photo.width).tiles,
            "seconds": round(time.perf_counter() - began, 2),
            "started_mb": round(started, 1),
            "opened_mb": round(opened, 1),
            "peak_mb": round(peak_mb(), 1),
        }


def show(result: dict[str, Any]) -> str:
    """Return a result as text."""
    size = result["height"] * result["width"]
    return "\n".join(
        (
            f"{result['width']}x{result['height']} ({size / 1e6:.1f} megapixels) in {result['tiles']} tiles, "
            f"{result['seconds']:.1f} s, {result['artifact']}",
            f"peak resident memory {result['peak_mb']:.0f} MB "
            f"(after imports {result['started_mb']:.0f} MB, model open {result['opened_mb']:.0f} MB)",
        )
    )


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.timing.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artifact", nargs="?", type=Path, help="artifact folder (default: tiny, built now)")
    parser.add_argument("--megapixels", type=float, default=24.0, help="size of the photo (default: 24)")
    parser.add_argument("--threads", type=int, help="of the runtime (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        program.put(json.dumps(_child(given.child, given.artifact, given.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        artifact = given.artifact or script.tiny_artifact(Path(folder))
        script.note(f"deblurring {given.megapixels:g} megapixels")
        result = measure_memory(artifact, given.megapixels, Path(folder), given.threads)
    script.finish({**result, "artifact": artifact.name}, given.json, show)


if __name__ == "__main__":
    program.run(main)
