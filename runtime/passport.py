"""What an artifact says about itself: ``passport.json`` as typed values.

Reading is strict. A passport of another version, with a key missing, unknown or of the wrong type, is refused
with an :class:`~fdikp_edge.runtime.errors.ArtifactError` that names the key, because a guess here would run a
network on data laid out in another way and call the result a photo.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from . import fields as read
from . import strict_json
from .errors import ArtifactError
from .evidence import Evidence, added, best, earlier, from_list
from .fields import PASSPORT_NAME, wrong
from .tensors import Dtype, Layout, TensorContract, only, several

FORMAT_VERSION = 3
"""The passport version that this release writes. It also reads 1 (one picture in, one picture out) and
2 (one check and one timing, each replaced by the next)."""

QUANTISED_LAYERS = "int8 layers"
"""Key of ``precision_census``: how many layers compute in 8 bits."""
OUTSIDE_DELEGATE = "operators outside the delegate"
"""Key of ``precision_census``: how many operators a runtime computes because its delegate does not."""
REDUCED_WEIGHTS = "layers with 7-bit weights"
"""Key of ``precision_census``: how many layers' 8-bit sums fit 16 bits, see :mod:`.processor`."""

__all__ = ["Dtype", "Layout", "Passport", "State", "TensorContract"]

MAX_PASSPORT_BYTES = 4 * 1024 * 1024
MAX_FILES = 1024
MAX_FILE_BYTES = 8 * 1024**3

