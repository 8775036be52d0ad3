"""One file for a device: artifacts, calibration, a photograph, the device program, an entry script.

``python model.bundle build`` runs it, on the device's own Python, with NumPy and its TensorRT or ONNX
Runtime. What is inside and how it is checked: :mod:`fdikp_edge.runtime.device.entry`. The same artifacts give
the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime import samples
from ...runtime.artifact import Artifact, ArtifactWriter
from ...runtime.buckets.folders import shown_name
from ...runtime.device import entry
from ...runtime.device.engine_artifact import TARGET as BUILT
from ...runtime.errors import BadInputError, BundleError, LoweringError, UnknownNameError
from ...runtime.fields import PASSPORT_NAME
from ...runtime.files import check_place, replacing
from ...runtime.images import read_photo
from ...runtime.progress import Progress
from ...runtime.tensorrt.engines import ONNX_FILE
from ...runtime.trust.signature import SIGNATURE_NAME
from ..onnx.build import serialise
from ..targets import all_targets, get_target
from ..tensorrt.weak_typing import legacy_files
from .android.bundle import write_android
from .wheel import PROGRAM, add_entry, device_wheel

if TYPE_CHECKING:
    import onnx

    from ...calibration.table import CalibrationTable, ProgramKey
    from ...runtime.passport import Passport

DEVICES: Mapping[str, str | None] = {"jetson": BUILT, "android": None}
"""Device -> the target that is built on it, ``None`` if artifacts go there as they are.
:attr:`..target.Target.devices` says whose artifacts it takes."""
TAKEN_AS = "onnx"
"""The target that the bundle's program knows an artifact by before it is built on the device."""

PHOTO = "photo/astronaut-defocused.npy"


@dataclass(frozen=True)
class Bundled:
    """A bundle as written: ``sha256`` is that of the whole file."""

    path: Path
    sha256: str
    bytes: int
    artifacts: tuple[str, ...]


def make_bundle(
    artifacts: Sequence[str | Path],
    out: str | Path,
    *,
    device: str = "jetson",
    tables: Sequence[str | Path] = (),
    overwrite: bool = False,
    progress: Progress = lambda done, total, now: None,
) -> Bundled:
    """Write a bundle, whole or not at all.

    Args:
        artifacts: folders; each keeps its name in the bundle, and a bucket ``NAME/256x256`` is called
            ``NAME-256x256``.
        out: the file.
        device: one of :data:`DEVICES`.
        tables: calibration tables, each of which at least one artifact was made with, or that holds its
            program for TensorRT or for its target. A float32 artifact gets from it what weakly typed builds
            take (see :mod:`..tensorrt.weak_typing`).
        overwrite: replace ``out``.
        progress: called with (done, total, what is being done).

    Raises:
        UnknownNameError: no such device.
        ArtifactError: a folder that is no sound artifact.
        BadInputError: no artifact, two of one name, one without an ONNX file, one that has failed its check,
            or a table that none of them was made with.
        CalibrationError: a file that is no table.
        OutputError: ``out`` exists or cannot be written.
    """
    targets = _targets_for(device)
    path = Path(out)
    check_place(path, overwrite=overwrite)
    opened = _open(artifacts, targets, to_build=DEVICES[device] is not None)
    if DEVICES[device] is None:
        return _as_they_are(device, opened, path, tables, overwrite=overwrite, progress=progress)
    read = _tables(tables, opened, device)
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-bundle-") as scratch:
        only_tables = [table for table, _ in read]
        taken: list[Artifact] = []
        steps = len(opened) + 1
        for number, artifact in enumerate(opened):
            progress(number, steps, f"preparing {artifact.path.name}")
            taken.append(_for_device(artifact, device, Path(scratch), only_tables))
        progress(steps - 1, steps, f"writing {path.name}")
        return _write(path, device, taken, read)


