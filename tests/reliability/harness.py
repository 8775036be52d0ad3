"""Run cases of damaged files in a child process that has limits on memory and time, and judge what it does.

    python tests/reliability/harness.py --cases 300
    python tests/reliability/harness.py --reader pth --first 17 --cases 1

A case must end in a typed error, or in what the file really says. It may not take more than a second or so
of the processor, nor much memory, write nothing beside its output folder, and not end the process. A process
that ends or hangs is replaced, and the case counts as that.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import readers as table

WALL_SECONDS = 120.0
"""Of one case on a busy machine, before its process is ended."""
ADDRESS_MB = 4096
"""What a process may map beyond what it had once its libraries were loaded."""
MAX_MESSAGE = 4000

FAULTS = ("traceback", "hang", "crash", "wrong", "memory", "stray", "long")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case came to: ``refused``, ``read``, or one of :data:`FAULTS`."""

    reader: str
    case: int
    kind: str
    detail: str = ""
    cpu_s: float = 0.0
    memory_mb: float = 0.0

    def __str__(self) -> str:
        return f"{self.reader}, case {self.case}: {self.kind}: {self.detail}"


class Worker:
    """A child process that runs cases; ended and started again where one of them hangs or crashes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, reader: str, first: int, cases: int) -> Iterator[Outcome]:
        """Run cases ``first`` and on; the number of a case is its seed."""
        number = first
        while number < first + cases:
            process = self.process or self._start()
            assert process.stdin is not None
            process.stdin.write(f"{json.dumps([reader, number, first + cases - number])}\n".encode())
            process.stdin.flush()
            while number < first + cases:
                line = self._line(process)
                if line is None:
                    kind = "hang" if process.poll() is None else "crash"
                    self._end()
                    yield Outcome(reader, number, kind, f"exit {process.returncode}")
                    number += 1
                    break
                yield Outcome(reader, number, **json.loads(line))
                number += 1

    def _start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "HOME": str(self.folder), "OMP_NUM_THREADS": "1"},
        )
        return self.process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """Return the next line; ``None`` where the process ended or took too long."""
        assert process.stdout is not None
        data = b""
        until = time.monotonic() + WALL_SECONDS
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            part = os.read(process.stdout.fileno(), 1) if ready else b""
            if not part:
                if ready:
                    process.wait()
                return None
            data += part
        return data

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self.process = None


def work(folder: Path) -> None:
    """The child process: read requests from stdin, write an outcome a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints
    known = table.readers()
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for request in sys.stdin:
        name, first, cases = json.loads(request)
        reader = known[name]
        seed = folder / "seeds" / name
        if not seed.exists():
            seed.mkdir(parents=True)
            try:
                reader.seed(seed)
            except BaseException:  # the next process makes it anew, rather than find nothing in it
                shutil.rmtree(seed)
                raise
            for path in seed.iterdir():  # what was needed to make it
                if path != (place := _seed_of(reader, seed)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        place = _seed_of(reader, seed)
        _warm_up(reader, place, folder)
        for number in range(first, first + cases):
            print(json.dumps(_case(reader, place, folder, number)), file=answers, flush=True)


def _seed_of(reader: table.Reader, folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name[0] in "xam" or path.name == "report.json")


def _warm_up(reader: table.Reader, seed: Path, folder: Path) -> None:
    """Read the right file, so that libraries are loaded, before the limit is set."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    place = folder / "warm"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    copy = _copied(seed, place)
    why = reader.judge(copy, reader.read(copy))
    if why:
        raise RuntimeError(f"{reader.name}: the right file: {why}")
    limit = (_status("VmSize") << 10) + (ADDRESS_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _case(reader: table.Reader, seed: Path, folder: Path, number: int) -> dict[str, Any]:
    from fdikp_edge.runtime.errors import FdikpEdgeError

    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    copy = _copied(seed, place)
    reader.make_case(copy, random.Random(f"{reader.name} {number}"))
    before = _listing(folder)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    held, began = _status("VmRSS"), time.process_time()
    kind, detail = "refused", ""
    result = None
    try:
        result = reader.read(copy)
        kind = "read"
    except FdikpEdgeError as error:
        detail = str(error)
        if len(detail) > MAX_MESSAGE + len(str(copy)):
            kind = "long"
    except Exception as error:
        kind, detail = "traceback", "".join(traceback.format_exception(error, limit=-6))[-1500:]
    except BaseException as error:  # what ends a process
        kind, detail = "traceback", repr(error)
    took = time.process_time() - began
    memory = (_status("VmHWM") - held) / 1024
    if kind == "read":
        try:
            if why := reader.judge(copy, result):
                kind, detail = "wrong", why
        except Exception as error:
            kind, detail = "wrong", "".join(traceback.format_exception(error, limit=-6))[-1500:]
    result = None
    if kind in ("read", "refused"):
        if took > reader.cpu_s:
            kind = "hang"
        elif memory > reader.memory_mb:
            kind = "memory"
        elif stray := sorted(_stray(_listing(folder) - before, reader)):
            kind, detail = "stray", str(stray)[:500]
    return {"kind": kind, "detail": detail[:2000], "cpu_s": round(took, 3), "memory_mb": round(memory, 1)}


def _stray(names: set[str], reader: table.Reader) -> set[str]:
    """Return what should not be there; where a command was told to write, what is half written only."""
    return {name for name in names if not reader.writes or "/case/" not in name or ".partial-" in name}


def _copied(seed: Path, place: Path) -> Path:
    copy = place / seed.name
    if seed.is_dir():
        shutil.copytree(seed, copy, symlinks=True)
    else:
        shutil.copyfile(seed, copy)
    return copy


def _listing(folder: Path) -> set[str]:
    """Return every file and folder but what may be written: the output folder and the seeds."""
    names: set[str] = set()
    for root, folders, files in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name != "seeds"]
        folders[:] = [name for name in folders if name not in ("output", ".cache")]
        names.update(os.path.join(root, name) for name in (*folders, *files))  # noqa: PTH118
    return names


def _status(field: str) -> int:
    """Return a field of /proc/self/status in kB; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def main() -> int:
    """Print a line for each reader and each fault; exit 1 where there was one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reader", action="append", help="only this reader; repeatable")
    parser.add_argument(
        "--cases", type=int, default=300, help="for each reader (default: 300); fewer where a case takes long"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--show", action="store_true", help="print every outcome")
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    total: Counter[str] = Counter()
    print("| reader | cases | refused | read right | " + " | ".join(FAULTS) + " | most CPU s | most MB |")
    print("|---|" + "---|" * (len(FAULTS) + 5))
    with tempfile.TemporaryDirectory(prefix="cases") as name, Worker(Path(name)) as worker:
        known = table.readers()
        for reader in options.reader or known:
            outcomes = []
            cases = max(1, round(options.cases * known[reader].share))
            for outcome in worker.run(reader, options.first, cases):
                outcomes.append(outcome)
                if options.show or outcome.kind in FAULTS:
                    print(outcome, file=sys.stderr, flush=True)
            counts = Counter(outcome.kind for outcome in outcomes)
            most = max(o.cpu_s for o in outcomes), max(o.memory_mb for o in outcomes)
            print(_row(reader, counts, *map(str, most)), flush=True)
            total += counts
    print(_row("all", total, "", ""))
    return 1 if total.keys() & {*FAULTS} else 0


def _row(title: str, counts: Counter[str], *most: str) -> str:
    columns = [counts.total(), counts["refused"], counts["read"], *(counts[kind] for kind in FAULTS)]
    return f"| {title} | " + " | ".join((*map(str, columns), *most)) + " |"


if __name__ == "__main__":
    sys.exit(main())
