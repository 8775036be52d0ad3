"""The commands of ``python model.bundle``: call, print, and say whether all is well."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..benchmarks.accuracy.parity import GOLDEN_ONLY, Parity, verify_golden
from ..benchmarks.device_profile import memory_line, memory_of, profile, report, summary_lines
from ..benchmarks.timing import loadgen
from ..benchmarks.timing.latency import measure, shown_percentiles
from ..benchmarks.timing.machine import machine_info
from ..benchmarks.timing.protocol import SETTINGS, Protocol
from ..runtime.artifact import Artifact
from ..runtime.deblur import Deblurrer
from ..runtime.device import trtexec
from ..runtime.device.before_after import before_after
from ..runtime.device.build import Settings
from ..runtime.device.bundle import Bundle
from ..runtime.device.engine_artifact import TARGET, build_artifact
from ..runtime.device.engine_folders import at_precisions, built_engines, engine_folder, what_runs
from ..runtime.device.memory import restart_peak
from ..runtime.device.missing import problems
from ..runtime.errors import FdikpEdgeError, TargetUnavailableError
from ..runtime.evidence import parity_evidence
from ..runtime.files import check_place, replacing
from ..runtime.images import read_photo, write_photo
from ..runtime.program import put
from ..runtime.progress import Progress
from ..runtime.sessions import Session, open_session
from ..runtime.strict_json import printable

Options = argparse.Namespace

ENGINE_OPTIONS = ("cuda_graph", "waiting", "mapped")
"""Options of a command that only an engine's session takes, by the names that it has for them."""


def info(bundle: Bundle, options: Options) -> bool:
    """Show what is in the bundle and what this machine can do with it."""
    artifacts = bundle.artifacts()
    rows: list[dict[str, Any]] = [
        {
            "name": artifact.path.name,
            "precision": artifact.passport.precision,
            "size": list(artifact.passport.inputs[0].extent),
            "engines": _engine_states(artifact, _engines(bundle, options)),
        }
        for artifact in artifacts
    ]
    missing = problems()
    facts = {"made_with": bundle.manifest["made_with"], "artifacts": rows, "missing_for_build": missing}
    if options.json:
        _json(facts)
        return True
    for row in rows:
        states = ", ".join(f"{state} ({name})" for name, state in row["engines"].items()) or "not built"
        _line(f"{row['name']}: {row['precision']}, {'x'.join(map(str, row['size']))}, engine: {states}")
    _line(
        "TensorRT engines can be built here"
        if not missing
        else "TensorRT engines cannot be built here: " + "; ".join(missing)
    )
    return True


def build(bundle: Bundle, options: Options) -> bool:
    """Build an engine from each artifact, or print the trtexec commands."""
    # Flags choose types only where the file leaves them open.
    artifacts = bundle.artifacts(options.artifact, ["fp32"] if options.weak else options.precision)
    out = _engines(bundle, options)
    if options.trtexec:
        for line in trtexec.for_versions(artifacts, out, weak=options.weak):
            _line(line)
        return True
    if options.log is not None:
        check_place(options.log, overwrite=False)
    settings = Settings(
        weak=options.weak,
        workspace_mib=options.workspace,
        timing_cache=out / "timing.cache",
        log=options.log,
    )
    engines = []
    for artifact in artifacts:
        _say(f"building {artifact.path.name}")
        folder = engine_folder(out, artifact, options.weak)
        engines.append(build_artifact(artifact, folder, settings, overwrite=options.overwrite))
        if not options.json:
            _line(f"{folder.name}: {folder}")
    # Only now does this process take memory on the GPU, which a builder may need all of.
    rows = [
        {
            "name": built.path.name,
            "path": str(built.path),
            "notes": built.passport.notes,
            "picture": _picture(bundle, built, options),
        }
        for built in engines
    ]
    if options.json:
        _json({"engines": rows})
    return True


def verify(bundle: Bundle, options: Options) -> bool:
    """Check each artifact, or its engine, against the golden output."""
    rows = []
    for artifact in _runs(bundle, options):
        with _session(artifact, options) as session:
            parity = verify_golden(session)
            state, reason = parity.verdict(GOLDEN_ONLY)
            rows.append(
                {
                    "path": session.artifact.path.name,
                    "target": session.artifact.passport.target,
                    "precision": session.artifact.passport.precision,
                    "state": state,
                    "reason": reason,
                    "session": session.describe(),
                    "parity": parity.to_dict(),
                }
            )
            if session.artifact.path.parent == _engines(bundle, options):
                session.artifact.record(
                    parity_evidence(
                        parity.to_dict(), state, reason, where=machine_info(), using=session.describe()
                    )
                )
            if not options.json:
                figures = figures_of(parity)
                _line(f"{artifact.path.name}: {state} on {_runs_on(session)}: {figures} ({reason})")
    if options.json:
        _json({"machine": machine_info(), "artifacts": rows})
    return all(row["state"] == "verified" for row in rows)


def figures_of(parity: Parity) -> str:
    """Return the two main figures in words; those of a tensor are relative to its largest magnitude."""
    distance, ratio = ("max rel", "SNR") if parity.measure == "tensor" else ("max abs", "PSNR")
    return f"{distance} {parity.max_abs:.2e}, {ratio} {parity.psnr_db:.1f} dB"


