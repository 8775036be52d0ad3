"""How an artifact does on this device: three clocks, sensors beside them, energy, throttling, layers.

The result has the form of ``report.json``, with one more key, ``profile``, in each row, so that results from
devices and from a PC can be joined. What a device does not tell is named, never guessed.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runtime.artifact import Artifact
from ..runtime.buckets.folders import shown_name
from ..runtime.device.memory import peak_mb, restart_peak
from ..runtime.errors import TargetUnavailableError
from ..runtime.installed.bill import bill
from ..runtime.photo import Array
from ..runtime.progress import Progress
from ..runtime.sessions import Session
from .accuracy.parity import GOLDEN_ONLY, verify_golden
from .report.model import ReasonCode, Row
from .telemetry import Reading, Telemetry, find_sources, summary
from .telemetry.jetson import power_mode
from .telemetry.sysfs import SysfsSource
from .telemetry.tegrastats import read_recording
from .timing.latency import shown_percentiles
from .timing.layers import by_module, layer_times
from .timing.machine import machine_info
from .timing.modes import mode_lines
from .timing.placed import placement_of
from .timing.protocol import Protocol
from .timing.query import timed_query
from .timing.single_stream import CLOCKS, Run, measure, protocol_dict

DRIFT = 1.05
"""What :attr:`.timing.latency.Latency.drift` may be; above it a run is flagged to grow slower."""

DRIFT_QUERIES = 30
"""The fewest queries that a drift is seen in; among fewer it is chance."""

MAX_LAYERS = 4096


def profile(
    session: Session,
    *,
    protocol: Protocol | None = None,
    replay: Path | None = None,
    replay_interval_s: float = 1.0,
    layers: bool = True,
    allow_fallback: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure one artifact and return its row of a report.

    Args:
        session: the opened artifact; its golden input is the tile, again and again.
        protocol: how long; the conformant one when ``None``.
        replay: a recording of tegrastats to take power, temperatures and clocks from, instead of sensors.
        replay_interval_s: between two lines of it, where they carry no time.
        layers: also run with the runtime's own profiler: time of each layer, and where operators ran. An
            operator that ran in a place that was not asked for fails the row.
        allow_fallback: places that may be used although they were not asked for.
        progress: called with (queries so far, queries wanted, message).

    Raises:
        TargetUnavailableError: a stand-in runs the artifact, so its latency is not that of the target.
        ArtifactError: it carries no golden input.
        BadInputError: the recording cannot be read.
    """
    if session.caveat:
        raise TargetUnavailableError(
            f"{session.artifact.path}: runs here on the {session.caveat}, not on the target; not timed"
        )
    recording = None if replay is None else read_recording(replay, replay_interval_s)
    telemetry = Telemetry() if recording is not None else find_sources()
    inputs, _ = session.artifact.golden()
    restart_peak()
    parity = verify_golden(session)
    try:
        query = timed_query(session, inputs)
        run = measure(query, protocol or Protocol(), telemetry.read, progress=progress)
    finally:
        telemetry.stop()
    readings = run.readings if recording is None else recording
    state, reason = parity.verdict(GOLDEN_ONLY)
    reason_code: ReasonCode = "" if state == "verified" else "over_budget"
    places = placement_of(session, inputs, allow_fallback) if layers else {}
    if state == "verified" and (problems := (places.get("placement") or {}).get("problems")):
        state, reason, reason_code = "failed", "; ".join(problems), "fallback"
    row = Row(
        target=session.artifact.passport.target,
        precision=session.artifact.passport.precision,
        size=session.inputs[0].extent,
        state=state,
        reason=reason,
        reason_code=reason_code,
        path=shown_name(session.artifact.path),
        artifact=session.artifact,
        session=session.describe(),
        parity=parity,
        latency=run.latency("result"),
    )
    measured = {
        "protocol": protocol_dict(run),
        "clocks": clocks(run),
        "absent": _absent(run, telemetry, readings, recording is not None),
        "sources": [source.name for source in telemetry.sources]
        if replay is None
        else [f"replay of {replay.name}"],
        "live": recording is None,
        "settings": {**power_mode(), "governors": SysfsSource().governors()},
        **verdict(run, readings, live=recording is None),
        "queries": _queries(run, live=recording is None),
        "memory": memory_of(session),
        "readings": [reading.to_dict() for reading in readings],
        **(_layers(session, inputs) if layers else {}),
        **places,
    }
    return {**row.to_dict(), "profile": measured}


