"""A baseline: committed figures that a gate compares with, and the reasons they became what they are.

``baseline.json`` holds the figures; the artifacts themselves, which latency and pictures are compared with,
lie in a folder of the same name without its suffix. A baseline is read as strictly as a passport.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime import fields as read
from ...runtime.artifact import Artifact, ArtifactWriter
from ...runtime.errors import BaselineError, FieldError, ReportError
from ...runtime.files import remove_folder, replacing
from ...runtime.strict_json import printable
from ...runtime.trust.signature import SIGNATURE_NAME
from ..report.read import number, read_json

FORMAT_VERSION = 1
MAX_BYTES = 4 * 1024 * 1024
MAX_REASON = 2000
MAX_HISTORY = 1000


@dataclass(frozen=True)
class Figures:
    """What one artifact is held to.

    ``model_bytes`` counts the files that a runtime loads, ``peak_mb`` is the most memory (10^6 bytes) that a
    process held which deblurred one tile, ``None`` where it was not measured. ``passport_files`` maps the
    artifact's files to their SHA-256.
    """

    target: str
    precision: str
    weights_sha256: str
    program_sha256: str
    max_abs: float
    psnr_db: float
    ssim: float
    model_bytes: int
    peak_mb: float | None
    precision_census: dict[str, int]
    toolchain: dict[str, str]
    passport_files: dict[str, str]

    @classmethod
    def of(cls, artifact: Artifact, parity: Mapping[str, Any], peak_mb: float | None) -> Figures:
        """Take the figures of an artifact and of what a report says about its parity.

        Raises:
            BaselineError: the report holds no parity figures.
        """
        values = {key: number(parity.get(key)) for key in ("max_abs", "psnr_db", "ssim")}
        if missing := [key for key, value in values.items() if value is None]:
            raise BaselineError(
                f"{artifact.path.name}: no {missing[0]} in the report; verify the artifact first"
            )
        passport = artifact.passport
        return cls(
            target=passport.target,
            precision=passport.precision,
            weights_sha256=passport.weights_sha256,
            program_sha256=passport.program_sha256,
            **{key: value for key, value in values.items() if value is not None},
            model_bytes=model_bytes(artifact),
            peak_mb=peak_mb,
            precision_census=dict(passport.precision_census),
            toolchain=dict(passport.toolchain),
            passport_files={name: str(entry["sha256"]) for name, entry in passport.files.items()},
        )

    @classmethod
    def from_dict(cls, value: Any, where: str) -> Figures:
        """Read what ``dataclasses.asdict`` gave; raises :class:`FieldError`."""
        keys = read.record(value, where, [field.name for field in dataclasses.fields(cls)])
        floats: dict[str, Any] = {}
        for key in ("max_abs", "psnr_db", "ssim", "peak_mb"):
            figure = number(keys[key])
            if figure is None and not (key == "peak_mb" and keys[key] is None):
                raise read.wrong(f"{where}.{key}", f"expected a number, got {keys[key]!r:.80}")
            floats[key] = figure
        census = read.mapping(keys["precision_census"], f"{where}.precision_census")
        files = read.mapping(keys["passport_files"], f"{where}.passport_files")
        tools = read.mapping(keys["toolchain"], f"{where}.toolchain")
        return cls(
            target=read.text(keys["target"], f"{where}.target"),
            precision=read.text(keys["precision"], f"{where}.precision"),
            weights_sha256=read.sha256(keys["weights_sha256"], f"{where}.weights_sha256"),
            program_sha256=read.sha256(keys["program_sha256"], f"{where}.program_sha256"),
            **floats,
            model_bytes=read.count(keys["model_bytes"], f"{where}.model_bytes"),
            precision_census={k: read.count(v, f"{where}.precision_census.{k}") for k, v in census.items()},
            toolchain={k: read.text(v, f"{where}.toolchain.{k}") for k, v in tools.items()},
            passport_files={k: read.sha256(v, f"{where}.passport_files.{k}") for k, v in files.items()},
        )


@dataclass(frozen=True)
class Baseline:
    """Figures by artifact name, and the history of updates: ``{"created", "reason", "changes"}`` each."""

    artifacts: dict[str, Figures]
    history: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> str:
        """Return the content of the file."""
        value = {
            "format_version": FORMAT_VERSION,
            "fdikp_edge": importlib.metadata.version("fdikp-edge"),
            "artifacts": {name: dataclasses.asdict(figures) for name, figures in self.artifacts.items()},
            "history": list(self.history),
        }
        return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: it is missing (says how to make one), too large, damaged or of another version.
    """
    if not path.exists():
        raise BaselineError(f'{path}: no baseline yet; write one with --update --reason "first baseline"')
    try:
        value = read_json(path, MAX_BYTES)
        if "format_version" not in value and "machine" in value:
            raise ReportError(f"{path}: is a report, not a baseline; `gate --update` writes a baseline")
        if value.get("format_version") != FORMAT_VERSION:
            version = value.get("format_version")
            raise ReportError(f"{path}: format version {version!r:.40}; this release reads {FORMAT_VERSION}")
        keys = read.record(value, "baseline", ["format_version", "fdikp_edge", "artifacts", "history"])
        entries = read.mapping(keys["artifacts"], "artifacts")
        artifacts = {
            read.safe_path(name, "artifacts"): Figures.from_dict(entry, name)
            for name, entry in entries.items()
        }
        history = tuple(
            read.record(entry, f"history[{i}]", ["created", "reason", "changes"])
            for i, entry in enumerate(read.items(keys["history"], "history"))
        )
    except FieldError as error:
        raise BaselineError(f"{path}: {error.where}: {error.problem}") from error
    except ReportError as error:
        raise BaselineError(str(error)) from error
    return Baseline(artifacts, history)


