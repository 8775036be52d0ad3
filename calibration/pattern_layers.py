"""Layers that stay in floats because rounding them ruins gratings, checkerboards and noise.

Photographs hold little near the Nyquist frequency, so ranges taken from them clip what such patterns make,
and a network may enlarge rounding there by 25 dB. A few layers, seldom the large ones, make nearly all of
that error. They are named by their share of it (:mod:`.attribution`) and kept in floats, as many as a fixed
part of the multiply-adds allows. Of the pictures that ``verify --worst-case`` starts with, the patterns hold
the three that change from each pixel to the next.

Layers on spectra come first and are not counted: a grating puts all that a window holds into one
coefficient, so that only some of them can compute in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from torch.export import ExportedProgram

from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from .attribution import error_shares, memory_for
from .emulate import Int8Runner
from .layers import Layer
from .runner import Feed, Runner
from .worst_parts import Told, Trials, worst_parts

WANTED_DB = 42.0
"""2 dB better than int8's budget of 40 dB, since most pictures are none of the patterns."""
MOST_WORK = 0.05
"""Part of the multiply-adds of the int8 layers that may go back to floats, besides those on spectra."""
ROUNDS = 3
"""How often the worst patterns are looked at."""
TOGETHER = 2
"""Patterns that are looked at in one round."""
LEAST_GAIN = 3.0
"""How much larger a layer's part of the error must be than its part of the multiply-adds."""
LEAST_PART = 0.01
"""Part of the error below which a layer is not worth it."""
SPECTRAL_DB = 3.0
"""What a pattern must lose by layers on spectra in 8 bits for them to be looked at."""
SPECTRAL_LOST_DB = 1.0
"""What those that stay in 8 bits may cost the lowest of these patterns: in the mean, each level counted up to
:data:`WANTED_DB`."""
SPECTRAL_PATTERNS = 4
"""How many of these patterns, the lowest first, are tried."""
CALL = 0.002
"""Part of all work that a call counts as beside its multiply-adds: it reads and writes its tensors, too."""
MOST_BYTES = 6 * 1024**3
"""Programs that would take more memory to be looked into are left as they are."""
REASON = "its rounding ruins gratings and checkerboards"


def keep_for_patterns(
    program: ExportedProgram,
    layers: Sequence[Layer],
    scales: Mapping[str, float],
    feeds: Sequence[Feed],
    *,
    spectral: Collection[str] = (),
    limits: tuple[float, float] = (0.0, 1.0),
    told: Told = lambda message: None,
) -> dict[str, str]:
    """Return name of a node -> why this layer stays in floats; empty where every pattern is good enough.

    Args:
        program: with one output, a picture.
        layers: of the program; those with a reason are in floats already.
        scales: step of each tensor that a layer without a reason reads or makes.
        feeds: patterns as the program takes them.
        spectral: names of the nodes of layers on spectra.
        limits: black and white of the output.
        told: called with a message before each trial.
    """
    if memory_for(program) > MOST_BYTES:
        return {}
    active = [layer for layer in layers if not layer.reason]
    if not active:
        return {}
    float_runner = Runner(program)
    expected = [float_runner(feed) for feed in feeds]

    def tried(kept: Collection[str], which: Iterable[int]) -> dict[int, float]:
        rest = [layer for layer in active if layer.node not in kept]
        runner = Int8Runner(program, rest, scales, rounded_results=True)
        return {index: _db(runner(feeds[index]), expected[index], limits) for index in which}

    told("test patterns in 8 bits")
    levels = tried((), range(len(feeds)))
    modules: dict[str, list[str]] = {}
    for layer in active:
        if layer.node in spectral:
            modules.setdefault(layer.module, []).append(layer.node)
    kept = worst_spectral_layers(modules, levels, tried, {layer.node for layer in active}, told)
    active = [layer for layer in active if layer.node not in kept]
    work = sum(layer.macs for layer in active)
    levels = tried(kept, levels) if kept else levels
    levels = {index: db for index, db in levels.items() if db < WANTED_DB}
    for number in range(ROUNDS):
        below = [index for index, db in levels.items() if db < WANTED_DB]
        worst = sorted(below, key=lambda index: levels[index])[:TOGETHER]
        rest = [layer for layer in active if layer.node not in kept]
        left = MOST_WORK * work - (work - sum(layer.macs for layer in rest))
        if not worst:
            break
        told(f"test pattern at {levels[worst[0]]:.0f} dB, round {number + 1} of {ROUNDS}")
        # As parts of the whole error of each pattern, so that the worst one does not hide the others.
        parts = dict.fromkeys((layer.node for layer in rest), 0.0)
        for index in worst:
            shares = error_shares(program, rest, scales, feeds[index], expected[index], limits)
            whole = sum(shares.values())
            if whole <= 0:  # nothing to go by
                continue
            for name, share in shares.items():
                parts[name] += share / whole / len(worst)
        more = _worth(rest, parts, left, work, levels[worst[0]])
        now = tried({**kept, **more}, levels) if more else levels
        if _mean(now) <= _mean(levels):
            break
        kept, levels = {**kept, **more}, now
    return kept


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
    below = [index for index, db in levels.items() if db < WANTED_DB]
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
        return sum(reached.values()) / len(reached)  # without a limit: most are above WANTED_DB alone

    def without(nodes: Collection[str]) -> float:
        return _mean(tried(nodes, affected))

    wanted = _mean({index: in_floats[index] for index in affected}) - SPECTRAL_LOST_DB
    if _mean({index: levels[index] for index in affected}) >= wanted:
        return {}
    refused = worst_parts(modules, Trials(alone, without, wanted), told)
    return {node: REASON for module in refused for node in modules[module]}


def _worth(
    layers: Sequence[Layer], parts: Mapping[str, float], left: float, work: int, db: float
) -> dict[str, str]:
    """Return the layers that take most of the error for their work, until little enough of it remains."""
    remaining, kept = 1.0, {}
    enough = 10 ** ((db - WANTED_DB) / 10) / 2
    for layer in sorted(layers, key=lambda layer: -parts[layer.node] / (layer.macs / work + CALL)):
        part = parts[layer.node]
        if remaining <= enough or part <= LEAST_PART:
            break
        if layer.macs > left or part < LEAST_GAIN * layer.macs / work:
            continue
        left, remaining = left - layer.macs, remaining - part
        kept[layer.node] = REASON
    return kept


def _mean(levels: Mapping[int, float]) -> float:
    return sum(min(level, WANTED_DB) for level in levels.values()) / len(levels)


def _db(actual: Array, expected: Array, limits: tuple[float, float]) -> float:
    low, high = limits
    actual, expected = (((array - low) / (high - low)).clip(0, 1) for array in (actual, expected))
    return psnr_db(actual, expected)
