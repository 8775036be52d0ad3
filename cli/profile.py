"""``fdikp-edge profile``: an artifact's time by three clocks, with this machine's sensors beside it."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import ArtifactsArgument, JsonOption, OverwriteOption, ThreadsOption
from .parsing import check_threads


def profile(
    artifacts: ArtifactsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="The JSON to write.")] = Path(
        "profile.json"
    ),
    queries: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Least number of queries.")
    ] = 1024,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.05, max=86400, help="Least time they take together.")
    ] = 60.0,
    most_seconds: Annotated[
        float, typer.Option(metavar="S", min=0.05, max=86400, help="Stop then, whatever is missing.")
    ] = 1800.0,
    idle: Annotated[
        float, typer.Option(metavar="S", min=0, max=86400, help="Rest first, for the idle power.")
    ] = 10.0,
    soak: Annotated[
        float, typer.Option(metavar="S", min=0, max=86400, help="Most time to wait until steady.")
    ] = 180.0,
    interval: Annotated[
        float, typer.Option(metavar="S", min=0.05, max=60, help="Between two looks at the sensors.")
    ] = 0.5,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recording of tegrastats in place of sensors.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Times per layer too.")] = True,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Profile artifacts on this machine.

    One query after another, none left out, at least 1024 of them and 60 seconds, after resting and soaking.
    Power, temperatures, clocks and throttling come from tegrastats, jtop, NVML or sysfs, whichever is here;
    what is absent is named. A shorter run says that it does not conform.
    """
    from ..benchmarks.device_profile import profile as measure
    from ..benchmarks.device_profile import report, summary_lines
    from ..benchmarks.single_stream import Protocol
    from ..runtime.artifact import Artifact
    from ..runtime.files import check_place, replacing
    from ..runtime.sessions import open_session

    check_threads(threads)
    check_place(out, overwrite=overwrite)
    protocol = Protocol(queries, seconds, most_seconds, idle, soak, interval_s=interval)
    opened = [Artifact.open(path) for path in artifacts]
    rows = []
    with show.working("opening") as step:
        for artifact in opened:
            with open_session(artifact, threads=threads) as session:
                rows.append(measure(session, protocol=protocol, replay=replay, layers=layers, progress=step))
    asked: dict[str, object] = {
        "queries": queries,
        "seconds": seconds,
        "most-seconds": most_seconds,
        "idle": idle,
        "soak": soak,
        "interval": interval,
        "replay": replay,
        "threads": threads,
    }
    command = ["fdikp-edge", "profile", *map(str, artifacts), *([] if layers else ["--no-layers"])]
    command += [f"--{name}={value}" for name, value in asked.items() if value is not None]
    found = report(rows, opened, command)
    with replacing(out) as temporary:
        temporary.write_text(json_module.dumps(found, allow_nan=False) + "\n", encoding="utf-8")
    if json:
        show.as_json(found)
    else:
        for line in summary_lines(found):
            show.line(line)
        show.line(f"report: {out}")
    return 0 if all(row["state"] == "verified" for row in rows) else 1