def update(
    path: Path,
    figures: Mapping[str, Figures],
    artifacts: Mapping[str, Artifact],
    reason: str,
    *,
    keep: bool = True,
) -> list[str]:
    """Write a baseline of these figures, and copy the artifacts next to it; return the changes as text.

    Without ``keep``, those kept for the figures before are removed.

    Raises:
        BaselineError: no reason, one of more than 2000 characters, or an earlier baseline that is damaged.
        OutputError: it cannot be written.
    """
    reason = printable(reason).strip()
    if not reason or len(reason) > MAX_REASON:
        raise BaselineError(f"the reason for the new baseline must have 1 to {MAX_REASON} characters")
    before = read_baseline(path) if path.exists() else Baseline({})
    changes = differences(before.artifacts, figures)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    entry = {"created": now, "reason": reason, "changes": changes}
    baseline = Baseline(dict(figures), (*before.history, entry)[-MAX_HISTORY:])
    if keep:
        for name, artifact in artifacts.items():
            _copy(artifact, kept_folder(path) / name)
    with replacing(path) as temporary:
        temporary.write_text(baseline.to_json(), encoding="utf-8")
    for name in () if keep else figures:
        earlier = kept_folder(path) / name
        if (earlier / read.PASSPORT_NAME).is_file():  # of the figures before: it would be taken for tampering
            remove_folder(earlier)
    return changes


def kept_folder(path: Path) -> Path:
    """Return where the artifacts of a baseline are kept."""
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-artifacts")


def kept_artifact(path: Path, name: str, figures: Figures) -> Artifact | None:
    """Return the artifact that a baseline was made from, or ``None`` if it was not kept.

    Raises:
        ArtifactError: it is damaged.
        BaselineError: it is not the artifact recorded in the baseline.
    """
    folder = kept_folder(path) / name
    if not folder.is_dir():
        return None
    artifact = Artifact.open(folder)
    hashes = {file: entry["sha256"] for file, entry in artifact.passport.files.items()}
    if hashes != figures.passport_files:
        raise BaselineError(f"{folder}: is not the artifact recorded in {path.name}; update both")
    return artifact


def model_bytes(artifact: Artifact) -> int:
    """Return the bytes of what a runtime loads: all files but the recorded input and output."""
    golden = set(artifact.passport.golden_files)
    return sum(int(e["bytes"]) for name, e in artifact.passport.files.items() if name not in golden)


def differences(old: Mapping[str, Figures], new: Mapping[str, Figures]) -> list[str]:
    """Return the changes between figures as text."""
    lines = [f"{name}: new" for name in new if name not in old]
    lines += [f"{name}: removed" for name in old if name not in new]
    for name in (name for name in new if name in old):
        for field in dataclasses.fields(Figures):
            before, after = getattr(old[name], field.name), getattr(new[name], field.name)
            if before != after and field.name != "passport_files":
                lines.append(f"{name}: {field.name} {_short(before)} -> {_short(after)}")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items()) or "nothing"
    return str(value)


def _copy(artifact: Artifact, dest: Path) -> None:
    if dest.resolve() == artifact.path:
        return
    with ArtifactWriter(dest, overwrite=True) as writer:
        signature = [SIGNATURE_NAME] if (artifact.path / SIGNATURE_NAME).is_file() else []
        for name in (*artifact.passport.files, *signature):
            (writer.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / name, writer.folder / name)
        writer.commit(artifact.passport)
