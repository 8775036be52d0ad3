"""What a run of :func:`fdikp_edge.benchmarks.deploy.deploy` found, and how it is written down."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...runtime.artifact import Artifact
from ...runtime.installed.bill import bill
from ...runtime.strict_json import all_printable, printable
from ..accuracy.parity import Parity
from ..timing.latency import Latency, unstable, with_stability

RowState = Literal["verified", "unverified", "failed", "unavailable"]
ReasonCode = Literal["", "cannot_build", "cannot_run", "over_budget", "fallback", "error"]
"""Why a row is not verified, for programs: this machine cannot build it, or cannot run it, its figures are
over their budget, or there was an error; empty where it is verified. Older reports do not hold it."""

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


@dataclass
class Row:
    """One target at one precision.

    ``state`` is ``verified`` (within the budget), ``failed`` (over it, or it broke), ``unverified`` (built,
    but cannot run here) or ``unavailable`` (cannot be built here); ``reason`` says why it is not
    ``verified``, and ``reason_code`` says it for programs. ``path``, ``picture`` (the deblurred photo)
    and the files of ``error_map`` (see :func:`fdikp_edge.benchmarks.accuracy.error_map.save`) are relative to
    the report's folder. ``seconds`` holds how long "lowering" took, shared by all rows of a profile, and
    "building" this artifact. ``gain`` holds the PSNR from the sharp photo, in dB, of the photo
    (``before_db``) and of the result (``after_db``), where the sharp photo is known. ``mixed_precision`` is
    the search that chose which layers compute in int8. ``no_gain`` says that a lower precision is not faster
    than float32 of its target.
    """

    target: str
    precision: str
    size: tuple[int, ...]
    state: RowState = "unverified"
    reason: str = ""
    reason_code: ReasonCode = ""
    path: str | None = None
    picture: str | None = None
    error_map: dict[str, Any] | None = None
    artifact: Artifact | None = None
    session: dict[str, str | int] | None = None
    parity: Parity | None = None
    latency: Latency | None = None
    eager: Latency | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    mixed_precision: dict[str, Any] | None = None
    gain: dict[str, float] | None = None
    no_gain: str = ""
    reproduce: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[str]:
        """The picture files, relative to the report's folder."""
        maps = [] if self.error_map is None else [self.error_map["map"], self.error_map["reference"]]
        return [*([] if self.picture is None else [self.picture]), *maps]

    @property
    def bytes(self) -> int | None:
        """Size on disk of what a runtime needs: everything but the golden pictures and the passport."""
        if self.artifact is None:
            return None
        passport = self.artifact.passport
        golden = set(passport.golden_files)
        return sum(int(entry["bytes"]) for name, entry in passport.files.items() if name not in golden)

    @property
    def unstable_because(self) -> list[str]:
        """Why the latency may be another in another run; empty where it was stable or not measured."""
        return [] if self.latency is None else unstable(self.latency, self.conditions)

    def latency_dict(self) -> dict[str, Any] | None:
        """Return the figures of ``latency_ms``, those of eager beside them; ``None`` if nothing was timed."""
        if self.latency is None:
            return None
        figures = with_stability(self.latency, self.conditions)
        if self.eager is not None:
            figures |= {"eager_p50": round(self.eager.p50, 3), "eager_min": round(self.eager.min, 3)}
        return figures

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        latency = self.latency_dict()
        if latency is not None and self.latency is not None:
            latency["samples"] = [round(sample, 3) for sample in self.latency.samples]
        fields: dict[str, Any] = {
            "target": self.target,
            "precision": self.precision,
            "size": list(self.size),
            "path": self.path,
            "state": self.state,
            "reason": printable(self.reason),
            "reason_code": self.reason_code,
            "parity": None if self.parity is None else self.parity.to_dict(),
            "latency_ms": latency,
            "picture": self.picture,
            "seconds": self.seconds,
            "error_map": self.error_map,
            "gain": self.gain,
            "session": self.session,
            "reproduce": self.reproduce,
            **({} if self.mixed_precision is None else {"mixture": self.mixed_precision}),
        }
        if self.artifact is not None:
            passport = self.artifact.passport
            fields |= {
                "plan": passport.plan,
                "audit": self.audit,
                "files": passport.files,
                "toolchain": passport.toolchain,
                "precision_census": passport.precision_census,
                "notes": passport.notes,
                "golden": passport.golden,
                "weights_sha256": passport.weights_sha256,
                "program_sha256": passport.program_sha256,
                "calibration_sha256": passport.calibration_sha256,
            }
        return fields


@dataclass(frozen=True)
class Report:
    """A whole run, in ``folder``.

    ``before`` is a copy of the photo there, beside what was made of it, and ``pictures`` what
    :func:`.files.listed` says of all the picture files that the report names.
    """

    folder: Path
    model: dict[str, Any]
    machine: dict[str, Any]
    rows: Sequence[Row]
    created: str
    photo: Path | None
    command: Sequence[str] = ()
    notes: Sequence[str] = ()
    before: str | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether something was verified, and nothing failed."""
        states = {row.state for row in self.rows}
        return "verified" in states and "failed" not in states

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``.

        ``{"version", "model", "machine", "artifacts": [{"target", "precision", "size": [h, w], "path",
        "state", "reason", "reason_code", "parity": {"max_abs", "mean_abs", "psnr_db", "ssim",
        "within_budget", …}, "latency_ms": {"p50", "p90", "p99", "min", "n", "eager_p50", …}, …}], …}``;
        ``parity`` and ``latency_ms`` are ``null`` where they were not measured, and ``path`` where nothing
        was built. ``sbom`` is a CycloneDX document: the packages that made the report.
        """
        return {
            "version": importlib.metadata.version("fdikp-edge"),
            "created": self.created,
            "model": self.model["name"],
            "model_details": self.model,
            "machine": self.machine,
            "sbom": bill(self.created),
            "photo": None if self.photo is None else self.photo.name,
            "before": self.before,
            "pictures": dict(self.pictures),
            "command": list(self.command),
            "notes": list(self.notes),
            "artifacts": [row.to_dict() for row in self.rows],
        }

    def to_json(self) -> str:
        """Return ``report.json``: strict JSON, indented."""
        return json.dumps(all_printable(self.to_dict()), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
