"""Every command on networks of many kinds: each does its work, or says why it means nothing there.

    python -m fdikp_edge.benchmarks.studies.commands --examples examples/networks
    python -m fdikp_edge.benchmarks.studies.commands --network "mine=--model net.py:Net --size 128x128"

Runs the commands as a user does, as programs of their own, in a folder for each network, and prints a table
of networks and commands. A cell is ``ok``, ``budget`` (exit 1: a figure missed its budget, which the
command says), ``told`` (exit 2 with one line that says why), ``TRACEBACK`` or ``TIMEOUT``. Below stand the
sentences, and the parity of every artifact. Exits with 1 after a traceback or a timeout.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...runtime import program
from ...runtime.samples import sample_photo
from .. import script

DEFAULT = {"tiny": ("--model", "tiny", "--size", "128x128")}
"""Name -> the options that name a network."""

TARGETS = ("onnx", "openvino", "coreml", "tensorrt-rtx")
SHORT = ("--threads", "1")
LIMIT_S = 900.0
"""Seconds that a command may take."""


@dataclass(frozen=True)
class Cell:
    """What a command did with a network: ``verdict``, exit status, seconds, and its last line."""

    command: str
    verdict: str
    status: int | None
    seconds: float
    line: str


@dataclass(frozen=True)
class Place:
    """A folder for one network: how it is named, and where the first artifacts of it lie."""

    folder: Path
    network: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """The options that name the network, without those that only ``deploy`` and ``export`` have."""
        words = list(self.network)
        while "--size" in words:
            at = words.index("--size")
            del words[at : at + 2]
        return tuple(words)

    def artifact(self, precision: str) -> str:
        """The artifact of a precision for the first target; a name that is not there if none was built."""
        target = self.targets[0].partition(":")[0]
        built = sorted(self.folder.glob(f"build/*-{target}-{precision}-*/passport.json"))
        return str(built[0].parent.relative_to(self.folder)) if built else f"build/no-{precision}-artifact"

    def sample(self) -> str:
        """What to run: the golden input of an artifact as arrays, or a photo if it takes one."""
        folder = self.folder / self.artifact("fp32")
        file = self.folder / "sample.npz"
        if not file.exists() and not _store_golden(folder, file):
            return str(sample_photo())
        return file.name


Command = Callable[[Place], tuple[str, ...]]

COMMANDS: dict[str, Command] = {
    "deploy": lambda at: (
        *("deploy", *at.network, *(word for name in at.targets for word in ("--target", name))),
        *("--precision", "all", "--runs", "10", "--seconds", "5", "--out", "build", *SHORT),
    ),
    "export": lambda at: ("export", *at.network, "--target", "onnx", "--out", "exported"),
    "calibrate": lambda at: ("calibrate", *at.network, "--target", "onnx", "--tiles", "6", *SHORT),
    "verify": lambda at: ("verify", at.artifact("fp32"), *at.named, *SHORT),
    "verify --golden": lambda at: ("verify", at.artifact("fp32"), "--golden", *SHORT),
    "bench": lambda at: ("bench", at.artifact("fp32"), *at.named, "--runs", "10", *SHORT),
    "bisect": lambda at: ("bisect", at.artifact("fp16"), *at.named, *SHORT),
    "run": lambda at: ("run", at.sample(), "--artifact", at.artifact("fp32"), *SHORT),
    "profile": lambda at: (
        *("profile", at.artifact("fp32"), "--queries", "10", "--seconds", "1", "--idle", "0.5"),
        *("--soak", "2", *SHORT),
    ),
    "bundle": lambda at: ("bundle", at.artifact("fp32")),
    "inspect": lambda at: ("inspect", at.artifact("fp32")),
    "inspect bundle": lambda at: ("inspect", "model.bundle"),
    "gate --update": lambda at: (
        *("gate", "build", "--baseline", "baseline.json", "--update", "--reason", "first"),
        *("--allow-failed",),
    ),
    "gate": lambda at: ("gate", "build", "--baseline", "baseline.json", "--no-latency", *SHORT),
    "report merge": lambda at: ("report", "merge", "build", "build", "--name", "one", "--name", "two"),
    "lower": lambda at: ("lower", at.named[1], "--out", "plain.onnx"),
}
"""Column of the table -> the command line, in the order in which they are run."""


def try_commands(
    networks: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    targets: Sequence[str] = TARGETS,
    commands: Mapping[str, Command] = COMMANDS,
    limit: float = LIMIT_S,
) -> dict[str, Any]:
    """Run commands on networks, each in a folder of its own below ``folder``.

    Returns:
        ``{"networks": {name: {"options", "cells": [fields of :class:`Cell`], "artifacts": [{"name", "state",
        "reason", "parity", "latency_ms"}]}}, "faults": [text]}``; a fault is a traceback, or a
        command that did not end.
    """
    results: dict[str, Any] = {}
    faults = []
    for name, options in networks.items():
        place = Place(folder / name, tuple(options), tuple(targets))
        place.folder.mkdir(parents=True)
        cells = []
        for column, words in commands.items():
            script.note(f"{name}: {column}")
            cell = _run(column, words(place), place.folder, limit)
            cells.append(cell)
            if cell.verdict in ("TRACEBACK", "TIMEOUT"):
                faults.append(f"{name}: {column}: {cell.verdict}: {cell.line}")
        results[name] = {
            "options": list(options),
            "cells": [asdict(cell) for cell in cells],
            "artifacts": _artifacts(place.folder / "build"),
        }
    return {"networks": results, "faults": faults}


def _run(column: str, words: Sequence[str], folder: Path, limit: float) -> Cell:
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fdikp_edge.cli", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return Cell(column, "TIMEOUT", None, limit, f"{shlex.join(words)} did not end in {limit:g} s")
    took = time.perf_counter() - began
    lines = done.stderr.strip().splitlines()
    told = next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")
    if "Traceback (most recent call last)" in done.stderr:
        verdict = "TRACEBACK"
    else:
        verdict = {0: "ok", 1: "budget", 2: "told"}.get(done.returncode, "TRACEBACK")
    return Cell(column, verdict, done.returncode, round(took, 1), told if verdict != "ok" else "")


def _store_golden(folder: Path, file: Path) -> bool:
    """Write an artifact's recorded inputs as ``.npz``; ``False`` if it takes photos, or is not there."""
    import numpy as np

    from ...runtime.artifact import Artifact
    from ...runtime.errors import FdikpEdgeError

    try:
        artifact = Artifact.open(folder)
        inputs = artifact.passport.inputs
        if len(inputs) == 1 and inputs[0].has_colors:
            return False
        np.savez(file, allow_pickle=False, **artifact.golden()[0])
    except FdikpEdgeError:
        return False
    return True


