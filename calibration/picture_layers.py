"""Layers that stay in floats because rounding them ruins gratings, checkerboards and noise, or costs photos
more than their work is worth.

Photographs hold little near the Nyquist frequency, so ranges taken from them clip what such patterns make,
and a network may enlarge rounding there by 25 dB. The layers that cost most of it stay in floats
(:mod:`.worst_layers`). Of the pictures that ``verify --worst-case`` starts with, the patterns hold the three
that change from each pixel to the next.

Layers on spectra come first and are not counted: a grating puts all that a window holds into one
coefficient, so that only some of them can compute in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from torch.export import ExportedProgram

from .attribution import memory_for
from .layers import Layer
from .runner import Feed
from .worst_layers import Bound, Pictures, worst_layers
from .worst_parts import Told, Trials, worst_parts

PATTERNS = Bound(
    wanted_db=42.0,
    most_work=0.05,
    least_gain_db=0.0,
    what="test pattern",
    reason="its rounding ruins gratings and checkerboards",
)
"""2 dB better than int8's budget of 40 dB, since most pictures are none of the patterns."""
PHOTOS = Bound(
    wanted_db=49.0,
    most_work=0.15,
    least_gain_db=0.3,
    what="photo",
    reason="its rounding causes much of the error on photos, for little work",
)
"""An error of one 8-bit step in the root mean square is 20 log10(255) = 48.1 dB. The photos are those that
ranges are taken from, so that others clip a little more: with 48 dB the worst of 26 pairs had 47.7. With 5 %
of the work the worst had 45.8 dB; 15 % made a call in ONNX Runtime or OpenVINO at most 4 % longer."""
SPECTRAL_DB = 3.0
"""What a pattern must lose by layers on spectra in 8 bits for them to be looked at."""
SPECTRAL_LOST_DB = 1.0
"""What those that stay in 8 bits may cost the lowest of these patterns: in the mean, each level counted up to
the wanted one."""
SPECTRAL_PATTERNS = 4
"""How many of these patterns, the lowest first, are tried."""
MOST_BYTES = 6 * 1024**3
"""Programs that would take more memory to be looked into are left as they are."""


def keep_for_pictures(
    program: ExportedProgram,
    layers: Sequence[Layer],
    scales: Mapping[str, float],
    feeds: Sequence[Feed],
    *,
    photos: Sequence[Feed] = (),
    spectral: Collection[str] = (),
    rounded_results: bool = False,
    limits: tuple[float, float] = (0.0, 1.0),
    told: Told = lambda message: None,
) -> dict[str, str]:
    """Return name of a node -> why this layer stays in floats; empty where every picture is good enough.

    Args:
        program: with one output, a picture.
        layers: of the program; those with a reason are in floats already.
        scales: step of each tensor that a layer without a reason reads or makes.
        feeds: patterns as the program takes them.
        photos: photos as the program takes them, looked at after the patterns.
        spectral: names of the nodes of layers on spectra.
        rounded_results: whether convolutions in 8 bits return 8 bits.
        limits: black and white of the output.
        told: called with a message before each trial.
    """
    if memory_for(program) > MOST_BYTES:
        return {}
    active = [layer for layer in layers if not layer.reason]
    if not active:
        return {}

    def emulated(pictures: Sequence[Feed]) -> Pictures:
        return Pictures(program, scales, pictures, rounded_results=rounded_results, limits=limits)

    told("test patterns in 8 bits")
    kept = _for_patterns(emulated(feeds), active, spectral, told)
    rest = [layer for layer in active if layer.node not in kept]
    if not photos or not rest:
        return kept
    told("photos in 8 bits")
    seen = emulated(photos)
    return kept | worst_layers(seen, rest, seen.levels(rest, range(len(photos))), PHOTOS, told)


def _for_patterns(
    patterns: Pictures, active: Sequence[Layer], spectral: Collection[str], told: Told
) -> dict[str, str]:
    """Return what patterns keep in floats: layers on spectra first, then others."""

    def tried(kept: Collection[str], which: Iterable[int]) -> dict[int, float]:
        return patterns.levels([layer for layer in active if layer.node not in kept], which)

    levels = tried((), range(len(patterns.feeds)))
    modules: dict[str, list[str]] = {}
    for layer in active:
        if layer.node in spectral:
            modules.setdefault(layer.module, []).append(layer.node)
    kept = worst_spectral_layers(modules, levels, tried, {layer.node for layer in active}, told)
    levels = tried(kept, levels) if kept else levels
    rest = [layer for layer in active if layer.node not in kept]
    return kept | worst_layers(patterns, rest, levels, PATTERNS, told)


def worst_spectral_layers(
    modules: Mapping[str, Collection[str]],
    levels: Mapping[int, float],
    tried: Callable[[Collection[str], Iterable[int]], dict[int, float]],
    active: Collection[str],
    told: Told,
) -> dict[str, str]:
    """Return the layers on spectra that stay in floats for patterns: module by module, the worst first.

    Args:
        modules: path of a module on spectra -> names of its layers' nodes.
        levels: number of a pattern -> PSNR in dB with every layer in 8 bits.
        tried: the same with some nodes in floats, for some patterns.
        active: names of the nodes of all layers in 8 bits.
        told: called with a message before each trial.
    """
    spectral = {node for nodes in modules.values() for node in nodes}
    below = [index for index, db in levels.items() if db < PATTERNS.wanted_db]
    if not spectral or not below:
        return {}
    told("layers on spectra in floats, for patterns")
    in_floats = tried(spectral, below)
    affected = [index for index in below if in_floats[index] >= levels[index] + SPECTRAL_DB]
    affected = sorted(affected, key=lambda index: levels[index])[:SPECTRAL_PATTERNS]
    if not affected:
        return {}

    def alone(nodes: Collection[str]) -> float:
        reached = tried(set(active) - set(nodes), affected)
        return sum(reached.values()) / len(reached)  # without a limit: most are above the wanted level alone

    def without(nodes: Collection[str]) -> float:
        return PATTERNS.mean(tried(nodes, affected))

    wanted = PATTERNS.mean({index: in_floats[index] for index in affected}) - SPECTRAL_LOST_DB
    if PATTERNS.mean({index: levels[index] for index in affected}) >= wanted:
        return {}
    refused = worst_parts(modules, Trials(alone, without, wanted), told)
    return {node: PATTERNS.reason for module in refused for node in modules[module]}
