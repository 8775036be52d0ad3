"""Makes the calibration table of a lowered model: says what :mod:`fdikp_edge.calibration` cannot know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..calibration import evaluation_pairs
from ..calibration.defocus import RADII, in_turn
from ..calibration.fp16_islands import Transform
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
from ..calibration.mixed_precision import Bounds, LayerTime, MixedPrecision, Times
from ..calibration.mixed_precision_search import search, times_by_work
from ..calibration.samples import DEFAULT_COUNT, Samples, choose, shipped_photos
from ..calibration.table import (
    CalibrationTable,
    ProgramCalibration,
    ProgramKey,
    calibrate_program,
    describe_samples,
)
from ..models import zoo
from ..runtime.photo import Array
from ..runtime.pixels import as_input
from ..runtime.progress import Progress
from .lowered import LoweredModel
from .profile import Profile
from .roles import ends, exposed, protected, sites_of
from .spectral import LoweredProgram
from .spectral.planner import profile as profile_of
from .target import Target

__all__ = [
    "Bounds",
    "CalibrationTable",
    "LayerTime",
    "MixedPrecision",
    "Samples",
    "Times",
    "calibrate",
    "check_table",
    "choose_mixed_precision",
    "choose_samples",
    "default_radii",
    "estimated",
    "in_file",
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
    protect_outliers: bool = False,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Collect a network's activation ranges on photos, once per lowered program, and choose the int8 layers
    of each profile.

    Args:
        models: one network at one size, lowered for one or more profiles.
        photos: files; those shipped with the package when ``None``.
        samples: tiles chosen before, instead of ``photos``; as they are.
        count: tiles to choose.
        seed: of the choice.
        least_work: layers of fewer multiply-adds stay in floats.
        guarded: leave transforms, kernel inversion, and spectra where they cost the picture too much, in
            floats; without, to see what for.
        protect_outliers: also keep layers sensitive to hard test patterns in float (:func:`.roles.exposed`).
        progress: called with (steps done, steps in total, message).

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
    sections: dict[ProgramKey, ProgramCalibration] = {}
    for done, (program_sha256, profiles) in enumerate(programs.items()):

        def told(tile: int, tiles: int, now: str, done: int = done, names: str = ", ".join(profiles)) -> None:
            if progress is not None:
                progress(done * tiles + tile, len(programs) * tiles, f"{now} ({names})")

        lowered = next(iter(profiles.values()))
        found = calibrate_program(
            lowered.program,
            chosen,
            {
                name: _kept(own, protect_outliers=protect_outliers) if guarded else {}
                for name, own in profiles.items()
            },
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

    Those of the shipped photos, which are in focus, are put out of it in turn (:mod:`..calibration.defocus`);
    photos given by the user are taken as they are.
    """
    chosen = choose(photos or shipped_photos(), model.size, count=count, seed=seed)
    return in_turn(chosen, default_radii(photos))


def default_radii(photos: Sequence[str | Path] | None) -> Sequence[float]:
    """Return the default defocus radii, in pixels, for tiles of these photos."""
    return (0.0,) if photos else RADII


def inputs_of(model: LoweredModel, samples: Samples) -> list[Array]:
    """Return tiles as a model's program takes them."""
    return [as_input(tile.pixels, model.contracts[0]) for tile in samples.tiles]


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
            nodes=tuple(found),
            inputs=tuple(sorted(inputs.get(name, ()))),
            gain=max(1.0, *rows[name].site.gains),
        )
        for name, found in nodes.items()
        if name in rows
    ]


_FUSED_INTO = {"Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
"""What runtimes compute together with the layer before it, and then call by this node's name."""
ESTIMATE = "an estimate by multiply-adds, not measured"


def choose_mixed_precision(
    model: LoweredModel,
    table: CalibrationTable,
    bounds: Bounds,
    target: Target,
    times: Times,
    *,
    samples: Samples | None = None,
    pairs: str | Path | None = None,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Return the table with as many layers in float as the bounds require.

    See :func:`fdikp_edge.calibration.mixed_precision_search.search`.

    Args:
        model: lowered for the target.
        table: its calibration table.
        bounds: what to keep.
        target: whose int8 files are emulated.
        times: of its float and int8 files.
        samples: tiles to defocus and restore, where there are no pairs; of the shipped photos when ``None``.
        pairs: a folder of pairs of photos, see :func:`..calibration.evaluation_pairs.of_pairs`.
        progress: called with (steps done, steps in total, message).

    Raises:
        CheckFailedError: the bounds cannot be met.
        CalibrationError: the table is of another program or profile, or the pairs do not fit.
    """
    dtype = model.contracts[0].dtype
    if pairs is not None:
        chosen = evaluation_pairs.of_pairs(pairs, model.size, dtype=dtype)
    else:
        chosen = evaluation_pairs.of_samples(samples or choose(shipped_photos(), model.size), dtype=dtype)
    return search(
        model.lowered.program,
        table,
        model.lowered.key,
        chosen,
        times,
        bounds,
        rounded_results=target.rounds_results,
        weight_levels=target.weight_levels,
        progress=progress,
    )


def estimated(model: LoweredModel, table: CalibrationTable, times: Times) -> Times:
    """Return times with an estimate per layer, for runtimes that report none."""
    section = table.section(model.lowered.key)
    nodes = [layer.node for layer in section.quantised()]
    return Times(**{**vars(times), "source": ESTIMATE, "layers": times_by_work(section.layers, nodes, times)})


def in_file(model: LoweredModel) -> Mapping[str, str]:
    """Return what a layer may be called in files and by runtimes -> its node of the program.

    A layer is called by its node of the ONNX graph, by that node's output, or, where a runtime fuses it with
    what follows, by names of that.
    """
    from .onnx.build import convert
    from .onnx.checks import LAYERS, source_node

    found: dict[str, str] = {}
    for as_calibrated in (False, True):  # float files, int8 files
        graph, _ = convert(model.lowered.program, as_calibrated=as_calibrated)
        nodes = list(graph.graph.node)
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(nodes):
            for name in node.input:
                readers.setdefault(name, []).append(index)
        for node in nodes:
            if node.op_type not in LAYERS or not (layer := source_node(node)):
                continue
            names = [node.name, node.output[0]]
            follows = node
            for _ in range(2):
                after = readers.get(follows.output[0], [])
                if len(after) != 1 or nodes[after[0]].op_type not in _FUSED_INTO:
                    break
                follows = nodes[after[0]]
                names += [follows.name, follows.output[0]]
            for name in names:
                found.setdefault(name, layer)
    return found


def plain_name(name: str) -> str:
    """Return a runtime's name of an operator without what the runtime put around it."""
    name = re.sub(r"^fused |/.*$|_kernel_time$", "", name)
    return re.sub(r"_nchwc$|_token_\d+$", "", name)
