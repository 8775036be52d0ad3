"""A folder of photos, some of them bad, killed with SIGKILL at half and resumed: nothing lost, nothing twice.

python tests/reliability/resume.py --photos 200 --bad 10 --jobs 2
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import small_bundle
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, read_manifest
from fdikp_edge.runtime.files import sha256_of
from fdikp_edge.runtime.images import Photo, write_photo

BAD = (b"", b"not a photo", b"\xff\xd8\xff nonsense", b"\x89PNG\r\n\x1a\n nonsense", b"GIF89a nonsense")
"""What is wrong with the bad ones, in turn."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``before``: results at the kill; the others after the resume, and what went wrong in words."""

    before: int
    results: int
    reasons: int
    summary: dict[str, int]
    faults: tuple[str, ...]


def make_album(folder: Path, photos: int, bad: int, side: int = 200) -> None:
    """Write ``photos`` files, of which ``bad``, spread evenly, are no photos."""
    rng = np.random.default_rng(0)
    wrong = {round((index + 0.5) * photos / bad) for index in range(bad)} if bad else set()
    folder.mkdir()
    for number in range(photos):
        path = folder / f"{number:05}.png"
        if number in wrong:
            path.write_bytes(BAD[number % len(BAD)])
        else:
            write_photo(path, Photo(pixels=rng.integers(0, 256, (side, side, 3), dtype=np.uint8)))


def killed_and_resumed(place: Path, photos: int, bad: int, jobs: int) -> Outcome:
    """Run a folder, kill the run when half of the photos have their line, run it again, and look."""
    make_album(place / "album", photos, bad)
    artifact = small_bundle.make(place / "artifact")
    words = [sys.executable, "-m", "fdikp_edge", "run", "album", "-a", str(artifact), "-o", "out"]
    words += ["--jobs", str(jobs), "--threads", "1", "--json"]
    manifest = place / "out" / MANIFEST_NAME
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 300
        while _lines(manifest) < photos // 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    faults = []
    if process.returncode != -signal.SIGKILL:
        faults.append(f"the first run ended by itself, with code {process.returncode}")
    whole = {record.output: record for record in read_manifest(manifest)}
    done = {
        name: (place / "out" / name).stat().st_mtime_ns for name in whole if (place / "out" / name).exists()
    }
    again = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=600, check=False)
    if again.returncode != (2 if bad else 0) or "Traceback" in again.stderr:
        faults.append(f"the second run: code {again.returncode}: {again.stderr[-1000:]}")
    records = list(read_manifest(manifest))
    twice = [name for name, count in Counter(record.output for record in records).items() if count > 1]
    if twice:
        faults.append(f"recorded twice: {twice}")
    touched = [name for name, time_ns in done.items() if (place / "out" / name).stat().st_mtime_ns != time_ns]
    if touched:
        faults.append(f"written twice: {touched}")
    files = {path.name for path in (place / "out").iterdir()} - {MANIFEST_NAME}
    good = {record.output: record.result for record in records if record.result is not None}
    if files != set(good):
        faults.append(f"results and their lines differ: {sorted(files ^ set(good))}")
    faults += [
        f"{name}: is not what its line says"
        for name, stamp in good.items()
        if name in files and sha256_of(place / "out" / name) != stamp.sha256
    ]
    reasons = [record for record in records if record.result is None and record.reason]
    summary = json.loads(again.stdout)["summary"]
    return Outcome(len(done), len(files), len(reasons), summary, tuple(faults))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> int:
    """Print what was left; exit 1 where something was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--bad", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="resume") as name:
        outcome = killed_and_resumed(Path(name), given.photos, given.bad, given.jobs)
    keys = ("photos", "done", "finished_before", "failed", "failed_before")
    print(f"results when killed: {outcome.before} of {given.photos}")
    print("second run: " + ", ".join(f"{key} {outcome.summary[key]}" for key in keys))
    print(f"in the end: {outcome.results} results, {outcome.reasons} reasons")
    print("\n".join(outcome.faults) or "nothing lost, nothing done twice")
    return bool(outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
