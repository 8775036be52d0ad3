"""Makes the calibration table of a lowered model: says what :mod:`fdikp_edge.calibration` cannot know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.defocus import in_turn
from ..calibration.fp16_islands import HALF_TILES, Transform
from ..calibration.layer_kinds import TRANSPOSED
from ..calibration.layers import (
    LEAST_WORK,
    NO_FASTER,
    NO_FASTER_TRANSPOSED,
    NOT_MEASURED,
    kind_of,
    module_of,
    stored_tensors,
)
from ..calibration.runner import Feed
from ..calibration.samples import DEFAULT_COUNT, Samples, choose, shipped_photos
from ..calibration.table import (
    CalibrationTable,
    ProgramCalibration,
    ProgramKey,
    calibrate_program,
    describe_samples,
)
from ..models.sources.base import NetworkSource
from ..runtime.inputs import Sample
from ..runtime.photo import Array
from ..runtime.pixels import as_input
from ..runtime.progress import Progress
from .inputs import has_samples, samples_of
from .lowered import LoweredModel
from .onnx.source.calibrate import calibrate_section
from .onnx.source.program import OnnxProgram
from .picture_layers import judged_on_pictures, with_picture_layers
from .profile import Profile
from .roles import ends, exposed, protected, sites_of
from .spectral import LoweredProgram
from .spectral.planner import profile as profile_of

__all__ = [
    "CalibrationTable",
    "Samples",
    "calibrate",
    "choose_samples",
    "default_radii",
    "inputs_of",
    "transforms_of",
]

NOISE_WARNING = "no samples were given: ranges are those of noise, from which int8 is not built"


def calibrate(
    models: LoweredModel | Sequence[LoweredModel],
    photos: Sequence[str | Path] | None = None,
    *,
    samples: Samples | Sequence[Sample] | None = None,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    least_work: int = LEAST_WORK,
    guarded: bool = True,
    protect_outliers: bool = False,
    for_int8: bool = True,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Collect a network's activation ranges on photos, once per lowered program, and choose the int8 layers
    of each profile.

    Args:
        models: one network at one size, lowered for one or more profiles.
        photos: files, for a network that takes one picture in colours; those shipped with the package when
            ``None``. Any other network is run on its source's samples, or else on noise, from which no int8
            model is built.
        samples: tiles chosen before, instead of ``photos``, or arrays by the name of inputs; as they are.
        count: tiles to choose.
        seed: of the choice.
        least_work: layers of fewer multiply-adds stay in floats.
        guarded: leave transforms, kernel inversion, and spectra where they cost the picture too much, in
            floats; without, to see what for.
        protect_outliers: also keep layers sensitive to hard test patterns in float (:func:`.roles.exposed`).
        for_int8: without, the table serves fp16 alone (:meth:`.CalibrationTable.for_fp16`): the network runs
            on the first tiles only, those that float16 is judged on, and no layers are chosen.
        progress: called with (steps done, steps in total, message).

    Raises:
        CalibrationError: too few photos, nothing but black, or a network that returns NaN on
            the tiles that it runs on.
        BadInputError: photos for a network that takes something else, or samples that do not fit.
        ImageError: a photo that cannot be read.
    """
    several = [models] if isinstance(models, LoweredModel) else list(models)
    first = several[0]
    chosen = Chosen.of(first, photos, samples, count=count, seed=seed)
    used = chosen.feeds if for_int8 else chosen.feeds[:HALF_TILES]
    programs: dict[str, dict[str, LoweredProgram]] = {}
    for program_sha256, profile, lowered in ((*model.lowered.key, model.lowered) for model in several):
        programs.setdefault(program_sha256, {})[profile] = lowered
    sections: dict[ProgramKey, ProgramCalibration] = {}
    for done, (program_sha256, profiles) in enumerate(programs.items()):

        def told(tile: int, tiles: int, now: str, done: int = done, names: str = ", ".join(profiles)) -> None:
            if progress is not None:
                progress(done * tiles + tile, len(programs) * tiles, f"{now} ({names})")

        def ranges(tile: int, tiles: int, told: Progress = told) -> None:
            told(tile, tiles, "collecting ranges")

        lowered = next(iter(profiles.values()))
        if isinstance(lowered, OnnxProgram):
            feeds = [[feed] if isinstance(feed, np.ndarray) else feed for feed in used]
            named = [dict(zip(lowered.input_names, feed, strict=True)) for feed in feeds]
            for own in profiles.values():
                assert isinstance(own, OnnxProgram), "profiles of one hash are of one kind"
                sections[own.key] = calibrate_section(own, named, least_work=least_work, progress=ranges)
            continue
        calibrated = calibrate_program(
            lowered.program,
            used,
            {
                name: _kept(own, protect_outliers=protect_outliers) if guarded else {}
                for name, own in profiles.items()
            },
            doubtful=protected(lowered)[1] if guarded and for_int8 else {},
            least_work=least_work,
            pictures=all(end.has_colors for end in first.outputs),
            transforms=transforms_of(lowered),
            progress=told,
        )
        sections |= {(program_sha256, profile): section for profile, section in calibrated.items()}
    if guarded and for_int8 and judged_on_pictures(first):

        def told_pictures(message: str) -> None:
            if progress is not None:
                progress(len(used), len(used), f"int8: {message}")

        sections = with_picture_layers(several, sections, used, told=told_pictures)
    table = CalibrationTable(
        model=first.name,
        weights_sha256=first.weights_sha256,
        size=first.size,
        samples=chosen.description,
        sections=sections,
        notes=chosen.warnings,
    )
    return table if for_int8 else table.for_fp16()


