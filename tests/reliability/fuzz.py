"""Fuzz the readers that are written by hand, led by coverage; needs `atheris`, in an environment of its own.

    python3.11 -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris "fdikp-edge[coreml]" hypothesis
    /tmp/fuzz/bin/python tests/reliability/fuzz.py --seconds 180

One process for each reader. Python code of fdikp-edge, and of Pillow's plugins for PNG and TIFF, is
instrumented. Whatever is not a typed error, takes 10 s or 2 GB stops that reader, and the input is kept in
``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
INSTRUMENTED = ["fdikp_edge", "PIL.PngImagePlugin", "PIL.TiffImagePlugin", "PIL.ImageFile"]
TIMEOUT_S = 10
MEMORY_MB = 2048
LONGEST = 16_384

Read = Callable[[bytes], object]


def wire(_: Path) -> Read:
    """Fields of protobuf's wire format, nested two levels deep."""
    from fdikp_edge.runtime.errors import FdikpEdgeError
    from fdikp_edge.runtime.outside import protobuf

    def read(data: bytes) -> None:
        with contextlib.suppress(FdikpEdgeError, ValueError):
            for _number, kind, start, end in protobuf.fields(data, 0, len(data)):
                if kind == 0:
                    continue
                assert 0 <= start <= end <= len(data)
                if kind == 2:
                    with contextlib.suppress(FdikpEdgeError, ValueError):
                        list(protobuf.fields(data, start, end))

    return read


def mil(folder: Path) -> Read:
    """The model of an ``.mlpackage``, whose other files are right."""
    from fdikp_edge.runtime.errors import FdikpEdgeError
    from fdikp_edge.runtime.mil.package import Package

    place = folder / "seed" / "m.mlpackage"
    (model,) = place.rglob("*.mlmodel")

    def read(data: bytes) -> None:
        model.write_bytes(data)
        with contextlib.suppress(FdikpEdgeError):
            package = Package.open(place)
            try:
                for operation in package.program.operations:
                    for values in operation.inputs.values():
                        for value in values:
                            if not isinstance(value, str):
                                package.array(value)
            finally:
                package.close()

    return read


def _photo(suffix: str, repair: Callable[[bytes], bytes]) -> Callable[[Path], Read]:
    def prepare(folder: Path) -> Read:
        from fdikp_edge.runtime.errors import FdikpEdgeError
        from fdikp_edge.runtime.images import read_photo

        place = folder / f"x{suffix}"

        def read(data: bytes) -> None:
            place.write_bytes(repair(data))
            with contextlib.suppress(FdikpEdgeError):
                read_photo(place, max_pixels=1 << 20)

        return read

    return prepare


