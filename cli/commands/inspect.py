"""``fdikp-edge inspect``: the passport of an artifact, or the manifest of a bundle, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.buckets import folders
from .. import show
from ..artifacts import open_artifacts
from ..options import ArtifactArgument, JsonOption
from ..signature import checks_signatures

if TYPE_CHECKING:
    from ...runtime.artifact import Artifact
    from ...runtime.buckets.buckets import Buckets
    from ...runtime.evidence import Evidence
    from ...runtime.passport import Passport, TensorContract


@checks_signatures
def inspect(artifact: ArtifactArgument, json: JsonOption = False) -> int:
    """Show the passport of an artifact.

    Shows origin, plan of the transforms, and measured parity and latency. A device bundle is checked without
    running anything in it, and its files are listed. Of a folder with an artifact for each size, the sizes
    are listed, and of the folder that deploy wrote, the artifacts.
    """
    from ...runtime.buckets.buckets import Buckets
    from ...runtime.trust.signature import SIGNATURE_NAME

    if artifact.is_file():  # no artifact is a file: only the bundle's reader can tell what is wrong with it
        return _bundle(artifact, json)
    if not folders.is_artifact(artifact) and not folders.size_folders(artifact):
        return _folder(artifact, json)
    buckets = Buckets.open(artifact)
    if len(buckets.artifacts) > 1:
        return _sizes(buckets, json)
    opened = buckets.artifacts[0]
    passport = opened.passport
    if json:
        show.as_json({"path": str(opened.path), "passport": passport.to_dict()})
        return 0
    show.facts(str(opened.path), [*_facts(passport), *_signature(opened.path / SIGNATURE_NAME)])
    if passport.evidence:
        _evidence(passport.evidence)
    if passport.plan:
        title, columns, rows = _plan(passport.plan)
        show.table(title, columns, rows)
        if declined := _declined(passport.plan):
            show.table("Strategies that cannot compute a transform", ("strategy", "why", "sites"), declined)
    _files(passport.files)
    return 0


def _sizes(buckets: Buckets, json: bool) -> int:
    """Show a folder of several sizes: what they have in common, and a row for each."""
    if json:
        entries = [
            {"path": str(artifact.path), "passport": artifact.passport.to_dict()}
            for artifact in buckets.artifacts
        ]
        show.as_json({"path": str(buckets.path), "buckets": entries})
        return 0
    passport = buckets.passport
    show.facts(
        str(buckets.path),
        [
            ("model", passport.model),
            ("target", passport.target),
            ("precision", passport.precision),
            ("weights", passport.weights_sha256),
            ("shared", "nothing: each size has a model file of its own, with its own copy of the weights"),
        ],
    )
    _artifacts("Sizes", "size#", [(artifact.path.name, artifact) for artifact in buckets.artifacts])
    show.line(f"The passport of one size: fdikp-edge inspect {buckets.artifacts[0].path}")
    return 0


def _folder(path: Path, json: bool) -> int:
    """Show the artifacts in the folder that ``deploy`` wrote."""
    artifacts = open_artifacts([path])
    if json:
        entries = [{"path": str(one.path), "passport": one.passport.to_dict()} for one in artifacts]
        show.as_json({"path": str(path), "artifacts": entries})
        return 0
    _artifacts(str(path), "artifact", [(folders.shown_name(one.path), one) for one in artifacts])
    show.line(f"The passport of one artifact: fdikp-edge inspect {artifacts[0].path}")
    return 0


def _artifacts(title: str, first: str, artifacts: Sequence[tuple[str, Artifact]]) -> None:
    """Print a row for each artifact."""
    rows = []
    for name, artifact in artifacts:
        passport = artifact.passport
        latency = (passport.latency_ms or {}).get("p50")
        p50 = f"{latency:.1f}" if isinstance(latency, (int, float)) else ""
        size = sum(entry["bytes"] for entry in passport.files.values())
        takes = ", ".join(contract_text(contract) for contract in passport.inputs)
        rows.append((name, takes, passport.state, p50, f"{size:,}", passport.reason))
    show.table(title, (first, "input", "state", "p50 ms#", "bytes#", "reason"), rows)


def _bundle(path: Path, json: bool) -> int:
    from ...runtime.device.bundle import check_bundle
    from ...runtime.files import sha256_of
    from ...runtime.trust import signature

    signature.check_bundle(path)
    manifest = check_bundle(path)
    digest = sha256_of(path)
    if json:
        show.as_json({"path": str(path), "sha256": digest, "manifest": manifest})
        return 0
    rows = [
        ("bundle for", str(manifest["device"])),
        ("sha256", digest),
        ("built with", _figures(manifest["made_with"])),
        ("artifacts", ", ".join(manifest["artifacts"])),
        *_signature(signature.bundle_signature(path)),
    ]
    show.facts(str(path), rows)
    _files(manifest["files"])
    return 0


def _signature(file: Path) -> list[tuple[str, str]]:
    """Return which key a signature names, which proves nothing unless that key was required."""
    from ...runtime.trust.signature import is_required, signer

    named = signer(file)
    checked = "checked" if is_required() else "not checked; see --require-signature"
    return [] if named is None else [("signature", f"by key {named} ({checked})")]


def _evidence(evidence: Sequence[Evidence]) -> None:
    """Print each check and timing, the newest last."""
    rows = []
    for entry in evidence:
        figures = entry.figures
        if entry.measured == "parity":
            shown = _figures({key: figures.get(key) for key in ("max_abs", "psnr_db")})
            compared = {"eager": "PyTorch eager", "golden": "golden only"}.get(entry.against, "")
            compared += f", {len(entry.samples)} sample{'s' if len(entry.samples) != 1 else ''}"
        else:
            shown = _figures({f"{key} ms": figures.get(key) for key in ("p50", "eager_p50")})
            compared = f"{figures.get('n', '')} calls"
        using = " ".join(str(entry.using.get(key, "")) for key in ("runtime", "version", "device"))
        where = str(entry.where.get("cpu", ""))
        rows.append((entry.when, entry.measured, entry.state, shown, compared, where, using.strip()))
    columns = ("when", "measured", "state", "figures", "against", "where", "with")
    show.table("Evidence", columns, rows)


def _files(files: Mapping[str, Mapping[str, Any]]) -> None:
    show.table(
        "Files",
        ("file", "bytes#", "SHA-256"),
        [(name, f"{entry['bytes']:,}", entry["sha256"]) for name, entry in files.items()],
    )


def _facts(passport: Passport) -> list[tuple[str, str]]:
    caveat = passport.reason if passport.state == "verified" else ""
    rows = [
        ("state", f"verified ({caveat})" if caveat else passport.state),
        ("reason", "" if caveat else passport.reason),
        ("model", passport.model),
        ("target", passport.target),
        ("precision", passport.precision),
        *(("input", contract_text(contract)) for contract in passport.inputs),
        *(("output", contract_text(contract)) for contract in passport.outputs),
        ("source", passport.source or ""),
        ("parity", _figures(passport.parity)),
        ("latency, ms", _figures(passport.latency_ms)),
        ("measured on", _figures(passport.measured_on)),
        ("arithmetic", _figures(passport.precision_census)),
        ("built with", _figures(passport.toolchain)),
        ("weights", passport.weights_sha256),
        ("program", passport.program_sha256),
        ("calibration", passport.calibration_sha256 or ""),
        *(("note", note) for note in passport.notes),
    ]
    return [(name, value) for name, value in rows if value]


def contract_text(contract: TensorContract) -> str:
    """Return a tensor contract as one line."""
    shape = "x".join(map(str, contract.shape))
    parts = [" ".join(filter(None, [contract.dtype, shape, contract.layout]))]
    if contract.value_range is not None:
        parts.append(f"{contract.value_range[0]:g} to {contract.value_range[1]:g}")
    if contract.color_space:
        parts.append(contract.color_space)
    return f"{contract.name}: {', '.join(parts)}"


def _figures(values: dict[str, Any] | None) -> str:
    """Return ``name value, name value`` of the plain figures; longer values are in the JSON."""
    if not values:
        return "" if values is not None else "not measured"
    parts = []
    for name, value in values.items():
        if isinstance(value, float):
            parts.append(f"{name} {value:.4g}")
        elif isinstance(value, (str, int)):
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def _plan(plan: list[dict[str, Any]]) -> tuple[str, list[str], list[tuple[str, ...]]]:
    """Return title, columns and rows: whatever plain facts the planner recorded per site.

    A fact that is the same for all sites appears once, in the title.
    """
    keys = [key for key, value in plan[0].items() if not isinstance(value, dict)]
    cells = {key: [_cell(site.get(key)) for site in plan] for key in keys}
    varying = [key for key in keys if len(plan) == 1 or len(set(cells[key])) > 1]
    same = [f"{key}: {cells[key][0]}" for key in keys if key not in varying]
    title = f"Plan of {len(plan)} transforms" + (f" ({'; '.join(same)})" if same else "")
    return title, varying, list(zip(*(cells[key] for key in varying), strict=True))


def _declined(plan: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return strategy, reason and the sites it holds for; passports of older versions have none."""
    groups: dict[tuple[str, str], list[str]] = {}
    for site in plan:
        reasons = site.get("declined")
        for strategy, reason in reasons.items() if isinstance(reasons, dict) else ():
            groups.setdefault((str(strategy), str(reason)), []).append(str(site.get("site")))
    return [(strategy, reason, ", ".join(sites)) for (strategy, reason), sites in groups.items()]


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)
