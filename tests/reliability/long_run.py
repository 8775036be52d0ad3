"""The long run: many inferences in two threads, sessions opened and closed, photos with bad ones among them.

    python tests/reliability/long_run.py

Results must be equal to the bit whichever thread computes them, and the process may not grow.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import seeds
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.batch import deblur_files
from fdikp_edge.runtime.sessions import open_session

MOST_GROWTH = 0.01
"""Of the resident memory after the warm-up."""


def resident_mb() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def growth_of(work: Callable[[int], None], times: int, warm_up: int) -> tuple[float, float]:
    """Do the work, and return the resident MB after the warm-up and at the end."""
    work(warm_up)
    before = resident_mb()
    work(times)
    return before, resident_mb()


def inferences(artifact: Artifact, count: int) -> str:
    """Run one session in two threads; return what there is to say.

    Raises:
        AssertionError: two results of one input differ.
    """
    rng = np.random.default_rng(0)
    (contract,) = artifact.passport.inputs
    inputs = [rng.random(contract.shape, dtype=np.float32) for _ in range(4)]
    with open_session(artifact, threads=1) as session, ThreadPoolExecutor(2) as pool:
        expected = [session.run(x) for x in inputs]

        def some(numbers: range) -> bool:
            return all(np.array_equal(session.run(inputs[n % 4]), expected[n % 4]) for n in numbers)

        def work(times: int) -> None:
            assert all(pool.map(some, (range(0, times, 2), range(1, times, 2)))), (
                "results differ between calls"
            )

        began = time.monotonic()
        before, after = growth_of(work, count, count // 10)
        seconds = time.monotonic() - began
    return _growth(f"{count} inferences in two threads, bit-equal", before, after, seconds)


def sessions(artifact: Artifact, count: int) -> str:
    """Open a session, run it once and close it, again and again."""
    (contract,) = artifact.passport.inputs
    x = np.full(contract.shape, 0.5, np.float32)

    def work(times: int) -> None:
        for _ in range(times):
            with open_session(artifact, threads=1) as session:
                session.run(x)

    began = time.monotonic()
    before, after = growth_of(work, count, count // 10)
    return _growth(f"{count} sessions opened and closed", before, after, time.monotonic() - began)


def _growth(what: str, before: float, after: float, seconds: float) -> str:
    growth = (after - before) / before
    verdict = "ok" if growth < MOST_GROWTH else "GROWS"
    return f"{what}: {before:.1f} to {after:.1f} MB ({growth:+.2%}), {seconds:.0f} s: {verdict}"


def album(artifact: Artifact, folder: Path, count: int, bad: int) -> str:
    """Run a folder of photos, some of them damaged: each good one is written, each bad one has its error."""
    from fdikp_edge.runtime.images import Photo, write_photo

    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "album" / f"{number:04}.png"
        write_photo(path, Photo(rng.integers(0, 256, (48, 56, 3), dtype=np.uint8)))
        if number % (count // bad) == 0:
            path.write_bytes(path.read_bytes()[:200])
    began = time.monotonic()
    results = deblur_files([folder / "album"], artifact, folder / "out")
    refused = [result.source.name for result in results if result.error is not None]
    written = sorted(path.name for path in (folder / "out").iterdir())
    right = len(refused) == bad and len(written) == count - bad and not set(refused) & set(written)
    seconds = time.monotonic() - began
    return (
        f"{count} photos, {bad} damaged: {len(written)} written, {len(refused)} refused, {seconds:.0f} s: "
        + ("ok" if right else "WRONG")
    )


def main() -> int:
    """Print a line for each part; exit 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inferences", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--photos", type=int, default=200)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="long") as name:
        folder = Path(name)
        for runtime, seed in (("ONNX Runtime", seeds.artifact), ("OpenVINO", seeds.openvino_artifact)):
            (folder / runtime).mkdir()
            artifact = Artifact.open(seed(folder / runtime))
            for line in (inferences(artifact, options.inferences), sessions(artifact, options.sessions)):
                lines.append(f"{runtime}: {line}")
                print(lines[-1], flush=True)
        lines.append(album(artifact, folder, options.photos, max(1, options.photos // 20)))
        print(lines[-1], flush=True)
    return 0 if all(line.endswith(": ok") for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
