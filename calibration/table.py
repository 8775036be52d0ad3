"""One JSON file with the range of each tensor that is quantised, and why others are not.

It belongs to the programs it was made from, by their hashes: for another network, other weights, another size
or another lowering it is refused, because a range that is off by a factor ruins the picture without a word.
Profiles that were lowered to one program share its ranges, and have each their own choice of layers: it is
refused for a profile that it was not made for, too. A digest over the whole file notices an edit by hand.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from ..runtime import strict_json
from ..runtime.errors import CalibrationError, FdikpEdgeError
from ..runtime.files import replacing
from ..runtime.outside.files import read_bounded
from ..runtime.progress import Progress
from .fp16_islands import HALF_TILES, HalfPlan, Transform, decide
from .layers import LEAST_WORK, ONLY_FP16, Layer, find_layers
from .levels import LEVELS
from .mixed_precision import MixedPrecision
from .ranges import DEFAULT_SCHEME, SCHEMES, Statistics, collect
from .runner import Feed
from .samples import Samples
from .spectral_layers import TILES, refuse_lossy_layers
from .table_fields import read_key, read_section, wrong

FORMAT = "fdikp-edge calibration table"
VERSION = 2
MAX_BYTES = 16 * 1024**2
ProgramKey = tuple[str, str]
"""Hash of a program, and the profile that it was lowered for."""


@dataclass(frozen=True)
class ProgramCalibration:
    """What the table holds of one program for one profile. ``tensors`` is keyed by node names, as are the
    layers; it has those that these layers read and make, and none in a table for fp16 alone.

    ``mixed_precision`` says how the layers in floats were chosen, where a search for a bound did.
    """

    tensors: Mapping[str, Statistics]
    layers: Sequence[Layer]
    half: HalfPlan
    mixed_precision: MixedPrecision | None = None

    @property
    def for_int8(self) -> bool:
        """Whether int8 can be built from it: not if the table was made for fp16 alone."""
        return not any(layer.reason == ONLY_FP16 for layer in self.layers)

    def quantised(self) -> list[Layer]:
        """Return the layers that compute in 8 bits."""
        return [layer for layer in self.layers if not layer.reason]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "tensors": {name: dataclasses.asdict(seen) for name, seen in self.tensors.items()},
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "half": self.half.to_dict(),
            **({} if self.mixed_precision is None else {"mixture": dataclasses.asdict(self.mixed_precision)}),
        }


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges for the programs of one network at one size.

    ``scheme`` picks the range of each tensor among those its statistics hold. ``samples`` says what the
    ranges were taken from: ``sha256`` of the tiles, their number, the photos', what they cover, and the radii
    in pixels by which they were put out of focus.
    """

    model: str
    weights_sha256: str
    size: tuple[int, ...]
    samples: Mapping[str, Any]
    sections: Mapping[ProgramKey, ProgramCalibration]
    scheme: str = DEFAULT_SCHEME
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def sha256(self) -> str:
        """Digest of the table's content, as passports record it."""
        return strict_json.digest(self._content())

    def check(self, weights_sha256: str, size: tuple[int, ...]) -> None:
        """Check, before a network is lowered, that the table can be for it.

        Raises:
            CalibrationError: it was made for other weights or another size.
        """
        own = f"{self.model}, weights {self.weights_sha256[:12]}, {'x'.join(map(str, self.size))}"
        if weights_sha256 != self.weights_sha256:
            raise CalibrationError(
                f"this calibration table was made for {own}, but the weights are now {weights_sha256[:12]}: "
                "calibrate again"
            )
        if size != self.size:
            raise CalibrationError(
                f"this calibration table was made for {own}, not for {'x'.join(map(str, size))}: "
                "calibrate at that size"
            )

    def section(self, key: ProgramKey) -> ProgramCalibration:
        """Return what the table holds of a program for a profile.

        Raises:
            CalibrationError: nothing; says what the table was made for.
        """
        if key in self.sections:
            return self.sections[key]
        program_sha256, profile = key
        others = [other for program, other in self.sections if program == program_sha256]
        if others:
            raise CalibrationError(
                f"this calibration table was made for {' and '.join(others)}, not for {profile}, which "
                "lowers to the same program but may need other int8 layers: calibrate again and include "
                "this target in --target"
            )
        others = list(dict.fromkeys(other for _, other in self.sections))
        if profile not in others:
            raise CalibrationError(
                f"this calibration table was made for {' and '.join(others)}, not for {profile}: calibrate "
                "again and include this target in --target"
            )
        available = ", ".join(f"{other} {program[:12]}" for program, other in self.sections)
        raise CalibrationError(
            f"this table was made for other programs ({self.model}, "
            f"weights {self.weights_sha256[:12]}, {'x'.join(map(str, self.size))}: {available}) than the one "
            f"to be built ({profile} {program_sha256[:12]}); ranges fit one graph only: calibrate again"
        )

    def only(self, key: ProgramKey) -> CalibrationTable:
        """Return the table that calibrating for this program and profile alone gives."""
        return dataclasses.replace(self, sections={key: self.section(key)})

    def for_fp16(self) -> CalibrationTable:
        """Return what fp16 uses of the table: it holds no ranges, and int8 cannot be built from it."""

        def kept(layers: Sequence[Layer]) -> list[Layer]:
            return [dataclasses.replace(layer, reason=ONLY_FP16, weights_only=False) for layer in layers]

        sections = {
            key: dataclasses.replace(section, tensors={}, layers=kept(section.layers), mixed_precision=None)
            for key, section in self.sections.items()
        }
        return dataclasses.replace(self, sections=sections)

    def range_of(self, key: ProgramKey, tensor: str) -> float:
        """Return the magnitude of ``tensor`` that 127 represents."""
        return self.section(key).tensors[tensor].ranges[self.scheme]

    def scale(self, key: ProgramKey, tensor: str) -> float:
        """Return what one step of int8 is worth in ``tensor``; 1 where it was always zero."""
        return step(self.range_of(key, tensor))

    def to_float(
        self, key: ProgramKey, nodes: Mapping[str, str], mixed_precision: MixedPrecision | None = None
    ) -> CalibrationTable:
        """Return the table with more layers of a program kept in floats for a profile.

        Args:
            key: of the section.
            nodes: name of a layer -> reason.
            mixed_precision: the search that chose them, if one did.
        """
        section = self.section(key)
        layers = [
            dataclasses.replace(layer, reason=layer.reason or nodes.get(layer.node, ""))
            for layer in section.layers
        ]
        changed = dataclasses.replace(section, layers=layers, mixed_precision=mixed_precision)
        return dataclasses.replace(self, sections={**self.sections, key: changed})

    def write(self, path: str | Path) -> None:
        """Write the table, whole or not at all.

        Raises:
            OutputError: the place cannot be written.
        """
        content = self._content()
        data = strict_json.canonical({**content, "sha256": strict_json.digest(content)})
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(data + b"\n")

    def write_tensorrt_cache(self, path: str | Path, key: ProgramKey, names: Mapping[str, str]) -> None:
        """Write a TensorRT calibration cache, for builders that still take one (TensorRT 8.6 to 10).

        Each line is ``tensor: scale`` with the scale as the bits of a big-endian float32 in hexadecimal.
        ``names`` maps nodes of the program to tensors of the ONNX file that TensorRT is given.
        """
        lines = ["TRT-100-EntropyCalibration2"]
        for tensor in self.section(key).tensors:
            if tensor in names:
                bits = struct.pack(">f", self.scale(key, tensor)).hex()
                lines.append(f"{names[tensor]}: {bits}")
        with replacing(Path(path)) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii")

    def _content(self) -> dict[str, Any]:
        programs: dict[str, dict[str, Any]] = {}
        for (program, profile), section in sorted(self.sections.items(), key=lambda entry: entry[0]):
            programs.setdefault(program, {})[profile] = section.to_dict()
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "size": list(self.size),
            "scheme": self.scheme,
            "samples": dict(self.samples),
            "notes": list(self.notes),
            "programs": programs,
        }