def _artifacts(build: Path) -> list[dict[str, Any]]:
    """Return name, state and parity of the rows of a deploy's report; none if it wrote no report."""
    report = build / "report.json"
    if not report.is_file():
        return []
    rows = json.loads(report.read_text(encoding="utf-8"))["artifacts"]
    return [
        {
            "name": row["path"] or f"{row['target']} {row['precision']}",
            **{key: row[key] for key in ("state", "reason", "parity", "latency_ms")},
        }
        for row in rows
    ]


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`try_commands` as Markdown."""
    networks = result["networks"]
    columns = [cell["command"] for cell in next(iter(networks.values()))["cells"]]
    lines = [
        _row("command", *networks),
        "|---" * (len(networks) + 1) + "|",
        *(
            _row(f"`{column}`", *(entry["cells"][at]["verdict"] for entry in networks.values()))
            for at, column in enumerate(columns)
        ),
        "",
    ]
    for name, entry in networks.items():
        lines += [
            f"- {name}, `{cell['command']}` ({cell['verdict']}, exit {cell['status']}): {cell['line']}"
            for cell in entry["cells"]
            if cell["verdict"] != "ok"
        ]
    lines += ["", "| artifact | state | parity | times eager |", "|---|---|---|---|"]
    for entry in networks.values():
        lines += [_row(row["name"], row["state"], _figure(row), _times(row)) for row in entry["artifacts"]]
    return "\n".join([*lines, "", *(result["faults"] or ["No traceback, and every command ended."])])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(row: Mapping[str, Any]) -> str:
    parity = row["parity"]
    if not parity:
        return str(row["reason"] or "")
    name = "SNR" if parity.get("measure") == "tensor" else "PSNR"
    return f"{name} {parity['psnr_db']:.1f} dB, largest difference {parity['max_abs']:.1e}"


def _times(row: Mapping[str, Any]) -> str:
    """How many times as fast as PyTorch eager, by medians."""
    latency = row["latency_ms"] or {}
    p50, eager = latency.get("p50"), latency.get("eager_p50")
    return f"{eager / p50:.2f}" if p50 and eager else ""


def _named(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, options = text.partition("=")
    if not equals or not name.replace("-", "").replace("_", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=OPTIONS, such as 'mine=--model net.py:Net'")
    return name, tuple(shlex.split(options))


def main() -> None:
    """Read the command line, run the commands and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.commands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", type=_named, action="append", default=[], metavar="NAME=OPTIONS")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="also each .py file in this folder")
    parser.add_argument("--size", default="64x64", help="of the examples whose size is open (64x64)")
    parser.add_argument("--target", action="append", help=f"for deploy (default: {', '.join(TARGETS)})")
    parser.add_argument("--command", action="append", choices=list(COMMANDS), help="default: all")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help=f"seconds for a command ({LIMIT_S:g})")
    parser.add_argument("--folder", type=Path, help="work here, and keep it (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    networks = dict(given.network)
    for file in sorted(given.examples.glob("*.py")) if given.examples else []:
        networks[file.stem] = ("--model", str(file.resolve()), "--size", given.size)
    commands = {name: COMMANDS[name] for name in given.command or COMMANDS}
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-commands-") as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        result = try_commands(
            networks or DEFAULT,
            folder,
            targets=given.target or TARGETS,
            commands=commands,
            limit=given.limit,
        )
    script.finish(result, given.json, show)
    if result["faults"]:
        raise SystemExit(1)


if __name__ == "__main__":
    program.run(main)
