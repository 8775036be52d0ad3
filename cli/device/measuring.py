"""``verify``, ``bench`` and ``profile`` of a bundle."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

from ...benchmarks.accuracy.parity import GOLDEN_ONLY, Parity, verify_golden
from ...benchmarks.device_profile import memory_line, memory_of, report, summary_lines
from ...benchmarks.power_sweep import profile_all_modes
from ...benchmarks.timing import loadgen
from ...benchmarks.timing.latency import measure, shown_percentiles
from ...benchmarks.timing.machine import machine_info
from ...benchmarks.timing.protocol import SETTINGS, Protocol
from ...runtime.device.bundle import Bundle
from ...runtime.device.memory import restart_peak
from ...runtime.evidence import parity_evidence
from ...runtime.files import check_place, replacing
from ...runtime.sessions import Session
from .common import (
    Options,
    chosen_runs,
    engines_folder,
    opened_session,
    print_json,
    print_line,
    progress_of,
    runs_on,
    say,
)


def verify(bundle: Bundle, options: Options) -> bool:
    """Check each artifact, or its engine, against the golden output."""
    rows = []
    for artifact in chosen_runs(bundle, options):
        with opened_session(artifact, options) as session:
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
            if session.artifact.path.parent == engines_folder(bundle, options):
                session.artifact.record(
                    parity_evidence(
                        parity.to_dict(), state, reason, where=machine_info(), using=session.describe()
                    )
                )
            if not options.json:
                figures = figures_of(parity)
                print_line(f"{artifact.path.name}: {state} on {runs_on(session)}: {figures} ({reason})")
    if options.json:
        print_json({"machine": machine_info(), "artifacts": rows})
    return all(row["state"] == "verified" for row in rows)


def figures_of(parity: Parity) -> str:
    """Return the two main figures in words; those of a tensor are relative to its largest magnitude."""
    distance, ratio = ("max rel", "SNR") if parity.measure == "tensor" else ("max abs", "PSNR")
    return f"{distance} {parity.max_abs:.2e}, {ratio} {parity.psnr_db:.1f} dB"


def bench(bundle: Bundle, options: Options) -> bool:
    """Time each artifact, or its engine."""
    if options.loadgen is not None:
        loadgen.library()  # before a minute of measuring
    rows = []
    for artifact in chosen_runs(bundle, options):
        restart_peak()
        with opened_session(artifact, options) as session:
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
                row["loadgen"] = loadgen.measure_session(
                    session,
                    options.loadgen / artifact.path.name,
                    scenario=options.scenario,
                    queries=options.samples,
                    seconds=options.seconds,
                )
            rows.append({**row, "memory": memory})
            if not options.json:
                figures = ", ".join(f"{key} {took[key]} ms" for key in shown_percentiles(took))
                print_line(f"{artifact.path.name}: {figures}, {took['n']} runs on {runs_on(session)}")
                print_line(f"  memory: {memory_line(memory)}")
                if "loadgen" in row:
                    print_line(f"  LoadGen: {loadgen.line(row['loadgen'])}")
    if options.json:
        print_json({"machine": machine_info(), "artifacts": rows})
    return True


def profile_all(bundle: Bundle, options: Options) -> bool:
    """Profile each artifact, or its engine, and write one report."""
    artifacts = chosen_runs(bundle, options)
    check_place(options.out, overwrite=options.overwrite)
    rows = [
        profile_all_modes(
            functools.partial(opened_session, artifact, options),
            options.power_modes,
            replay=options.replay,
            told=say,
            protocol=protocol_of(options),
            layers=not options.no_layers,
            allow_fallback=options.allow_fallback,
            progress=progress_of(artifact.path.name),
        )
        for artifact in artifacts
    ]
    document = report(rows, artifacts, [Path(sys.argv[0]).name, *sys.argv[1:]])
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    if options.json:
        print_json(document)
    else:
        for line in summary_lines(document):
            print_line(line)
        print_line(f"report: {options.out}")
    return all(row["state"] == "verified" for row in rows)


def protocol_of(options: Options) -> Protocol:
    """Return the protocol that a command line asks for."""
    return Protocol(**{name: getattr(options, name) for name in SETTINGS})