def bench(bundle: Bundle, options: Options) -> bool:
    """Time each artifact, or its engine."""
    rows = []
    for artifact in _runs(bundle, options):
        restart_peak()
        with _session(artifact, options) as session:
            inputs, _ = session.artifact.golden()

            def call(session: Session = session, inputs: Any = inputs) -> object:
                return session.run(inputs)

            took = measure(call, min_samples=options.samples, max_seconds=options.seconds).to_dict()
            memory = memory_of(session)
            row: dict[str, Any] = {
                "path": artifact.path.name,
                "session": session.describe(),
                "latency_ms": took,
            }
            if options.loadgen is not None:
                row["loadgen"] = loadgen.measure(
                    call,
                    options.loadgen / artifact.path.name,
                    scenario=options.scenario,
                    queries=options.samples,
                    seconds=options.seconds,
                )
            rows.append({**row, "memory": memory})
            if not options.json:
                figures = ", ".join(f"{key} {took[key]} ms" for key in shown_percentiles(took))
                _line(f"{artifact.path.name}: {figures}, {took['n']} runs on {_runs_on(session)}")
                _line(f"  memory: {memory_line(memory)}")
                if "loadgen" in row:
                    _line(f"  LoadGen: {loadgen.line(row['loadgen'])}")
    if options.json:
        _json({"machine": machine_info(), "artifacts": rows})
    return True


def profile_all(bundle: Bundle, options: Options) -> bool:
    """Profile each artifact, or its engine, and write one report."""
    artifacts = _runs(bundle, options)
    check_place(options.out, overwrite=options.overwrite)
    rows, used = [], []
    for artifact in artifacts:
        with _session(artifact, options) as session:
            rows.append(
                profile(
                    session,
                    protocol=protocol_of(options),
                    replay=options.replay,
                    layers=not options.no_layers,
                    progress=_progress(artifact.path.name),
                )
            )
            used.append(session.artifact)
    document = report(rows, used, [Path(sys.argv[0]).name, *sys.argv[1:]])
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    if options.json:
        _json(document)
    else:
        for line in summary_lines(document):
            _line(line)
        _line(f"report: {options.out}")
    return all(row["state"] == "verified" for row in rows)


def deblur(bundle: Bundle, options: Options) -> bool:
    """Deblur a photo with the first artifact asked for."""
    artifact = _runs(bundle, options)[0]
    check_place(options.out, overwrite=options.overwrite)
    photo = bundle.photo() if options.photo is None else read_photo(options.photo)
    with _session(artifact, options) as session:
        write_photo(options.out, Deblurrer(session).photo(photo))
        where = _runs_on(session)
    facts = {"out": str(options.out), "artifact": artifact.path.name, "runs_on": where}
    _json(facts) if options.json else _line(f"{options.out}: {photo.width}x{photo.height}, {where}")
    return True


def protocol_of(options: Options) -> Protocol:
    """Return the protocol that a command line asks for."""
    return Protocol(**{name: getattr(options, name) for name in SETTINGS})


COMMANDS: dict[str, Callable[[Bundle, Options], bool]] = {
    "info": info,
    "build": build,
    "verify": verify,
    "bench": bench,
    "profile": profile_all,
    "deblur": deblur,
}


def _runs(bundle: Bundle, options: Options) -> list[Artifact]:
    """Return what a command runs: the engines that were built, or the artifact where none was."""
    engines = _engines(bundle, options)
    artifacts = bundle.artifacts(options.artifact)
    runs = [run for artifact in artifacts for run in what_runs(engines, artifact)]
    return at_precisions(runs, options.precision)


@contextlib.contextmanager
def _session(artifact: Artifact, options: Options) -> Iterator[Session]:
    """Open an engine, or an artifact of the bundle in ONNX Runtime."""
    is_engine = artifact.passport.target == TARGET
    asked = {name: value for name in ENGINE_OPTIONS if (value := getattr(options, name, None)) is not None}
    try:
        session = open_session(artifact, threads=options.threads, **asked)
    except TargetUnavailableError as error:
        if is_engine:
            raise
        missing = "; ".join([str(error), "no engine was built yet", *problems()])
        raise TargetUnavailableError(f"{artifact.path.name}: cannot be run here: {missing}") from error
    with session:
        yield session


def _picture(bundle: Bundle, built: Artifact, options: Options) -> str | None:
    """Write the bundle's photo before and after a new engine beside that; ``None`` for other networks, or
    where the engine cannot be run."""
    if not built.passport.maps_pictures:
        return None
    file = built.path.with_name(f"{built.path.name}.before-after.png")
    try:
        with _session(built, options) as session:
            write_photo(file, before_after(session, bundle.photo()))
    except FdikpEdgeError as error:  # the engine is built; verify says what is wrong with it
        _say(f"{built.path.name}: no picture before and after: {error}")
        return None
    if not options.json:
        _line(f"{built.path.name}: before and after: {file}")
    return str(file)


def _engines(bundle: Bundle, options: Options) -> Path:
    chosen: Path | None = getattr(options, "engines", None)
    return chosen.absolute() if chosen else bundle.path.with_name(f"{bundle.path.stem}-engines")


def _engine_states(artifact: Artifact, engines: Path) -> dict[str, str]:
    states: dict[str, str] = {}
    for folder in built_engines(engines, artifact):
        try:
            states[folder.name] = Artifact.open(folder).passport.state
        except FdikpEdgeError as error:
            states[folder.name] = f"unusable: {error}"
    return states


def _runs_on(session: Session) -> str:
    facts = session.describe()
    return f"{facts['runtime']} {facts['version']} ({facts['device']})"


def _progress(name: str) -> Progress:
    last = ""

    def show(done: int, total: int, now: str) -> None:
        nonlocal last
        if now != last:
            last = now
            _say(f"{name}: {now}")

    return show


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _line(text: str) -> None:
    put(printable(text))


def _json(value: Mapping[str, Any]) -> None:
    put(json.dumps(value, indent=2, allow_nan=False))