def step(limit: float) -> float:
    """Return what one step of int8 is worth where 127 stands for ``limit``; 1 where that is 0."""
    return limit / LEVELS if limit > 0 else 1.0


def read_table(path: str | Path) -> CalibrationTable:
    """Read a table.

    Raises:
        CalibrationError: missing, too large, not a table, of another version, damaged, or edited by hand.
    """
    file = Path(path)
    data = read_bounded(file, MAX_BYTES, CalibrationError)
    try:
        return _parse(strict_json.parse(data))
    except (ValueError, KeyError, TypeError, AttributeError, FdikpEdgeError) as error:
        raise CalibrationError(f"{file}: not a usable calibration table: {error}") from error


def _parse(content: Any) -> CalibrationTable:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise wrong("format", f"is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise wrong(
            "version", f"is {content.get('version')!r:.20}; this release reads {VERSION}: calibrate again"
        )
    recorded = content.pop("sha256", None)
    if recorded != strict_json.digest(content):
        raise wrong("sha256", "does not match the content: edited by hand or damaged; calibrate again")
    if content["scheme"] not in SCHEMES:
        raise wrong("scheme", f"is none of {', '.join(SCHEMES)}")
    sections = {
        read_key(program, profile): ProgramCalibration(*read_section(section))
        for program, profiles in dict(content["programs"]).items()
        for profile, section in dict(profiles).items()
    }
    if not sections:
        raise wrong("programs", "contains no program")
    size = tuple(int(n) for n in content["size"])
    if not 1 <= len(size) <= 8 or min(size) < 1:
        raise wrong("size", f"expected 1 to 8 sizes, got {content['size']!r:.80}")
    return CalibrationTable(
        model=str(content["model"]),
        weights_sha256=str(content["weights_sha256"]),
        size=size,
        samples=dict(content["samples"]),
        sections=sections,
        scheme=content["scheme"],
        notes=tuple(map(str, content["notes"])),
    )


