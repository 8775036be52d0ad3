"""Kill commands at random moments; what they leave must be whole or absent, and the next run must complete.

    python tests/reliability/kills.py --kills 200

A command runs once alone, which says how long it takes and what it leaves. Then it runs again and again in
new folders, and SIGINT, SIGTERM or SIGKILL comes at a moment drawn between its start and its end. After each,
what stands in the folder is opened with the product's own readers; the command runs again, and must leave
exactly what the first run left. That run says anew how long the command takes, on a machine that may be busy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import seeds
import small_bundle
import typed
from fdikp_edge.benchmarks.report.read import read_report
from fdikp_edge.calibration.table import read_table
from fdikp_edge.models.checkpoint import read_checkpoint
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, read_manifest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device.bundle import check_bundle
from fdikp_edge.runtime.images import Photo, read_photo, write_photo

SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
MOMENTS = (0.25, 0.95)
"""Of a command's time; before that Python has hardly begun."""
CODES = {signal.SIGINT: {0, 130, -2}, signal.SIGTERM: {0, 143, -15}, signal.SIGKILL: {0, -9}}

COLUMNS = {
    "kills": "kills",
    "interrupted": "before the end",
    "half": "half written",
    "litter": "litter after the rerun",
    "incomplete": "rerun incomplete",
    "traceback": "tracebacks",
    "code": "other exit codes",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that writes into ``OUT``."""

    words: tuple[str, ...]
    check: Callable[[Path], object]
    """Opens the folder or file that the command leaves; raises where it is half written."""
    share: int
    """Of 200 kills: fewer for what takes long."""
    module: str = "fdikp_edge"
    writes: bool = True
    """Whether it needs a place to write to."""

    def run(self, folder: Path) -> subprocess.Popen[str]:
        """Start it with ``folder`` as its working folder, ``OUT`` a name in it."""
        return subprocess.Popen(
            [sys.executable, "-m", self.module, *self.words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def files_of(folder: Path) -> list[str]:
    """Return every file in a folder by its relative name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def each(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a check of everything in a folder that is not a temporary file."""

    def check(out: Path) -> None:
        for path in out.iterdir() if out.is_dir() else ():
            if path.name == MANIFEST_NAME:
                list(read_manifest(path))
            elif not path.name.startswith(".partial-"):
                read(path)

    return check


def _deployed(path: Path) -> None:
    if path.suffix == ".json":
        read_report(path)
    elif (path / "passport.json").exists():
        Artifact.open(path)


def _trained(path: Path) -> None:
    if path.suffix == ".safetensors":
        read_checkpoint(path)
    elif path.suffix == ".png":
        read_photo(path)
    elif path.suffix == ".json":
        json.loads(path.read_text())


def _merged(path: Path) -> None:
    if path.suffix == ".json":
        read_report(path)
    elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError(f"{path} has no end")


def jobs(shared: Path) -> dict[str, Job]:
    """Make what the commands read below ``shared``, and return the commands by name."""
    artifact = small_bundle.make(shared / "small")
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
        write_photo(shared / "album" / f"{number}.png", Photo(pixels=pixels))
    album = str(shared / "album")
    for number in range(3):  # training reduces what it is given
        pixels = rng.integers(0, 256, (640, 640, 3), dtype=np.uint8)
        write_photo(shared / "large" / f"{number}.png", Photo(pixels=pixels))
    (shared / "net.py").write_text(typed.NET)
    (shared / "samples").mkdir()
    seeds.npy(shared / "samples")
    reports = [shared / name for name in ("one", "other")]
    for folder in reports:
        folder.mkdir()
        seeds.report(folder)
    network = ("--model", f"{shared / 'net.py'}:Net", "--input", "x=1x3x8x8", "--overwrite")
    samples = ("--samples", str(shared / "samples"))
    return {
        "run": Job(
            ("run", album, "--artifact", str(artifact), "--out", "OUT", "--overwrite"),
            each(read_photo),
            42,
        ),
        "bundle": Job(
            ("bundle", str(artifact), "--out", "OUT/a.bundle", "--overwrite"),
            each(check_bundle),
            42,
        ),
        "export": Job(("export", "--target", "onnx", *network, "--out", "OUT"), each(Artifact.open), 22),
        "deploy": Job(
            ("deploy", "--target", "onnx", "--precision", "fp32", *network, *samples, "--out", "OUT"),
            each(_deployed),
            20,
        ),
        "calibrate": Job(
            ("calibrate", *network, *samples, "--out", "OUT/t.json"),
            each(read_table),
            20,
        ),
        "training": Job(
            (
                *(
                    "--photos",
                    str(shared / "large"),
                    "--out",
                    "OUT",
                    "--steps",
                    "3",
                    "--batch",
                    "1",
                    "--device",
                    "cpu",
                ),
                *("--radius", "4", "--save-every", "1", "--validate-every", "3", "--threads", "1"),
            ),
            each(_trained),
            12,
            "fdikp_edge.models.training",
        ),
        "report": Job(
            ("report", "merge", *(str(path) for path in reports), "--out", "OUT", "--overwrite"),
            each(_merged),
            42,
        ),
    }


def torment(job: Job, kills: int, rng: random.Random, folder: Path) -> Counter[str]:
    """Kill a job at that many random moments and return counts of what happened.

    Returns:
        ``kills``, ``interrupted`` (the signal came before the end), and the faults: ``half``, ``litter``,
        ``incomplete`` (the next run failed or left other files), ``traceback``, ``code``. Each fault is also
        printed.
    """
    counts: Counter[str] = Counter()
    began = time.monotonic()
    output, code = _complete(job, folder / "whole")
    if code:
        raise RuntimeError(f"{' '.join(job.words)}: exit {code}: {output}")
    lengths = [time.monotonic() - began]
    expected = files_of(folder / "whole")
    for number in range(kills):
        place = folder / str(number)
        place.mkdir()
        chosen = SIGNALS[number % len(SIGNALS)]
        with job.run(place) as process:
            # The median, since a busy machine makes a few runs much longer than the others.
            time.sleep(statistics.median(lengths) * rng.uniform(*MOMENTS))
            process.send_signal(chosen)
            output, _ = process.communicate(timeout=120 + 10 * max(lengths))
        faults: dict[str, str] = {}
        if process.returncode not in CODES[chosen]:
            faults["code"] = f"exit {process.returncode} after {chosen.name}"
        if "Traceback" in output:
            faults["traceback"] = output[-2000:]
        try:
            job.check(place / "OUT")
        except Exception as error:
            faults["half"] = repr(error)
        began = time.monotonic()
        again, code = _complete(job, place)
        lengths = [*lengths[-8:], time.monotonic() - began]
        left = files_of(place)
        if any(".partial-" in name for name in left):
            faults["litter"] = f"{left}"
        elif code or left != expected:
            faults["incomplete"] = f"exit {code}, {left}: {again[-2000:]}"
        counts.update(["kills", *faults, *(["interrupted"] if process.returncode else [])])
        for kind, words in faults.items():
            print(f"{job.words[0]}, {chosen.name}, kill {number}: {kind}: {words}", file=sys.stderr)
        shutil.rmtree(place)
    return counts


def _complete(job: Job, place: Path) -> tuple[str, int]:
    place.mkdir(exist_ok=True)
    with job.run(place) as process:
        output, _ = process.communicate(timeout=600)
    return output, process.returncode


def _row(title: str, counts: Counter[str]) -> str:
    return f"| {title} | " + " | ".join(str(counts[key]) for key in COLUMNS) + " |"


def main() -> int:
    """Print one line for each command; exit 1 where a fault was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="over all commands (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", action="append", help="only this command; repeatable")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    print("| command | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        folder = Path(name)
        chosen = {key: job for key, job in jobs(folder).items() if not options.job or key in options.job}
        for key, job in chosen.items():
            (folder / key).mkdir()
            share = max(1, round(options.kills * job.share / sum(job.share for job in chosen.values())))
            counts = torment(job, share, random.Random(f"{options.seed} {key}"), folder / key)
            print(_row(key, counts), flush=True)
            total += counts
    print(_row("all", total))
    return 1 if total.keys() - {"kills", "interrupted"} else 0


if __name__ == "__main__":
    sys.exit(main())
