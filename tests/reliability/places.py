"""Run commands where something is missing: room, rights, a home, memory, a reader of their output.

    python tests/reliability/places.py

The commands of kills.py, and others, run at each place. Each must end with a message or with its result, and
never with a traceback; what stands in its folder is whole, and after a failed run nothing is left there.
Places that need `mount` are skipped, with the reason, where this process may not mount.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import kills
import typed
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME
from fdikp_edge.runtime.sessions.onnx_guard import external_locations
from fdikp_edge.runtime.trust import keys

SECONDS = 600
GOOD = frozenset({0})
REFUSED = frozenset({2})
EITHER = GOOD | REFUSED
UNFIT = frozenset({"training"})
"""Writes as it goes: what a failed run leaves is whole, and the next run continues it."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where and how a command runs."""

    codes: frozenset[int]
    shell: str = 'exec "$@"'
    """What runs the command, which is ``"$@"``."""
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """What is set, or with ``None`` unset."""
    mounted: str = ""
    """Options of a tmpfs for the folder that the command writes to; empty for an ordinary folder."""
    scratch: str = ""
    """The same of a folder that ``env`` names as ``SCRATCH``."""
    keeps: bool = False
    """Whether a command that fails may leave its whole result: what it prints is lost, or another ran."""
    says: str = ""
    """Part of the message where the command is refused."""