def _as_they_are(
    device: str,
    opened: Sequence[Artifact],
    path: Path,
    tables: Sequence[str | Path],
    *,
    overwrite: bool,
    progress: Progress,
) -> Bundled:
    if tables:
        raise BadInputError(f"a bundle for {device} builds nothing, so it takes no calibration table")
    named = [(_name(artifact), artifact) for artifact in opened]
    write_android(device, named, path, overwrite=overwrite, progress=progress)
    names = tuple(name for name, _ in named)
    return Bundled(path, entry.sha256_of(path), path.stat().st_size, names)


def taken_by(device: str, artifacts: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the artifacts that a bundle for a device takes, and those that it does not with their target.

    Raises:
        UnknownNameError: no such device.
        ArtifactError: a folder that is no sound artifact.
    """
    targets = _targets_for(device)
    built_for = {path: Artifact.open(path).passport.target for path in artifacts}
    others = {path: target for path, target in built_for.items() if target not in targets}
    return [path for path in artifacts if path not in others], others


def _targets_for(device: str) -> list[str]:
    if device not in DEVICES:
        raise UnknownNameError(f"unknown device type {device!r}; expected one of: {', '.join(DEVICES)}")
    return [row.name for row in all_targets().values() if device in row.devices]


def _write(
    path: Path, device: str, opened: Sequence[Artifact], tables: Sequence[tuple[CalibrationTable, Path]]
) -> Bundled:
    files: dict[str, bytes | Path] = {}
    for artifact in opened:
        signature = [SIGNATURE_NAME] if (artifact.path / SIGNATURE_NAME).is_file() else []
        for name in (PASSPORT_NAME, *artifact.passport.files, *signature):
            files[f"artifacts/{_name(artifact)}/{name}"] = artifact.path / name
    files.update({f"calibration/{table.sha256[:16]}.json": file for table, file in tables})
    files[PHOTO] = _photo()
    files["photo/LICENSE.txt"] = samples.defocused_photo().parent / "LICENSE.txt"
    wheel_name, wheel = device_wheel()
    files[f"wheel/{wheel_name}"] = wheel
    files["__main__.py"] = Path(entry.__file__)
    manifest = _manifest(device, opened, files, f"wheel/{wheel_name}")
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name in ("__main__.py", *sorted(set(files) - {"__main__.py"})):
                add_entry(archive, name, _bytes(files[name]))
            add_entry(archive, entry.MANIFEST, json.dumps(manifest, indent=2, sort_keys=True).encode())
        entry.read_manifest(temporary)  # what is written is what a device will accept
    names = tuple(_name(artifact) for artifact in opened)
    return Bundled(path, entry.sha256_of(path), path.stat().st_size, names)


def _name(artifact: Artifact) -> str:
    """Return an artifact's name in the bundle; that of one size among others names its network too."""
    return shown_name(artifact.path).replace("/", "-")


def _open(artifacts: Iterable[str | Path], targets: Sequence[str], *, to_build: bool) -> list[Artifact]:
    opened = [Artifact.open(path) for path in artifacts]
    if not opened:
        raise BadInputError("a bundle needs at least one artifact")
    for artifact in opened:
        passport, name = artifact.passport, _name(artifact)
        if passport.target not in targets:
            raise BadInputError(
                f"{artifact.path}: is for target {passport.target}; a device bundle takes artifacts for "
                f"{' or '.join(targets)}"
            )
        if passport.state == "failed":
            raise BadInputError(f"{artifact.path}: failed verification: {passport.reason}")
        if to_build and ONNX_FILE not in passport.files:
            raise BadInputError(f"{artifact.path}: holds no {ONNX_FILE} to build from")
        if passport.golden is None:
            raise BadInputError(f"{artifact.path}: has no golden input and output for checks on the device")
        if not entry.plain_name(name):
            raise BadInputError(f"{artifact.path}: rename the folder to a plain name")
    names = [_name(artifact).casefold() for artifact in opened]
    if len(set(names)) != len(names):
        raise BadInputError("two artifacts have the same name; rename one of the folders")
    return opened


def _for_device(
    artifact: Artifact, device: str, scratch: Path, tables: Sequence[CalibrationTable]
) -> Artifact:
    """Return the artifact as a device builds from it: an ONNX file for TensorRT, and what checks it."""
    import onnx

    passport = artifact.passport
    fitting = [(table, key) for key in _keys(passport, device) for table in tables if key in table.sections]
    legacy = bool(fitting) and passport.precision == "fp32"
    try:
        proto = onnx.load(artifact.path / ONNX_FILE, load_external_data=False)
        changes = get_target(passport.target).for_device(device, proto, passport.precision)
    except LoweringError:
        raise
    except Exception as error:  # DecodeError of protobuf, or what an OnnxChange raises
        raise BundleError(f"{artifact.path / ONNX_FILE}: is not a usable ONNX file: {error}") from error
    if passport.precision.startswith("int8"):
        changes += _remainder(proto, fitting)
    if passport.target == TAKEN_AS and not changes and not legacy:
        return artifact
    with ArtifactWriter(scratch / _name(artifact)) as writer:
        if changes:
            (writer.folder / ONNX_FILE).write_bytes(serialise(proto, ONNX_FILE))
        else:
            shutil.copyfile(artifact.path / ONNX_FILE, writer.folder / ONNX_FILE)
        if legacy:
            extra = legacy_files(proto, *fitting[0])
            for name, data in extra.items():
                (writer.folder / name).write_bytes(data)
        for name in passport.golden_files:
            shutil.copyfile(artifact.path / name, writer.folder / name)
        return writer.commit(
            passport.unmeasured(
                "not verified on a device yet",
                target=TAKEN_AS,
                model_file=ONNX_FILE,
                notes=[*passport.notes, *changes],
            )
        )


def _remainder(proto: onnx.ModelProto, fitting: Sequence[tuple[CalibrationTable, ProgramKey]]) -> list[str]:
    """Let what an int8 file computes in float32 be float16, as far as a table allows; return notes."""
    from ..onnx.half import has_half, narrow_remainder

    if has_half(proto):  # since it was built
        return []
    if not fitting:
        return [
            "int8: the rest computes in float32, which a GPU computes slower than float16; make the bundle "
            "with --table for float16"
        ]
    (table, key), *_ = fitting
    half = table.sections[key].half
    return half.describe(narrow_remainder(proto, half.float32_layers))


def _keys(passport: Passport, device: str) -> list[ProgramKey]:
    """Return the sections of a table that tell a weakly typed build of an artifact what to do, best first:
    that of the target which is built on the device; else that of the artifact's own target."""
    names = (DEVICES[device] or passport.target, passport.target)
    profiles = dict.fromkeys(get_target(name).profile for name in names)
    return [(passport.program_sha256, profile) for profile in profiles]


def _tables(
    paths: Sequence[str | Path], opened: Sequence[Artifact], device: str
) -> list[tuple[CalibrationTable, Path]]:
    from ...calibration.table import read_table

    used = {artifact.passport.calibration_sha256 for artifact in opened}
    keys = {key for artifact in opened for key in _keys(artifact.passport, device)}
    read = []
    for path in map(Path, paths):
        table = read_table(path)
        if table.sha256 not in used and not keys & set(table.sections):
            raise BadInputError(f"{path}: none of these artifacts was built with this table")
        read.append((table, path))
    return read


def _photo() -> bytes:
    """Return a photo out of focus as an array of bytes, which a device without Pillow can read."""
    packed = io.BytesIO()
    pixels = np.ascontiguousarray(read_photo(samples.defocused_photo()).pixels)
    np.save(packed, pixels, allow_pickle=False)
    return packed.getvalue()


def _manifest(
    device: str, opened: Sequence[Artifact], files: Mapping[str, bytes | Path], wheel: str
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": entry.FORMAT,
        "version": entry.VERSION,
        "device": device,
        "made_with": {"fdikp-edge": importlib.metadata.version("fdikp-edge")},
        "artifacts": [_name(artifact) for artifact in opened],
        "photo": PHOTO,
        "program": PROGRAM,
        "wheel": wheel,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name in files
            for data in [_bytes(files[name])]
        },
    }
    return {**manifest, "manifest_sha256": entry.manifest_digest(manifest)}


def _bytes(source: bytes | Path) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
