"""Writes an artifact's engine for this device as an artifact of its own, and the log where that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..artifact import Artifact, ArtifactWriter
from ..errors import ArtifactError, CheckFailedError, OutputError, TargetUnavailableError
from ..files import replacing
from ..onnx_nodes import onnx_nodes
from ..sessions.onnx_guard import check_external_data
from ..tensorrt.caches import read_cache, write_cache
from ..tensorrt.engines import ENGINE_FILE, FACTS_FILE, LOG_FILE, ONNX_FILE, EngineFacts
from .build import Settings, check_weak, warnings_in
from .build_log import BuildLog
from .missing import problems
from .process import Answer, Request, run_builder

TARGET = "tensorrt"
_TIMINGS, _LEARNT, _RAW_LOG = ".timings", ".learnt", ".log"
"""Files of the unfinished artifact that the two processes pass to each other."""


def build_artifact(
    source: Artifact, dest: Path, settings: Settings | None = None, *, overwrite: bool = False
) -> Artifact:
    """Build an artifact's ONNX file into an engine for this device, and write that as an artifact.

    The builder runs in a process of its own. The result keeps the golden input and output, and is
    ``unverified`` until ``verify`` has run. Where the builder fails, what it logged is in ``DEST.build.log``,
    unless ``settings`` name a file for all of it.

    Raises:
        TargetUnavailableError: TensorRT, its libraries, a driver or a GPU is missing; says each.
        ArtifactError: TensorRT refuses the file; names operator and module.
        CheckFailedError: the builder failed, for example because it ran out of memory, was killed or crashed.
        OutputError: ``dest`` exists or cannot be written.
    """
    settings = settings or Settings()
    if missing := problems():
        raise TargetUnavailableError("TensorRT engines cannot be built here: " + "; ".join(missing))
    check_external_data(source)
    check_weak(source, settings)
    onnx = source.read(source.passport.model_file, source.model_path.stat().st_size)
    with ArtifactWriter(dest, overwrite=overwrite) as writer:
        log = BuildLog()
        with _log_left(log, settings.log, dest):
            answer = _built(source, writer.folder, settings, log)
        facts = EngineFacts(
            "tensorrt", answer.version, (answer.capability,), "weak" if settings.weak else "strong"
        )
        (writer.folder / ONNX_FILE).write_bytes(onnx)
        (writer.folder / FACTS_FILE).write_bytes(facts.to_json())
        (writer.folder / LOG_FILE).write_text(log.text(), encoding="utf-8")
        for name in source.passport.golden_files:
            (writer.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (writer.folder / name).write_bytes(source.read(name, 1 << 31))
        notes = [*source.passport.notes, *warnings_in(log.entries(), onnx_nodes(onnx))[:50]]
        if answer.peak_mb is not None:
            notes.append(f"the builder held at most {answer.peak_mb:.0f} MB of memory")
        return writer.commit(
            source.passport.unmeasured(
                f"built on {answer.device}, not verified yet",
                target=TARGET,
                precision=settings.weak or source.passport.precision,
                model_file=ENGINE_FILE,
                toolchain={**source.passport.toolchain, "tensorrt (device)": answer.version},
                notes=notes,
            )
        )


def _built(source: Artifact, folder: Path, settings: Settings, log: BuildLog) -> Answer:
    """Have the engine built into ``folder``, with the timings known, and keep those that it learnt."""
    known = None if settings.timing_cache is None else read_cache(settings.timing_cache)
    passed = [folder / name for name in (_TIMINGS, _LEARNT, _RAW_LOG)]
    timings, learnt, raw_log = passed
    if known is not None:
        timings.write_bytes(known)
    try:
        request = Request(
            artifact=str(source.path.absolute()),
            engine=str(folder / ENGINE_FILE),
            learnt=str(learnt),
            log=str((settings.log or raw_log).absolute()),
            timings=None if known is None else str(timings),
            weak=settings.weak,
            workspace_mib=settings.workspace_mib,
        )
        answer = run_builder(request, log)
        if settings.timing_cache is not None and learnt.is_file():
            write_cache(settings.timing_cache, learnt.read_bytes())
    finally:
        for file in passed:
            file.unlink(missing_ok=True)
    return answer


@contextlib.contextmanager
def _log_left(log: BuildLog, file: Path | None, dest: Path) -> Iterator[None]:
    """Where a build fails, leave its log beside ``dest``, or in ``file`` where it is already; say where."""
    try:
        yield
    except (ArtifactError, CheckFailedError) as error:
        place = file or dest.with_name(f"{dest.name}.{LOG_FILE}")
        if file is None:
            try:
                with replacing(place) as temporary:
                    temporary.write_text(log.text(), encoding="utf-8")
            except OutputError:  # the disk is full, perhaps; the first problem is the one to tell
                raise error from error.__cause__
        raise type(error)(f"{error}; log: {place}") from error