@dataclass(frozen=True)
class Chosen:
    """What a network is calibrated on: the inputs in order, what a table says of them, and warnings."""

    feeds: Sequence[Feed]
    description: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: LoweredModel,
        photos: Sequence[str | Path] | None,
        samples: Samples | Sequence[Sample] | None,
        *,
        count: int,
        seed: int,
    ) -> Chosen:
        """Choose samples; arguments and errors as :func:`calibrate` has them."""
        if samples is None and model.takes_photos and (photos or model.source.samples is None):
            samples = choose_samples(model, photos, count=count, seed=seed)
        if isinstance(samples, Samples):
            return cls(inputs_of(model, samples), describe_samples(samples), samples.warnings)
        given = samples_of(model.source, model.inputs, photos or ()) if samples is None else samples
        return cls.of_arrays(
            model, given, noise=samples is None and not has_samples(model.source, model.inputs)
        )

    @classmethod
    def of_arrays(cls, model: LoweredModel, samples: Sequence[Sample], *, noise: bool = False) -> Chosen:
        """Take samples as they are; ``noise`` says that nobody gave them."""
        digest = hashlib.sha256()
        feeds = []
        for sample in samples:
            feeds.append([np.ascontiguousarray(sample.arrays[end.name]) for end in model.inputs])
            for array in feeds[-1]:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(array.tobytes())
        description = {
            "sha256": digest.hexdigest(),
            "tiles": len(feeds),
            "photos": 0,
            "candidates": len(feeds),
            "radii": [0.0],
            "coverage": {},
            **({"noise": True} if noise else {}),
        }
        return cls(feeds, description, (NOISE_WARNING,) if noise else ())


def choose_samples(
    model: LoweredModel,
    photos: Sequence[str | Path] | None = None,
    *,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
) -> Samples:
    """Return the tiles that :func:`calibrate` would choose; its errors too.

    Those of the shipped photos, which are in focus, are put out of it in turn, by as much as the network's
    source says (:mod:`..calibration.defocus`); photos given by the user are taken as they are.
    """
    chosen = choose(photos or shipped_photos(), model.inputs[0].size, count=count, seed=seed)
    return in_turn(chosen, default_radii(photos, model.source))


def default_radii(photos: Sequence[str | Path] | None, source: NetworkSource) -> Sequence[float]:
    """Return the default defocus radii, in pixels, for tiles of these photos."""
    return (0.0,) if photos else source.defocus


def inputs_of(model: LoweredModel, samples: Samples) -> list[Array]:
    """Return tiles as a model's program takes them."""
    return [as_input(tile.pixels, model.inputs[0]) for tile in samples.tiles]


def _kept(lowered: LoweredProgram, *, protect_outliers: bool) -> dict[str, str]:
    """Return name of a node -> why it stays in floats on the runtime that the program was lowered for."""
    costs = profile_of(lowered.plan.target)
    return {
        **ends(lowered, first=not costs.int8_first, last=not costs.int8_last),
        **(exposed(lowered) if protect_outliers else {}),
        **_without_gain(lowered, costs),
        **protected(lowered)[0],
    }


def _without_gain(lowered: LoweredProgram, costs: Profile) -> dict[str, str]:
    """Return name of a layer -> why it stays in floats, for kinds of layers that gain nothing from 8 bits."""
    program = lowered.program
    stored = stored_tensors(program)
    kinds = {node.name: kind.name for node in program.graph.nodes if (kind := kind_of(node, stored))}
    return {
        name: _no_gain(kind, kind in costs.int8_stored)
        for name, kind in kinds.items()
        if kind not in costs.int8_kinds
    }


def _no_gain(kind: str, weights_only: bool) -> str:
    if not weights_only:
        return NOT_MEASURED.format(kind=kind)
    return NO_FASTER_TRANSPOSED if kind == TRANSPOSED else NO_FASTER


def transforms_of(lowered: LoweredProgram) -> list[Transform]:
    """Return the transforms of a program with their nodes and gains."""
    sites = sites_of(lowered)
    rows = {row.site.name: row for row in lowered.audit.rows}
    nodes: dict[str, list[str]] = {}
    inputs: dict[str, set[str]] = {}
    modules: dict[str, str] = {}
    for node in lowered.program.graph.nodes:
        name = sites.get(node.name)
        if name is None:
            continue
        nodes.setdefault(name, []).append(node.name)
        modules[name] = module_of(node)
        for source in node.all_input_nodes:
            if sites.get(source.name) != name and not source.name.startswith("b_spectral_"):
                inputs.setdefault(name, set()).add(source.name)
    return [
        Transform(
            site=name,
            module=modules[name],
            nodes=tuple(members),
            inputs=tuple(sorted(inputs.get(name, ()))),
            gain=max(1.0, *rows[name].site.gains),
        )
        for name, members in nodes.items()
        if name in rows
    ]