State = Literal["verified", "unverified", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passport:
    """Everything an artifact says about itself.

    ``files`` maps each file's path inside the folder (forward slashes) to ``{"sha256": hex, "bytes": int}``;
    :meth:`fdikp_edge.runtime.artifact.ArtifactWriter.commit` fills it in. ``model_file`` is the one of them
    that the session opens, ``golden`` names recorded inputs and outputs (``.npy``, in the order of ``inputs``
    and ``outputs``). ``source`` is what the network was asked for by when it was built (``tiny``,
    ``package.module:factory``); it is never imported or opened because a passport names it. ``evidence``
    holds every check and timing, see :mod:`.evidence`; ``parity``, ``latency_ms`` and ``measured_on`` (the
    machine of the check) are the best of it, ``None`` until measured. ``reason`` says why ``state`` is not
    ``verified``. ``image_contract`` is the name of the contract that pictures among ``inputs`` and
    ``outputs`` follow (``float_nchw``, ``uint8_nhwc``), ``None`` in artifacts of older releases. Raw
    constructor arguments are checked when the passport is written.
    """

    format_version: int = FORMAT_VERSION
    model: str
    weights_sha256: str
    program_sha256: str
    target: str
    precision: str
    plan: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    precision_census: dict[str, int] = dataclasses.field(default_factory=dict)
    calibration_sha256: str | None = None
    toolchain: dict[str, str] = dataclasses.field(default_factory=dict)
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    image_contract: str | None = None
    source: str | None = None
    model_file: str
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    golden: dict[str, list[str]] | None = None
    parity: dict[str, Any] | None = None
    latency_ms: dict[str, Any] | None = None
    measured_on: dict[str, Any] | None = None
    evidence: list[Evidence] = dataclasses.field(default_factory=list)
    state: State = "unverified"
    reason: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def input(self) -> TensorContract:
        """The only input; :class:`~fdikp_edge.runtime.errors.BadInputError` if there are several."""
        return only(self.inputs, "input", self.model)

    @property
    def output(self) -> TensorContract:
        """The only output; :class:`~fdikp_edge.runtime.errors.BadInputError` if there are several."""
        return only(self.outputs, "output", self.model)

    @property
    def maps_pictures(self) -> bool:
        """Whether a photo can be put in and taken out: one picture in colours in, one out."""
        ends = (*self.inputs, *self.outputs)
        return len(self.inputs) == len(self.outputs) == 1 and all(
            e.has_colors and e.shape[0] == 1 for e in ends
        )

    @property
    def contract(self) -> str:
        """The name of the image contract. Older artifacts do not record it; there the dtype decides."""
        as_bytes = self.inputs[0].dtype == "uint8"
        return self.image_contract or ("uint8_nhwc" if as_bytes else "float_nchw")

    @property
    def golden_files(self) -> tuple[str, ...]:
        """The files of recorded inputs and outputs."""
        return tuple(name for names in (self.golden or {}).values() for name in names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the passport's own digest; in the version it was read in."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        data["inputs"] = [contract.to_dict() for contract in self.inputs]
        data["outputs"] = [contract.to_dict() for contract in self.outputs]
        data["evidence"] = [entry.to_dict() for entry in self.evidence]
        if self.format_version < 3:
            del data["evidence"]
        return data if self.format_version != 1 else _as_version_1(data)

    def with_evidence(self, *new: Evidence) -> Passport:
        """Return the passport with further evidence, and with the state and the figures of the best of it.

        The result is of the newest format, since older ones have no place for it.
        """
        evidence = added(self.evidence, new)
        parity, latency = best(evidence, "parity"), best(evidence, "latency")
        verdict: dict[str, Any] = {} if parity is None else {"state": parity.state, "reason": parity.reason}
        measured_on = parity or latency
        return dataclasses.replace(
            self,
            format_version=FORMAT_VERSION,
            evidence=evidence,
            parity=None if parity is None else parity.figures,
            latency_ms=None if latency is None else latency.figures,
            measured_on=None if measured_on is None else measured_on.where,
            **verdict,
        )

    def unmeasured(self, reason: str, **changes: Any) -> Passport:
        """Return the passport of something made from this artifact, of which nothing was measured yet.

        Args:
            reason: why it is not verified.
            changes: other fields that differ.
        """
        nothing: dict[str, Any] = {"parity": None, "latency_ms": None, "measured_on": None, "evidence": []}
        return dataclasses.replace(self, **nothing, state="unverified", reason=reason, **changes)

    def to_json(self) -> bytes:
        """Return the bytes of ``passport.json``: indented, with ``passport_sha256`` over all else.

        The digest notices an edit by hand; it is not a signature, and proves nothing about who wrote it.

        Raises:
            ArtifactError: a field holds a NaN or a value that is not plain JSON, or would not be read back.
        """
        data = self.to_dict()
        try:
            data["passport_sha256"] = strict_json.digest(data)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{PASSPORT_NAME}: cannot be written as JSON: {error}") from error
        encoded = json.dumps(data, indent=2, allow_nan=False).encode() + b"\n"
        self.from_json(encoded)  # what is written is what a device will accept
        return encoded

    @classmethod
    def from_json(cls, data: bytes) -> Passport:
        """Read the bytes of ``passport.json``.

        Raises:
            ArtifactError: too large, not strict JSON, edited by hand, or refused by :meth:`from_dict`.
        """
        if len(data) > MAX_PASSPORT_BYTES:
            raise ArtifactError(f"{PASSPORT_NAME}: larger than the {MAX_PASSPORT_BYTES} bytes allowed")
        try:
            value = strict_json.parse(data)
        except ValueError as error:
            raise ArtifactError(f"{PASSPORT_NAME}: {error}. Copy or export the artifact again") from error
        if not isinstance(value, dict):
            raise ArtifactError(f"{PASSPORT_NAME}: expected an object, got {type(value).__name__}")
        _check_version(value)
        recorded = value.pop("passport_sha256", None)
        if recorded != strict_json.digest(value):
            raise ArtifactError(
                f"{PASSPORT_NAME}: was changed after it was written (its own SHA-256 does not match). "
                "Copy or export the artifact again"
            )
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, data: Any) -> Passport:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ArtifactError: another format version; a key missing, unknown, of the wrong type or out of bounds.
        """
        if isinstance(data, dict):
            _check_version(data)
            if data["format_version"] == 1:
                data = _from_version_1(data)
            if data["format_version"] < 3 and "evidence" not in data:
                data = {**data, "evidence": []}
        keys = read.record(data, "passport", [field.name for field in dataclasses.fields(cls)])
        census = read.mapping(keys["precision_census"], "precision_census")
        toolchain = read.mapping(keys["toolchain"], "toolchain")
        plan = read.items(keys["plan"], "plan")
        notes = read.items(keys["notes"], "notes")
        passport = cls(
            format_version=keys["format_version"],
            model=read.text(keys["model"], "model"),
            weights_sha256=read.sha256(keys["weights_sha256"], "weights_sha256"),
            program_sha256=read.sha256(keys["program_sha256"], "program_sha256"),
            target=read.text(keys["target"], "target"),
            precision=read.text(keys["precision"], "precision"),
            plan=[read.mapping(site, f"plan[{i}]") for i, site in enumerate(plan)],
            precision_census={k: read.count(v, f"precision_census.{k}") for k, v in census.items()},
            calibration_sha256=read.optional(read.sha256, keys["calibration_sha256"], "calibration_sha256"),
            toolchain={k: read.text(v, f"toolchain.{k}") for k, v in toolchain.items()},
            inputs=several(keys["inputs"], "inputs"),
            outputs=several(keys["outputs"], "outputs"),
            image_contract=read.optional(read.text, keys["image_contract"], "image_contract"),
            source=read.optional(read.text, keys["source"], "source"),
            model_file=read.safe_path(keys["model_file"], "model_file"),
            files=_files(keys["files"]),
            golden=read.optional(_golden, keys["golden"], "golden"),
            parity=read.optional(read.mapping, keys["parity"], "parity"),
            latency_ms=read.optional(read.mapping, keys["latency_ms"], "latency_ms"),
            measured_on=read.optional(read.mapping, keys["measured_on"], "measured_on"),
            evidence=from_list(keys["evidence"], "evidence"),
            state=cast(State, read.choice(keys["state"], ("verified", "unverified", "failed"), "state")),
            reason=read.text(keys["reason"], "reason", empty=True),
            notes=[read.text(note, f"notes[{i}]", empty=True) for i, note in enumerate(notes)],
        )
        passport._check_names()
        return passport if passport.format_version > 2 else passport._with_earlier()

    def _with_earlier(self) -> Passport:
        """Return a passport of an older format with its figures as evidence."""
        evidence = earlier(self.parity, self.latency_ms, self.measured_on, self.state, self.reason)
        return dataclasses.replace(self, evidence=evidence)

    def _check_names(self) -> None:
        """Check that every file a field names is one of ``files``, where those are known."""
        named = {"model_file": self.model_file}
        named.update({f"golden[{i}]": name for i, name in enumerate(self.golden_files)})
        for key, ends in (("inputs", self.inputs), ("outputs", self.outputs)):
            if self.golden is not None and len(self.golden[key]) != len(ends):
                raise wrong(f"golden.{key}", f"names {len(self.golden[key])} files for {len(ends)} {key}")
        for key, name in named.items():
            # A model may be a folder (Core ML), so a prefix of listed files will do.
            folder = any(other.startswith(name + "/") for other in self.files)
            if self.files and name not in self.files and not folder:
                raise wrong(key, f"{name!r} is not one of the artifact's files")


def _check_version(data: Mapping[str, Any]) -> None:
    version = data.get("format_version")
    if type(version) is not int:
        raise wrong("format_version", "is missing; this is not an fdikp-edge artifact")
    if version > FORMAT_VERSION:
        raise wrong(
            "format_version",
            f"{version} is newer than this release reads ({FORMAT_VERSION}). "
            "Update fdikp-edge, or export the artifact with this release",
        )
    if version < 1:
        raise wrong("format_version", f"{version} is unknown; this release reads 1 to {FORMAT_VERSION}")


def _from_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a passport of version 1 with the keys of version 2; other values as they are, to be checked."""
    content = {"image_contract": None, "source": None, **data}
    for key in ("input", "output"):
        if key in content:
            content[f"{key}s"] = [content.pop(key)]
    if content.get("golden") is not None:
        names = read.record(content["golden"], "golden", ["input", "output"])
        content["golden"] = {f"{key}s": [name] for key, name in names.items()}
    return content


def _as_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`_from_version_1`: a device's older release goes on reading an artifact that is amended."""
    content = dict(data)
    for key in ("input", "output"):
        (content[key],) = content.pop(f"{key}s")
    if content["golden"] is not None:
        content["golden"] = {key.removesuffix("s"): names[0] for key, names in content["golden"].items()}
    del content["source"]
    if content["image_contract"] is None:
        del content["image_contract"]  # which the first releases did not write
    return content


def _golden(value: Any, where: str) -> dict[str, list[str]]:
    names = read.record(value, where, ["inputs", "outputs"])
    return {
        key: [read.safe_path(name, f"{where}.{key}") for name in read.items(listed, f"{where}.{key}")]
        for key, listed in names.items()
    }


def _files(value: Any) -> dict[str, dict[str, Any]]:
    entries = read.mapping(value, "files")
    if len(entries) > MAX_FILES:
        raise wrong("files", f"{len(entries)} entries, more than the {MAX_FILES} allowed")
    files: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        where = f"files[{name!r:.80}]"
        keys = read.record(entry, where, ["sha256", "bytes"])
        size = read.count(keys["bytes"], f"{where}.bytes")
        if size > MAX_FILE_BYTES:
            raise wrong(where, f"{size} bytes, more than the {MAX_FILE_BYTES} allowed")
        files[read.safe_path(name, where)] = {"sha256": read.sha256(keys["sha256"], where), "bytes": size}
    folded = {name.casefold() for name in files}
    if len(folded) != len(files) or PASSPORT_NAME in folded:
        raise wrong("files", "two names that some systems cannot tell apart")
    return files
