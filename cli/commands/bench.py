"""``fdikp-edge bench``: how long artifacts take, beside PyTorch eager in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...runtime.buckets.folders import shown_name
from ...runtime.errors import BadInputError, FdikpEdgeError, TargetUnavailableError
from .. import show
from ..artifacts import open_artifacts
from ..eager import eager_of, refuse_unused, torch_is_here
from ..engine import EngineOptions
from ..evidence import record
from ..groups import spread
from ..guard import complain
from ..options import ArtifactsArgument, JsonOption, ReferenceOptions, SaveOption, ThreadsOption
from ..signature import checks_signatures

if TYPE_CHECKING:
    from ...benchmarks.timing.loadgen import Scenario
    from ...export.reference import Reference
    from ...runtime.artifact import Artifact
    from ...runtime.sessions import Session


@checks_signatures
@spread
def bench(
    *,
    artifacts: ArtifactsArgument,
    runs: Annotated[int, typer.Option(metavar="N", min=3, max=1_000_000, help="Number of timed runs.")] = 100,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=86400, help="Time limit for timing.")
    ] = 60.0,
    warmup: Annotated[
        int, typer.Option(metavar="N", min=0, max=10_000, help="Warm-up runs before timing.")
    ] = 3,
    eager: Annotated[
        bool | None,
        typer.Option(
            "--eager/--no-eager", help="Also time PyTorch eager.", show_default="if it is installed"
        ),
    ] = None,
    network: ReferenceOptions,
    engine: EngineOptions,
    loadgen: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also measure with MLPerf's LoadGen, at least --runs queries and --seconds; logs go to DIR.",
            show_default="no",
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of LoadGen: SingleStream or Offline.", show_default="SingleStream"
        ),
    ] = None,
    threads: ThreadsOption = None,
    save: SaveOption = None,
    json: JsonOption = False,
) -> int:
    """Measure the latency of artifacts.

    Runs the golden input repeatedly. No sample is dropped. The result is added to the passport.
    """
    from ...benchmarks.timing import loadgen as driver
    from ...benchmarks.timing.machine import machine_info
    from ...runtime.evidence import latency_evidence
    from ...runtime.sessions import open_session

    with_eager = torch_is_here() if eager is None else eager
    if not with_eager:
        refuse_unused(network.given(), "" if eager is None else "--no-eager")
    chosen = _scenario(scenario, loadgen)
    opened = open_artifacts(artifacts)
    rows: list[dict[str, Any]] = []
    with show.working("warming up", slow=True) as step:
        for artifact in opened:
            with open_session(artifact, threads=threads, **engine.given()) as session:
                if session.caveat:
                    raise TargetUnavailableError(
                        f"{artifact.path}: runs here on the {session.caveat}, not on the target; not timed"
                    )
                reference = _eager(artifact, network, must=bool(eager)) if with_eager else None
                figures = _measure(session, reference, warmup, runs, seconds, step)
                row: dict[str, Any] = {
                    "path": str(artifact.path),
                    "session": session.describe(),
                    "latency_ms": figures,
                }
                if loadgen is not None:
                    step(0, 1, f"{shown_name(artifact.path)}: LoadGen")
                    logs = loadgen / shown_name(artifact.path)
                    row["loadgen"] = driver.measure_session(
                        session, logs, scenario=chosen, queries=runs, seconds=seconds
                    )
                rows.append(row)
    machine = machine_info()
    if json:
        show.as_json({"machine": machine, "artifacts": rows})
    else:
        _print(rows, machine)
    for artifact, row in zip(opened, rows, strict=True):
        record(artifact, latency_evidence(row["latency_ms"], where=machine, using=row["session"]), save)
    return 0


def _scenario(given: str | None, loadgen: Path | None) -> Scenario:
    """Return the scenario of LoadGen; what cannot be measured with it is refused before anything is timed.

    Raises:
        BadInputError: no such scenario, or one without LoadGen.
        TargetUnavailableError: LoadGen is asked for and not installed.
    """
    from ...benchmarks.timing.loadgen import SCENARIOS, library

    if loadgen is None:
        if given is not None:
            raise BadInputError(f"--scenario {given}: is of LoadGen; give --loadgen DIR too, or leave it out")
        return SCENARIOS[0]
    library()
    for known in SCENARIOS:
        if given in (None, known):
            return known
    raise BadInputError(f"--scenario {given}: there are: {', '.join(SCENARIOS)}")


def _eager(artifact: Artifact, network: ReferenceOptions, must: bool) -> Reference | None:
    try:
        return eager_of(artifact, network)
    except FdikpEdgeError as error:
        if must:
            raise
        complain(f"PyTorch is not timed: {error}", kind="note")
        return None


def _measure(
    session: Session, reference: Reference | None, warmup: int, runs: int, seconds: float, step: show.Step
) -> dict[str, Any]:
    """Return the figures of ``latency_ms``; ``eager_p50`` is there if PyTorch was timed by turns with it."""
    from ...benchmarks.timing.latency import measure_side_by_side, with_stability
    from ...benchmarks.timing.machine import Watch

    image, _ = session.artifact.golden()
    calls: dict[str, Callable[[], object]] = {"artifact": lambda: session.timed(image)}
    if reference is not None:
        import torch

        torch.set_num_threads(session.threads)
        calls["eager"] = lambda: reference(image)
    name = shown_name(session.artifact.path)
    watch = Watch()
    measured = measure_side_by_side(
        calls,
        warmup=warmup,
        min_samples=runs,
        max_seconds=seconds,
        progress=lambda done, total, _: step(done, total, name),
    )
    figures = with_stability(measured["artifact"], watch.stop())
    if "eager" in measured:
        figures["eager_p50"] = measured["eager"].to_dict()["p50"]
    return figures


def _print(rows: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    from ...benchmarks.timing.latency import has_tail, tail_note
    from ...benchmarks.timing.loadgen import line

    columns = (
        "artifact",
        "min#",
        "p50#",
        "p90#",
        "p99#",
        "max#",
        "runs#",
        "eager p50#",
        "vs eager#",
        "threads#",
    )
    cells = []
    for row in rows:
        took = row["latency_ms"]
        eager = took.get("eager_p50")
        cells.append(
            (
                shown_name(Path(row["path"])),
                *(f"{took[key]:.1f}" for key in ("min", "p50", "p90")),
                f"{took['p99']:.1f}" if has_tail(took) else "",
                f"{took['max']:.1f}",
                str(took["n"]),
                f"{eager:.1f}" if eager else "",
                ("" if took["stable"] else "~") + f"{eager / took['p50']:.2f}x" if eager else "",
                str(row["session"]["threads"]),
            )
        )
    show.table(f"Milliseconds per tile on {machine['cpu']}", columns, cells)
    for row in rows:
        if "loadgen" in row:
            show.line(f"{shown_name(Path(row['path']))}: LoadGen: {line(row['loadgen'])}")
    if note := tail_note(row["latency_ms"] for row in rows):
        show.line(note)
    for row in rows:
        if reasons := row["latency_ms"]["unstable_because"]:
            complain(
                f"{shown_name(Path(row['path']))}: unstable measurement: {'; '.join(reasons)}", kind="note"
            )