def _checksums(data: bytes) -> bytes:
    """Return a PNG with the checksum of each chunk right, so that what is behind them is reached."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        body = data[at + 4 : end]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at = end + 4
    return bytes(out + data[at:])


def strict(_: Path) -> Read:
    """Strict JSON, which may accept nothing that the standard library reads as something else."""
    from fdikp_edge.runtime import strict_json

    def read(data: bytes) -> None:
        try:
            value = strict_json.parse(data)
        except ValueError:
            return
        assert value == json.loads(data)
        assert strict_json.parse(strict_json.canonical(value)) == value

    return read


def passport(_: Path) -> Read:
    """A passport whose own digest is right."""
    from fdikp_edge.runtime import strict_json
    from fdikp_edge.runtime.errors import FdikpEdgeError
    from fdikp_edge.runtime.passport import Passport

    def read(data: bytes) -> None:
        with contextlib.suppress(ValueError, FdikpEdgeError):
            value = strict_json.parse(data)
            if isinstance(value, dict):
                value.pop("passport_sha256", None)
                data = json.dumps({**value, "passport_sha256": strict_json.digest(value)}).encode()
            Passport.from_json(data).to_json()

    return read


def tegrastats(folder: Path) -> Read:
    """A recording; every reading of it must be plain, finite JSON."""
    from fdikp_edge.benchmarks.telemetry.tegrastats import read_recording
    from fdikp_edge.runtime.errors import FdikpEdgeError

    place = folder / "x.log"

    def read(data: bytes) -> None:
        place.write_bytes(data)
        with contextlib.suppress(FdikpEdgeError):
            for reading in read_recording(place):
                json.dumps(reading.to_dict(), allow_nan=False)

    return read


def npy(_: Path) -> Read:
    """A NumPy file of any shape."""
    import io

    from fdikp_edge.runtime.outside.npy import read_npy

    def read(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            array = read_npy(io.BytesIO(data), len(data))
            assert array.nbytes <= len(data)

    return read


READERS: dict[str, tuple[Callable[[Path], Read], str]] = {
    "wire format": (wire, "package"),
    "MIL package": (mil, "package"),
    "PNG": (_photo(".png", _checksums), ".png"),
    "TIFF": (_photo(".tif", lambda data: data), ".tif"),
    "strict JSON": (strict, "passport"),
    "passport": (passport, "passport"),
    "tegrastats": (tegrastats, "recording"),
    "npy": (npy, "npy"),
}


def seed(kind: str, folder: Path) -> None:
    """Put right files of a kind into ``folder/corpus``; a package stays in ``folder/seed`` too."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import seeds

    corpus, source = folder / "corpus", folder / "seed"
    corpus.mkdir(parents=True)
    source.mkdir()
    if kind == "package":
        (model,) = seeds.package(source).rglob("*.mlmodel")
        (corpus / "0").write_bytes(model.read_bytes())
    elif kind == "passport":
        for number, make in enumerate((seeds.artifact, seeds.old_artifact)):
            place = source / str(number)
            place.mkdir()
            (corpus / str(number)).write_bytes((make(place) / "passport.json").read_bytes())
    elif kind.startswith("."):
        from PIL import Image

        images = [
            seeds.photo(kind, bits)(source) for bits in (8, 16) if not (source / f"x{kind}").unlink(True)
        ]
        for number, image in enumerate(images):
            (corpus / str(number)).write_bytes(image.read_bytes())
        options = {"compression": "tiff_lzw"} if kind == ".tif" else {}
        for mode in ("P", "LA", "L", "1"):
            Image.new(mode, (9, 7)).save(corpus / f"{mode}{kind}", **options)
    else:
        (corpus / "0").write_bytes(getattr(seeds, kind)(source).read_bytes())


def work(name: str, folder: Path, seconds: float) -> None:
    """The child: fuzz one reader until time is over, or it fails."""
    import atheris

    prepare, _ = READERS[name]
    with atheris.instrument_imports(include=INSTRUMENTED):
        read = prepare(folder)
        for file in sorted((folder / "corpus").iterdir()):  # what is imported late is imported now
            read(file.read_bytes())

    def once(data: bytes) -> None:
        read(data)

    options = [
        f"-max_total_time={seconds:.0f}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LONGEST}", "-print_final_stats=1", f"-artifact_prefix={folder}/fault-", "-seed=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], once)
    atheris.Fuzz()


def summary(name: str, output: str, code: int, faults: list[Path]) -> str:
    """Return a row of the table in docs/reliability.md."""
    figures: dict[str, Any] = dict(re.findall(r"stat::(\w+):\s+(\d+)", output))
    covered = re.findall(r"\bcov: (\d+)", output)
    runs = int(figures.get("number_of_executed_units", 0))
    edges = covered[-1] if covered else "not measured"
    memory = figures.get("peak_rss_mb", "?")
    return f"| {name} | {runs} | {edges} | {memory} | {len(faults) or (1 if code else 0)} |"


def main() -> int:
    """Print a row for each reader; exit 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0, help="for each reader (default: 180)")
    parser.add_argument("--reader", action="append", choices=READERS, help="only this one; repeatable")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"), help="where faults are kept")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seed-of", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], Path(given.worker[1]), given.seconds)
        return 0
    if given.seed_of:
        seed(given.seed_of[0], Path(given.seed_of[1]))
        return 0
    failed = 0
    print("| reader | cases | edges | most MB | faults |\n|---|---|---|---|---|")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz") as scratch:
        for number, name in enumerate(given.reader or READERS):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            program = [sys.executable, __file__]
            subprocess.run(
                [*program, "--seed-of", READERS[name][1], str(folder)], check=True, capture_output=True
            )
            done = subprocess.run(
                [*program, "--worker", name, str(folder), "--seconds", str(given.seconds)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            faults = sorted(folder.glob("fault-*"))
            for file in faults:
                (given.out / f"{name.replace(' ', '-')}-{file.name}").write_bytes(file.read_bytes())
            print(summary(name, done.stdout, done.returncode, faults), flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout[-3000:], file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