def memory_of(session: Session) -> dict[str, float | None]:
    """Return the most memory that this process held lately, and what the model takes on a device of its own.

    Both in 10^6 bytes, ``None`` where unknown. On a board whose GPU shares the memory both count.
    """
    peak = None
    with contextlib.suppress(TargetUnavailableError):
        peak = round(peak_mb(), 1)
    device = session.device_memory_bytes
    return {"peak_mb": peak, "device_mb": None if device is None else round(device / 1e6, 3)}


def report(
    rows: Sequence[dict[str, Any]], artifacts: Sequence[Artifact], command: Sequence[str]
) -> dict[str, Any]:
    """Return rows of :func:`profile` in the form of ``report.json``."""
    passports = [artifact.passport for artifact in artifacts]
    first = passports[0]
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {
        "version": importlib.metadata.version("fdikp-edge"),
        "created": created,
        "model": first.model,
        "model_details": {
            "name": first.model,
            "weights_sha256": first.weights_sha256,
            "program_sha256": first.program_sha256,
            "size": list(first.inputs[0].extent),
            "image_contract": first.contract,
            "notes": list(dict.fromkeys(note for passport in passports for note in passport.notes)),
        },
        "machine": machine_info(),
        "sbom": bill(created),
        "photo": "golden input",
        "command": list(command),
        "notes": [],
        "artifacts": list(rows),
    }


