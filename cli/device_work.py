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
from ..benchmarks.device_profile import profile, report, summary_lines
from ..benchmarks.timing.latency import measure, shown_percentiles
from ..benchmarks.timing.machine import machine_info
from ..benchmarks.timing.protocol import SETTINGS, Protocol
from ..runtime.artifact import Artifact
from ..runtime.deblur import Deblurrer
from ..runtime.device import trtexec
from ..runtime.device.build import Settings, build_artifact
from ..runtime.device.bundle import Bundle
from ..runtime.device.missing import problems
from ..runtime.errors import ArtifactError, FdikpEdgeError, TargetUnavailableError
from ..runtime.evidence import parity_evidence
from ..runtime.files import check_place, replacing
from ..runtime.images import read_photo, write_photo
from ..runtime.program import put
from ..runtime.progress import Progress
from ..runtime.sessions import Session, open_session
from ..runtime.strict_json import printable

Options = argparse.Namespace


def info(bundle: Bundle, options: Options) -> bool:
    """Show what is in the bundle and what this machine can do with it."""
    artifacts = bundle.artifacts()
    rows = [
        {
            "name": artifact.path.name,
            "precision": artifact.passport.precision,
            "size": list(artifact.passport.inputs[0].extent),
            "engine": _engine_state(artifact, _engines(bundle, options)),
        }
        for artifact in artifacts
    ]
    missing = problems()
    facts = {"made_with": bundle.manifest["made_with"], "artifacts": rows, "missing_for_build": missing}
    if options.json:
        _json(facts)
        return True
    for row in rows:
        _line(
            f"{row['name']}: {row['precision']}, {'x'.join(map(str, row['size']))}, engine: {row['engine']}"
        )
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
    rows = []
    for artifact in artifacts:
        _say(f"building {artifact.path.name}")
        built = build_artifact(artifact, out / artifact.path.name, settings, overwrite=options.overwrite)
        rows.append({"name": artifact.path.name, "path": str(built.path), "notes": built.passport.notes})
        if not options.json:
            _line(f"{artifact.path.name}: {built.path}")
    if options.json:
        _json({"engines": rows})
    return True


def verify(bundle: Bundle, options: Options) -> bool:
    """Check each artifact, or its engine, against the golden output."""
    rows = []
    for artifact in bundle.artifacts(options.artifact, options.precision):
        with _session(bundle, artifact, options) as session:
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
    for artifact in bundle.artifacts(options.artifact, options.precision):
        with _session(bundle, artifact, options) as session:
            inputs, _ = session.artifact.golden()

            def call(session: Session = session, inputs: Any = inputs) -> object:
                return session.run(inputs)

            took = measure(call, min_samples=options.samples, max_seconds=options.seconds).to_dict()
            rows.append({"path": artifact.path.name, "session": session.describe(), "latency_ms": took})
            if not options.json:
                figures = ", ".join(f"{key} {took[key]} ms" for key in shown_percentiles(took))
                _line(f"{artifact.path.name}: {figures}, {took['n']} runs on {_runs_on(session)}")
    if options.json:
        _json({"machine": machine_info(), "artifacts": rows})
    return True


def profile_all(bundle: Bundle, options: Options) -> bool:
    """Profile each artifact, or its engine, and write one report."""
    artifacts = bundle.artifacts(options.artifact, options.precision)
    check_place(options.out, overwrite=options.overwrite)
    rows, used = [], []
    for artifact in artifacts:
        with _session(bundle, artifact, options) as session:
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
    artifact = bundle.artifacts(options.artifact, options.precision)[0]
    check_place(options.out, overwrite=options.overwrite)
    photo = bundle.photo() if options.photo is None else read_photo(options.photo)
    with _session(bundle, artifact, options) as session:
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


@contextlib.contextmanager
def _session(bundle: Bundle, artifact: Artifact, options: Options) -> Iterator[Session]:
    """Open the engine that was built from an artifact, or the artifact itself in ONNX Runtime."""
    engine = _engines(bundle, options) / artifact.path.name
    source = artifact
    if engine.is_dir():
        source = Artifact.open(engine)
        if source.passport.program_sha256 != artifact.passport.program_sha256:
            raise ArtifactError(f"{engine}: was built from another bundle; rebuild it with --overwrite")
    try:
        session = open_session(source, threads=options.threads)
    except TargetUnavailableError as error:
        if source is not artifact:
            raise
        missing = "; ".join([str(error), "no engine was built yet", *problems()])
        raise TargetUnavailableError(f"{artifact.path.name}: cannot be run here: {missing}") from error
    with session:
        yield session


def _engines(bundle: Bundle, options: Options) -> Path:
    chosen: Path | None = getattr(options, "engines", None)
    return chosen.absolute() if chosen else bundle.path.with_name(f"{bundle.path.stem}-engines")


def _engine_state(artifact: Artifact, engines: Path) -> str:
    folder = engines / artifact.path.name
    if not folder.exists():
        return "not built"
    try:
        return Artifact.open(folder).passport.state
    except FdikpEdgeError as error:
        return f"unusable: {error}"


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
