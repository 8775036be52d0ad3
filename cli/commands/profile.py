"""``fdikp-edge profile``: an artifact's latency on three clocks, with this machine's sensor readings."""

from __future__ import annotations

import functools
import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ...benchmarks.timing.protocol import SETTINGS, Protocol
from .. import show
from ..artifacts import open_artifacts
from ..engine import EngineOptions
from ..groups import spread
from ..guard import complain
from ..options import ArtifactsArgument, JsonOption, OverwriteOption, ThreadsOption
from ..signature import checks_signatures

_USUAL = Protocol()
_NO_NAMES: list[str] = []


def _setting(name: str, *, alias: bool = False) -> Any:
    """Return the option that sets a field of the protocol, or the hidden one with its former name."""
    known = SETTINGS[name]
    return typer.Option(
        f"--{known.former if alias else known.option}",
        hidden=alias,
        metavar=known.metavar,
        min=known.least,
        max=known.most,
        help=f"{known.help[0].upper()}{known.help[1:]}.",
        show_default=known.follows or True,
    )


def _tell(text: str) -> None:
    complain(text, kind="power mode")


@checks_signatures
@spread
def profile(
    *,
    artifacts: ArtifactsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Output JSON file.")] = Path(
        "profile.json"
    ),
    queries: Annotated[int, _setting("queries")] = _USUAL.queries,
    seconds: Annotated[float, _setting("seconds")] = _USUAL.seconds,
    max_seconds: Annotated[float | None, _setting("max_seconds")] = None,
    most_seconds: Annotated[float | None, _setting("max_seconds", alias=True)] = None,
    idle_seconds: Annotated[float | None, _setting("idle_seconds")] = None,
    soak_seconds: Annotated[float | None, _setting("soak_seconds")] = None,
    interval_s: Annotated[float, _setting("interval_s")] = _USUAL.interval_s,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Recorded tegrastats log to read instead of the sensors."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Also measure time per layer.")] = True,
    power_modes: Annotated[
        str | None,
        typer.Option(
            metavar="MODES",
            help="On a Jetson, as root: profile in each power mode (all, or names by comma), and set the one "
            "from before again.",
        ),
    ] = None,
    allow_fallback: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Accept operators in this place although it was not asked for. Repeatable.",
        ),
    ] = _NO_NAMES,
    engine: EngineOptions,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Profile artifacts on this machine.

    Runs at least 1024 queries and 60 seconds, one at a time, none dropped, after an idle period and a soak.
    Power, temperatures, clocks and throttling are read from tegrastats, jtop, NVML or sysfs; missing sensors
    are listed. A shorter run is marked as not conforming.
    """
    from ...benchmarks.device_profile import report, summary_lines
    from ...benchmarks.power_sweep import profile_all_modes
    from ...runtime.files import check_place, replacing
    from ...runtime.sessions import open_session

    check_place(out, overwrite=overwrite)
    limit = max_seconds if most_seconds is None else most_seconds
    # What was not asked for follows from the rest, so that a short run is short.
    times: dict[str, Any] = {
        "max_seconds": limit,
        "idle_seconds": idle_seconds,
        "soak_seconds": soak_seconds,
    }
    given = {name: value for name, value in times.items() if value is not None}
    protocol = Protocol(queries, seconds, interval_s=interval_s, **given)
    opened = open_artifacts(artifacts)
    with show.working("opening") as step:
        rows = [
            profile_all_modes(
                functools.partial(open_session, artifact, threads=threads, **engine.given()),
                power_modes,
                replay=replay,
                told=_tell,
                protocol=protocol,
                layers=layers,
                allow_fallback=allow_fallback,
                progress=step,
            )
            for artifact in opened
        ]
    asked: dict[str, object] = {
        **{setting.option: getattr(protocol, name) for name, setting in SETTINGS.items()},
        "replay": replay,
        "power-modes": power_modes,
        "threads": threads,
    }
    command = ["fdikp-edge", "profile", *map(str, artifacts), *([] if layers else ["--no-layers"])]
    command += [*engine.words(), *(f"--allow-fallback={name}" for name in allow_fallback)]
    command += [f"--{name}={value}" for name, value in asked.items() if value is not None]
    document = report(rows, opened, command)
    with replacing(out) as temporary:
        temporary.write_text(json_module.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    if json:
        show.as_json(document)
    else:
        for line in summary_lines(document):
            show.line(line)
        show.line(f"report: {out}")
    return 0 if all(row["state"] == "verified" for row in rows) else 1