def summary_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a short text summary of a profile report."""
    for row in document["artifacts"]:
        profile = row["profile"]
        yield f"{row['path']}: {row['state']} on {row['session']['runtime']}, {row['session']['device']}"
        for name, took in profile["clocks"].items():
            if took is not None:
                figures = ", ".join(f"{key} {took[key]} ms" for key in shown_percentiles(took))
                yield f"  {name}: {figures}, {took['n']} queries"
        if modes := profile.get("power_modes"):
            yield from mode_lines(modes)
        if placed := profile.get("placement"):
            yield f"  placement: {placed['summary']}"
        yield f"  memory: {memory_line(profile['memory'])}"
        if profile["power"] is not None:
            total = profile["power"]["total"]
            yield f"  power: {total['mean_mw'] / 1000:.2f} W on {total['of']}"
        if profile["energy_per_frame_mj"] is not None:
            yield f"  energy: {profile['energy_per_frame_mj']['net']} mJ per frame above idle"
        for reason in profile["throttle"]["reasons"]:
            yield f"  throttled: {reason}"
        if profile["drift"]["flagged"]:
            yield f"  drift: latency grew by a factor of {profile['drift']['ratio']:.2f}"
        for problem in profile["protocol"]["problems"]:
            yield f"  does not conform: {problem}"
        yield "  not available: " + "; ".join(f"{name}: {why}" for name, why in profile["absent"].items())


def memory_line(memory: Mapping[str, float | None]) -> str:
    """Return what :func:`memory_of` says in words."""
    parts = []
    if memory["peak_mb"] is not None:
        parts.append(f"process at most {memory['peak_mb']:.0f} MB")
    if memory["device_mb"] is not None:
        parts.append(f"engine {memory['device_mb']:.1f} MB on the device, beside its weights")
    return ", ".join(parts) or "not available"


def clocks(run: Run) -> dict[str, Any]:
    """Return the figures of each clock, ``None`` for one that there is not, and what it measures."""
    latencies: dict[str, Any] = {}
    for name, meaning in CLOCKS.items():
        latency = run.latency(name)
        latencies[name] = None if latency is None else {**latency.to_dict(), "measures": meaning}
    return latencies


def verdict(run: Run, readings: Sequence[Reading], *, live: bool) -> dict[str, Any]:
    """Return what the readings say: power, temperatures, clocks, energy, drift, throttling.

    Energy is only given for readings of this very run, ``live``; power of a recording is of another.
    """
    limits = SysfsSource().limits_c() if live else {}
    reasons = summary.held_back(readings, limits)
    latency = run.latency("result")
    drift = None if latency is None else latency.drift
    power = summary.power(readings, run.idle if live else [])
    return {
        "power": power,
        "energy_per_frame_mj": _energy(power, run) if live else None,
        "temperature_c": summary.spans(readings, "temperature_c"),
        "temperature_limits_c": limits,
        "clock_mhz": summary.spans(readings, "clock_mhz"),
        "load_percent": summary.spans(readings, "load_percent"),
        # Without a clock, a temperature or a counter nobody can say that the machine did not hold back.
        "throttle": {"flagged": bool(reasons) if any(map(_tells, readings)) else None, "reasons": reasons},
        "drift": {
            "ratio": None if drift is None else round(drift, 4),
            "flagged": drift is not None and run.n >= DRIFT_QUERIES and drift > DRIFT,
        },
    }


def _tells(reading: Reading) -> bool:
    return bool(reading.clock_mhz or reading.throttle or reading.temperature_c)


def _energy(power: Mapping[str, Any] | None, run: Run) -> dict[str, Any] | None:
    """Return millijoules a frame: mean power over the run times its time, over its queries."""
    if power is None or not run.n:
        return None
    total, seconds = power["total"], run.seconds / run.n
    net = total["net_mw"]
    return {
        "gross": round(total["mean_mw"] * seconds, 3),
        "net": None if net is None else round(net * seconds, 3),
        "of": total["of"],
        "seconds_per_frame": round(seconds, 6),
    }


def _absent(run: Run, telemetry: Telemetry, readings: Sequence[Reading], replayed: bool) -> dict[str, str]:
    """Name everything that a full profile would have and this one lacks."""
    reasons = dict(telemetry.absent)
    if replayed:
        reasons["sensors"] = "not read: a recording is replayed"
    for source in telemetry.sources:
        if isinstance(source, SysfsSource) and source.notes:
            reasons[source.name] = "; ".join(source.notes)
    reasons.update(telemetry.missing(readings))
    for name in CLOCKS:
        if name not in run.times_ms:
            reasons[f"{name} clock"] = "this runtime provides no device events"
    if not replayed and not any(reading.power_mw for reading in run.idle):
        reasons["energy"] = "no power reading"
    elif replayed:
        reasons["energy"] = "the recorded power is not from this run"
    return reasons


def _queries(run: Run, *, live: bool) -> dict[str, list[Any]]:
    """Return every query: when, how long by each clock, and which reading was the last before its end."""
    columns: dict[str, list[Any]] = {"start_s": [round(start, 4) for start in run.start_s]}
    for clock, times in run.times_ms.items():
        columns[f"{clock}_ms"] = [round(value, 3) for value in times]
    if live:
        columns["reading"] = run.reading_of()
    return columns


def _layers(session: Session, inputs: Mapping[str, Array]) -> dict[str, Any]:
    try:
        layers = layer_times(session, inputs)
    except TargetUnavailableError as error:
        return {"layers": None, "modules_ms": None, "layers_absent": str(error)}
    return {
        "layers": [
            {"name": layer.name, "operator": layer.operator, "module": layer.module, "ms": round(layer.ms, 4)}
            for layer in layers[:MAX_LAYERS]
        ],
        "modules_ms": by_module(layers),
    }
