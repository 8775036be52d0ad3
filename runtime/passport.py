"""What an artifact says about itself: ``passport.json`` as typed values.

Reading is strict. A passport of another version, with a key missing, unknown or of the wrong type, is refused
with an :class:`~fdikp_edge.runtime.errors.ArtifactError` that names the key, because a guess here would run a
network on data laid out in another way and call the result a photo.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, cast

from . import fields as read
from . import strict_json
from .errors import ArtifactError
from .fields import PASSPORT_NAME, wrong

FORMAT_VERSION = 1
"""The only passport version this release writes and reads."""

QUANTISED_LAYERS = "int8 layers"
"""Key of ``precision_census``: how many layers compute in 8 bits."""
REDUCED_WEIGHTS = "layers with 7-bit weights"
"""Key of ``precision_census``: how many layers' 8-bit sums fit 16 bits, see :mod:`.processor`."""

MAX_PASSPORT_BYTES = 4 * 1024 * 1024
MAX_FILES = 1024
MAX_FILE_BYTES = 8 * 1024**3

Dtype = Literal["float32", "uint8"]
Layout = Literal["NCHW", "NHWC"]
State = Literal["verified", "unverified", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorContract:
    """How one input or output of a model is laid out.

    ``shape`` is the full shape with the batch first, in the order of ``layout``; ``value_range`` is what
    black and white are, so ``(0.0, 1.0)`` for a float network and ``(0.0, 255.0)`` for ``uint8``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype
    layout: Layout
    value_range: tuple[float, float]
    color_space: str = "sRGB"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.shape[2], self.shape[3]) if self.layout == "NCHW" else (self.shape[1], self.shape[2])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1] if self.layout == "NCHW" else self.shape[3]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**data, "shape": list(self.shape), "value_range": [float(v) for v in self.value_range]}

    @classmethod
    def from_dict(cls, data: Any, where: str = "tensor") -> TensorContract:
        """Read what :meth:`to_dict` wrote; ``where`` names the place in error messages.

        Raises:
            ArtifactError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        keys = read.record(data, where, [field.name for field in dataclasses.fields(cls)])
        shape = read.items(keys["shape"], f"{where}.shape")
        sizes = all(type(n) is int and 1 <= n <= 65536 for n in shape)
        if len(shape) != 4 or not sizes or math.prod(shape) > 2**31:
            raise wrong(f"{where}.shape", f"expected four sizes from 1 to 65536, got {shape!r:.80}")
        values = read.items(keys["value_range"], f"{where}.value_range")
        numbers = all(type(v) in (int, float) and abs(v) < 1e6 for v in values)
        if len(values) != 2 or not numbers or not values[0] < values[1]:
            raise wrong(f"{where}.value_range", f"expected [low, high], got {values!r:.80}")
        return cls(
            name=read.text(keys["name"], f"{where}.name"),
            shape=tuple(shape),
            dtype=cast(Dtype, read.choice(keys["dtype"], ("float32", "uint8"), f"{where}.dtype")),
            layout=cast(Layout, read.choice(keys["layout"], ("NCHW", "NHWC"), f"{where}.layout")),
            value_range=(float(values[0]), float(values[1])),
            color_space=read.text(keys["color_space"], f"{where}.color_space"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passport:
    """Everything an artifact says about itself.

    ``files`` maps each file's path inside the folder (forward slashes) to ``{"sha256": hex, "bytes": int}``;
    :meth:`fdikp_edge.runtime.artifact.ArtifactWriter.commit` fills it in. ``model_file`` is the one of them
    that the session opens, ``golden`` names a recorded input and output (``.npy``). ``parity``,
    ``latency_ms`` and ``measured_on`` are ``None`` until measured; ``reason`` says why ``state`` is not
    ``verified``. ``image_contract`` is the name of the contract that ``input`` and ``output`` follow
    (``float_nchw``, ``uint8_nhwc``), ``None`` in artifacts of older releases. Raw constructor
    arguments are checked when the passport is written.
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
    input: TensorContract
    output: TensorContract
    image_contract: str | None = None
    model_file: str
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    golden: dict[str, str] | None = None
    parity: dict[str, Any] | None = None
    latency_ms: dict[str, Any] | None = None
    measured_on: dict[str, Any] | None = None
    state: State = "unverified"
    reason: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def contract(self) -> str:
        """The name of the image contract. Older artifacts do not record it; there the dtype decides."""
        return self.image_contract or ("uint8_nhwc" if self.input.dtype == "uint8" else "float_nchw")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the passport's own digest."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.image_contract is None:
            del data["image_contract"]  # as the older release wrote it that this passport is from
        return {**data, "input": self.input.to_dict(), "output": self.output.to_dict()}

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
        known = [field.name for field in dataclasses.fields(cls)]
        if isinstance(data, dict):
            data = {"image_contract": None, **data}
        keys = read.record(data, "passport", known)
        census = read.mapping(keys["precision_census"], "precision_census")
        toolchain = read.mapping(keys["toolchain"], "toolchain")
        plan = read.items(keys["plan"], "plan")
        notes = read.items(keys["notes"], "notes")
        passport = cls(
            format_version=FORMAT_VERSION,
            model=read.text(keys["model"], "model"),
            weights_sha256=read.sha256(keys["weights_sha256"], "weights_sha256"),
            program_sha256=read.sha256(keys["program_sha256"], "program_sha256"),
            target=read.text(keys["target"], "target"),
            precision=read.text(keys["precision"], "precision"),
            plan=[read.mapping(site, f"plan[{i}]") for i, site in enumerate(plan)],
            precision_census={k: read.count(v, f"precision_census.{k}") for k, v in census.items()},
            calibration_sha256=read.optional(read.sha256, keys["calibration_sha256"], "calibration_sha256"),
            toolchain={k: read.text(v, f"toolchain.{k}") for k, v in toolchain.items()},
            input=TensorContract.from_dict(keys["input"], "input"),
            output=TensorContract.from_dict(keys["output"], "output"),
            image_contract=read.optional(read.text, keys["image_contract"], "image_contract"),
            model_file=read.safe_path(keys["model_file"], "model_file"),
            files=_files(keys["files"]),
            golden=read.optional(_golden, keys["golden"], "golden"),
            parity=read.optional(read.mapping, keys["parity"], "parity"),
            latency_ms=read.optional(read.mapping, keys["latency_ms"], "latency_ms"),
            measured_on=read.optional(read.mapping, keys["measured_on"], "measured_on"),
            state=cast(State, read.choice(keys["state"], ("verified", "unverified", "failed"), "state")),
            reason=read.text(keys["reason"], "reason", empty=True),
            notes=[read.text(note, f"notes[{i}]", empty=True) for i, note in enumerate(notes)],
        )
        passport._check_names()
        return passport

    def _check_names(self) -> None:
        """Check that every file a field names is one of ``files``, where those are known."""
        named = {"model_file": self.model_file}
        named.update({f"golden.{key}": name for key, name in (self.golden or {}).items()})
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
    if version != FORMAT_VERSION:
        raise wrong("format_version", f"{version} is unknown; this release reads {FORMAT_VERSION}")


def _golden(value: Any, where: str) -> dict[str, str]:
    names = read.record(value, where, ["input", "output"])
    return {key: read.safe_path(name, f"{where}.{key}") for key, name in names.items()}


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