PLACES: dict[str, Place] = {
    "nothing missing": Place(GOOD),
    "full disk": Place(REFUSED, mounted="size=16k", says="the disk is full"),
    "read-only folder": Place(REFUSED, mounted="ro", says="read-only"),
    "no room in TMPDIR": Place(EITHER, env={"TMPDIR": "SCRATCH"}, scratch="size=4k"),
    "TMPDIR that does not exist": Place(GOOD, env={"TMPDIR": "/nowhere"}),
    "no HOME": Place(GOOD, env={"HOME": None, "XDG_CACHE_HOME": None}),
    "HOME that does not exist": Place(GOOD, env={"HOME": "/nowhere"}),
    "read-only HOME": Place(GOOD, env={"HOME": "SCRATCH"}, scratch="ro"),
    "LANG=C": Place(GOOD, env={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "closed stdout": Place(GOOD, 'exec "$@" >&-'),
    "closed stdin, stdout and stderr": Place(GOOD, 'exec "$@" <&- >&- 2>&-'),
    "| head -1": Place(GOOD, 'set -o pipefail; "$@" | head -1'),
    "| true": Place(GOOD, 'set -o pipefail; "$@" | true'),
    "full stdout": Place(EITHER, 'exec "$@" >/dev/full', keeps=True),
    "ulimit -v 1.5 GB": Place(EITHER, 'ulimit -v 1500000; exec "$@"'),
    "ulimit -f 0": Place(REFUSED, 'ulimit -f 0; exec "$@"'),
    "twice at once": Place(
        EITHER,
        keeps=True,
        shell='"$@" & one=$!; "$@"; two=$?; wait $one; one=$?; exit $((one > two ? two : one))',
    ),
}
QUICK = ("full disk", "read-only folder", "no HOME", "closed stdout", "| head -1", "twice at once")


def may_mount() -> str:
    """Return why a tmpfs cannot be mounted here; empty where it can."""
    if shutil.which("mount") is None or not hasattr(os, "geteuid"):
        return "there is no mount here"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mount(Path(folder), "size=4k"):
                return ""
        except subprocess.CalledProcessError as error:
            return f"may not mount a tmpfs: {error.stderr.strip()}"


@contextlib.contextmanager
def mount(folder: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs on a folder for the block; ``ro`` as the options makes an empty read-only one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def attempt(job: kills.Job, place: Place, folder: Path) -> tuple[int, str]:
    """Run a job at a place, in ``folder``; return its exit code and what it printed."""
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, value in place.env.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value.replace("SCRATCH", str(scratch))
    with contextlib.ExitStack() as mounts:
        if place.scratch:
            mounts.enter_context(mount(scratch, place.scratch))
        command = [sys.executable, "-m", job.module, *job.words]
        done = subprocess.run(
            ["bash", "-c", place.shell, "bash", *command],
            cwd=folder, env=env, timeout=SECONDS, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return done.returncode, done.stdout


def more_jobs(shared: Path) -> dict[str, kills.Job]:
    """Make what other commands read below ``shared``, and return those commands by name.

    Those that write into the artifact that they read are not at the place: only their surroundings are bad.
    """
    shared.mkdir()
    arena = typed.arena(shared)
    keys.make_keys(arena / "team.key")
    network = ("--model", f"{arena / 'net.py'}:Net", "--input", "x=1x3x8x8")
    samples = ("--samples", str(arena / "samples"))
    artifact, built = str(arena / "art"), str(arena / "net")
    recording = ("--replay", str(arena / "x.log"), "--queries", "4", "--seconds", "0.1", "--threads", "1")
    lower = ("lower", str(arena / "x.onnx"), "--out", "OUT/y.onnx", "--overwrite")
    keygen = ("keygen", "--out", "OUT/team.key")
    reading = {
        "inspect": ("inspect", artifact, "--json"),
        "verify": ("verify", built, *network, *samples),
        "bench": ("bench", artifact, "--no-eager", "--runs", "10", "--threads", "1"),
        "profile": ("profile", artifact, *recording),
        "bisect": ("bisect", built, *network, *samples),
        "sign": ("sign", artifact, "--key", str(arena / "team.key")),
        "doctor": ("doctor",),
    }
    return {
        "lower": kills.Job(lower, kills.each(external_locations), 0),
        "keygen": kills.Job(keygen, kills.each(_key), 0, writes=False),  # little enough for a full disk
        **{name: kills.Job(words, kills.files_of, 0, writes=False) for name, words in reading.items()},
    }


def _key(path: Path) -> None:
    keys.read_public(path) if path.suffix == ".pub" else keys.read_private(path)


def judge(key: str, job: kills.Job, place: Place, folder: Path) -> tuple[int, list[str]]:
    """Run a job at a place and return its exit code, and what is wrong with how it ended."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as mounts:
        if place.mounted:
            mounts.enter_context(mount(folder, place.mounted))
        code, output = attempt(job, place, folder)
        faults = []
        if code not in (place.codes if job.writes else place.codes | GOOD):
            faults.append(f"exit {code}: {output[-800:]}")
        if "Traceback" in output or "Exception ignored" in output:
            faults.append(output[-2000:])
        if code and place.says and place.says not in output:
            faults.append(f"does not say {place.says!r}: {output[-500:]}")
        try:
            job.check(folder / "OUT")
        except Exception as error:
            faults.append(f"half written: {error!r}")
        # A folder run keeps its record, which says why each photo failed.
        left = [name for name in kills.files_of(folder) if not name.endswith(f"/{MANIFEST_NAME}")]
        if any(".partial-" in name for name in left) or (
            code and left and not place.keeps and key not in UNFIT
        ):
            faults.append(f"leaves {left}")
        return code, faults


def main() -> int:
    """Print a line for each place; exit 1 where a fault was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--job", action="append", help="only this command; repeatable")
    parser.add_argument("--place", action="append", choices=PLACES, help="only this place; repeatable")
    parser.add_argument("--show", action="store_true", help="say which commands were refused")
    options = parser.parse_args()
    failed = 0
    reason = may_mount()
    print("| place | commands | ended with the result | refused with a message | faults |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="places") as name:
        jobs = kills.jobs(Path(name) / "shared") | more_jobs(Path(name) / "more")
        jobs = {key: job for key, job in jobs.items() if not options.job or key in options.job}
        for title in options.place or PLACES:
            place = PLACES[title]
            if reason and (place.mounted or place.scratch):
                print(f"| {title} | skipped: {reason} | | | |", flush=True)
                continue
            faults, refused = {}, []
            for key, job in jobs.items():
                folder = Path(name) / f"{random.randrange(1 << 30):x}" / "work"
                code, wrong = judge(key, job, place, folder)
                shutil.rmtree(folder.parent)
                if wrong:
                    faults[key] = wrong
                elif code:
                    refused.append(key)
            failed += bool(faults)
            columns = (len(jobs), len(jobs) - len(refused) - len(faults), len(refused), len(faults))
            print(f"| {title.replace('|', chr(92) + '|')} | {' | '.join(map(str, columns))} |", flush=True)
            if options.show:
                print(f"  refused: {', '.join(refused)}", file=sys.stderr, flush=True)
            for key, wrong in faults.items():
                print(f"  {key}: " + "\n  ".join(wrong), file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