def calibrate_program(
    program: ExportedProgram,
    arrays: Sequence[Feed],
    leave_alone: Mapping[str, Mapping[str, str]],
    *,
    doubtful: Mapping[str, str] | None = None,
    least_work: int = LEAST_WORK,
    pictures: bool = True,
    transforms: Sequence[Transform] = (),
    progress: Progress | None = None,
) -> dict[str, ProgramCalibration]:
    """Take the ranges of one program, once for all profiles that it was lowered for.

    Args:
        program: a lowered program.
        arrays: samples as the program takes them.
        leave_alone: profile -> name of a node -> why it must stay in floats there.
        doubtful: name of a node -> why it may have to; tried on the first tiles
            (:func:`.spectral_layers.refuse_lossy_layers`).
        least_work: see :func:`.layers.find_layers`.
        pictures: whether its outputs are pictures with white at 1; see :func:`.runner.closeness_db`.
        transforms: the program's transforms, for the decision on float16.
        progress: called with (tiles done, tiles in total, message).

    Returns:
        Profile -> its section.

    Raises:
        CalibrationError: a tensor holds NaN or infinity.
    """
    layers_of = {
        name: find_layers(program, kept, least_work=least_work) for name, kept in leave_alone.items()
    }
    wanted = {name: _tensors(layers) for name, layers in layers_of.items()}
    given = list(arrays)
    together = dict.fromkeys(tensor for tensors in wanted.values() for tensor in tensors)

    def told(message: str, done: int = len(given)) -> None:
        if progress is not None:
            progress(done, len(given), message)

    def collecting(tile: int, tiles: int) -> None:
        told("collecting ranges", tile)

    seen = collect(program, list(together), given, progress=collecting)
    scales = {tensor: step(entry.ranges[DEFAULT_SCHEME]) for tensor, entry in seen.items()}
    half = decide(
        program,
        given[:HALF_TILES],
        transforms,
        pictures=pictures,
        told=lambda message: told(f"float16: {message}"),
    )
    return {
        name: ProgramCalibration(
            {tensor: seen[tensor] for tensor in wanted[name]},
            refuse_lossy_layers(
                program,
                layers,
                doubtful or {},
                scales,
                given[:TILES],
                pictures=pictures,
                told=lambda message, name=name: told(f"int8 for {name}: {message}"),  # type: ignore[misc]
            ),
            half,
        )
        for name, layers in layers_of.items()
    }


def _tensors(layers: Sequence[Layer]) -> list[str]:
    """Return the tensors that quantised layers read and make, each once, in the order of the program."""
    return list(
        dict.fromkeys(name for layer in layers if not layer.reason for name in (layer.input, layer.node))
    )


def describe_samples(samples: Samples) -> dict[str, Any]:
    """Return what a table says of the samples it was made from."""
    return {
        "sha256": samples.sha256,
        "tiles": len(samples.tiles),
        "photos": samples.photos,
        "candidates": samples.candidates,
        "radii": sorted({tile.radius for tile in samples.tiles}),
        "coverage": samples.coverage(),
    }
