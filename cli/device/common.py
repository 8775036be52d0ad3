"""What the commands of a bundle share: what they run, and how they print."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...runtime.artifact import Artifact
from ...runtime.device.bundle import Bundle
from ...runtime.device.engine_artifact import TARGET
from ...runtime.device.engine_folders import at_precisions, what_runs
from ...runtime.device.missing import problems
from ...runtime.errors import TargetUnavailableError
from ...runtime.program import put
from ...runtime.progress import Progress
from ...runtime.sessions import Session, open_session
from ...runtime.strict_json import printable

Options = argparse.Namespace

ENGINE_OPTIONS = ("cuda_graph", "waiting", "mapped")
"""Options of a command that only an engine's session takes, by the names that it has for them."""


def chosen_runs(bundle: Bundle, options: Options) -> list[Artifact]:
    """Return what a command runs: the engines that were built, or the artifact where none was."""
    engines = engines_folder(bundle, options)
    artifacts = bundle.artifacts(options.artifact)
    runs = [run for artifact in artifacts for run in what_runs(engines, artifact)]
    return at_precisions(runs, options.precision)


@contextlib.contextmanager
def opened_session(artifact: Artifact, options: Options) -> Iterator[Session]:
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


def engines_folder(bundle: Bundle, options: Options) -> Path:
    """Return the folder of a bundle's engines: the one asked for, or that beside the bundle."""
    chosen: Path | None = getattr(options, "engines", None)
    return chosen.absolute() if chosen else bundle.path.with_name(f"{bundle.path.stem}-engines")


def runs_on(session: Session) -> str:
    """Return runtime, version and device of a session in words."""
    facts = session.describe()
    return f"{facts['runtime']} {facts['version']} ({facts['device']})"


def progress_of(name: str) -> Progress:
    """Return what prints each new message of a progress once, after ``name``."""
    last = ""

    def show(done: int, total: int, now: str) -> None:
        nonlocal last
        if now != last:
            last = now
            say(f"{name}: {now}")

    return show


def say(text: str) -> None:
    """Print a line on stderr: what is being done."""
    print(printable(text), file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print a line of the result on stdout."""
    put(printable(text))


def print_json(value: Mapping[str, Any]) -> None:
    """Print the result as JSON on stdout."""
    put(json.dumps(value, indent=2, allow_nan=False))
