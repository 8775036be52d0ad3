"""``info`` and ``build`` of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...runtime.artifact import Artifact
from ...runtime.device import trtexec
from ...runtime.device.before_after import before_after
from ...runtime.device.build import Settings
from ...runtime.device.bundle import Bundle
from ...runtime.device.engine_artifact import build_artifact
from ...runtime.device.engine_folders import built_engines, engine_folder
from ...runtime.device.missing import problems
from ...runtime.errors import FdikpEdgeError
from ...runtime.files import check_place
from ...runtime.images import write_photo
from .common import Options, engines_folder, opened_session, print_json, print_line, say


def info(bundle: Bundle, options: Options) -> bool:
    """Show what is in the bundle and what this machine can do with it."""
    artifacts = bundle.artifacts()
    rows: list[dict[str, Any]] = [
        {
            "name": artifact.path.name,
            "precision": artifact.passport.precision,
            "size": list(artifact.passport.inputs[0].extent),
            "engines": _engine_states(artifact, engines_folder(bundle, options)),
        }
        for artifact in artifacts
    ]
    missing = problems()
    facts = {"made_with": bundle.manifest["made_with"], "artifacts": rows, "missing_for_build": missing}
    if options.json:
        print_json(facts)
        return True
    for row in rows:
        states = ", ".join(f"{state} ({name})" for name, state in row["engines"].items()) or "not built"
        print_line(f"{row['name']}: {row['precision']}, {'x'.join(map(str, row['size']))}, engine: {states}")
    print_line(
        "TensorRT engines can be built here"
        if not missing
        else "TensorRT engines cannot be built here: " + "; ".join(missing)
    )
    return True


def build(bundle: Bundle, options: Options) -> bool:
    """Build an engine from each artifact, or print the trtexec commands."""
    # Flags choose types only where the file leaves them open.
    artifacts = bundle.artifacts(options.artifact, ["fp32"] if options.weak else options.precision)
    out = engines_folder(bundle, options)
    if options.trtexec:
        for line in trtexec.for_versions(artifacts, out, weak=options.weak):
            print_line(line)
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
        say(f"building {artifact.path.name}")
        folder = engine_folder(out, artifact, options.weak)
        engines.append(build_artifact(artifact, folder, settings, overwrite=options.overwrite))
        if not options.json:
            print_line(f"{folder.name}: {folder}")
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
        print_json({"engines": rows})
    return True


def _picture(bundle: Bundle, built: Artifact, options: Options) -> str | None:
    """Write the bundle's photo before and after a new engine beside that; ``None`` for other networks, or
    where the engine cannot be run."""
    if not built.passport.maps_pictures:
        return None
    file = built.path.with_name(f"{built.path.name}.before-after.png")
    try:
        with opened_session(built, options) as session:
            write_photo(file, before_after(session, bundle.photo()))
    except FdikpEdgeError as error:  # the engine is built; verify says what is wrong with it
        say(f"{built.path.name}: no picture before and after: {error}")
        return None
    if not options.json:
        print_line(f"{built.path.name}: before and after: {file}")
    return str(file)


def _engine_states(artifact: Artifact, engines: Path) -> dict[str, str]:
    states: dict[str, str] = {}
    for folder in built_engines(engines, artifact):
        try:
            states[folder.name] = Artifact.open(folder).passport.state
        except FdikpEdgeError as error:
            states[folder.name] = f"unusable: {error}"
    return states
