"""Makes the calibration table of a lowered model: says what :mod:`fdikp_edge.calibration` cannot know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from ..calibration.defocus import RADII, in_turn
from ..calibration.half import Transform
from ..calibration.layers import LEAST_WORK, LINEAR, NO_FASTER
from ..calibration.samples import DEFAULT_COUNT, Samples, choose, shipped_photos
from ..calibration.table import CalibrationTable, Key, Section, calibrate_program, describe_samples
from ..models import zoo
from ..runtime.photo import Array
from .build import LoweredModel
from .roles import ends, exposed, module_of, protected, sites_of
from .spectral import LoweredProgram
from .spectral.planner import profile as profile_of

__all__ = [
    "CalibrationTable",
    "calibrate",
    "check_table",
    "choose_samples",
    "default_radii",
    "inputs_of",
    "transforms_of",
]


def calibrate(
    models: LoweredModel | Sequence[LoweredModel],
    photos: Sequence[str | Path] | None = None,
    *,
    samples: Samples | None = None,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    least_work: int = LEAST_WORK,
    guarded: bool = True,
    sturdy: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> CalibrationTable:
    """Take ranges of a network on photos, once for each program it was lowered to, and choose the layers of
    each profile that it was lowered for.

    Args:
        models: one network at one size, lowered for one or more profiles.
        photos: files; those shipped with the package when ``None``.
        samples: tiles chosen before, instead of ``photos``; as they are.
        count: tiles to choose.
        seed: of the choice.
        least_work: layers of fewer multiply-adds stay in floats.
        guarded: leave transforms, kernel inversion, and spectra where they cost the picture too much, in
            floats; without, to see what for.
        sturdy: leave what hard pictures lose most by in floats as well (:func:`.roles.exposed`).
        progress: told (steps done, steps in all, what is being done).

    Raises:
        CalibrationError: too few photos, nothing but black, or a network that returns NaN.
        ImageError: a photo that cannot be read.
    """
    several = [models] if isinstance(models, LoweredModel) else list(models)
    first = several[0]
    chosen = samples or choose_samples(first, photos, count=count, seed=seed)
    arrays = inputs_of(first, chosen)
    programs: dict[str, dict[str, LoweredProgram]] = {}
    for program_sha256, profile, lowered in ((*model.lowered.key, model.lowered) for model in several):
        programs.setdefault(program_sha256, {})[profile] = lowered
    sections: dict[Key, Section] = {}
    for done, (program_sha256, profiles) in enumerate(programs.items()):

        def told(tile: int, tiles: int, done: int = done, names: str = ", ".join(profiles)) -> None:
            if progress is not None:
                progress(done * tiles + tile, len(programs) * tiles, f"taking ranges ({names})")

        lowered = next(iter(profiles.values()))
        found = calibrate_program(
            lowered.program,
            chosen,
            {name: _kept(own, sturdy=sturdy) if guarded else {} for name, own in profiles.items()},
            doubtful=protected(lowered)[1] if guarded else {},
            arrays=arrays,
            least_work=least_work,
            transforms=transforms_of(lowered),
            progress=told,
        )
        sections |= {(program_sha256, profile): section for profile, section in found.items()}
    return CalibrationTable(
        model=first.name,
        weights_sha256=first.weights_sha256,
        size=first.size,
        samples=describe_samples(chosen),
        sections=sections,
        notes=chosen.warnings,
    )


def check_table(table: CalibrationTable, model: nn.Module, size: tuple[int, int]) -> None:
    """Check, before any work, that a table can be for a network at a size.

    Raises:
        CalibrationError: it was made for other weights or another size.
    """
    table.check(zoo.weights_sha256(model), size)


def choose_samples(
    model: LoweredModel,
    photos: Sequence[str | Path] | None = None,
    *,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
) -> Samples:
    """Return the tiles that :func:`calibrate` would choose; its errors too.

    Those of the shipped photos, which are in focus, are put out of it in turn (:mod:`.calibration.defocus`);
    photos given by the user are taken as they are.
    """
    chosen = choose(photos or shipped_photos(), model.size, count=count, seed=seed)
    return in_turn(chosen, default_radii(photos))


def default_radii(photos: Sequence[str | Path] | None) -> Sequence[float]:
    """Return the radii in pixels that tiles of these photos are put out of focus by where nobody says any."""
    return (0.0,) if photos else RADII


def inputs_of(model: LoweredModel, samples: Samples) -> list[Array]:
    """Return tiles as a model's program takes them."""
    if model.contracts[0].dtype == "uint8":
        return [np.ascontiguousarray(tile.pixels[None]) for tile in samples.tiles]
    return samples.arrays()


def _kept(lowered: LoweredProgram, *, sturdy: bool) -> dict[str, str]:
    """Return name of a node -> why it stays in floats on the runtime that the program was lowered for."""
    costs = profile_of(lowered.plan.target)
    return {
        **ends(lowered, first=not costs.int8_first, last=not costs.int8_last),
        **(exposed(lowered) if sturdy else {}),
        **({} if costs.int8_products else _products(lowered)),
        **protected(lowered)[0],
    }


def _products(lowered: LoweredProgram) -> dict[str, str]:
    """Return name of a product with weights -> why it stays in floats, for a runtime that gains nothing."""
    names = (node.name for node in lowered.program.graph.nodes if str(node.target) == LINEAR)
    return dict.fromkeys(names, NO_FASTER)


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
            nodes=tuple(found),
            inputs=tuple(sorted(inputs.get(name, ()))),
            gain=max(1.0, *rows[name].site.gains),
        )
        for name, found in nodes.items()
        if name in rows
    ]
