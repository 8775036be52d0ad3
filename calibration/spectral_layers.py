"""Whether layers on a spectrum can compute in int8, decided by emulation on photos; patterns come after that
(:mod:`.picture_layers`).

One coefficient of a spectrum holds the sum of a whole feature map. A range that fits it may leave too few
steps for the others, unless windows are small and features have little mean. The whole program is therefore
emulated with these layers in int8. If the result is not accurate enough, modules are ranked by their own
loss, and the worst stay in float until it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch.export import ExportedProgram

from .emulate import Int8Runner
from .layers import Layer
from .runner import Feed, Runner, closeness_db
from .worst_parts import Told, Trials, worst_parts

WANTED_DB = 46.0
"""Twice (6 dB) better than the budget of 40 dB, since a photo is not one of the tiles."""
MOST_LOST_DB = 1.0
"""What these layers may cost where the others alone do not leave that much."""
TILES = 2
"""Tiles that the program is emulated on."""


def refuse_lossy_layers(
    program: ExportedProgram,
    layers: Sequence[Layer],
    doubtful: Mapping[str, str],
    scales: Mapping[str, float],
    arrays: Sequence[Feed],
    *,
    pictures: bool = True,
    told: Told = lambda message: None,
) -> list[Layer]:
    """Return ``layers``; the doubtful ones that lose too much in int8 get a reason to stay in float.

    Args:
        program: the lowered program.
        layers: of the program; those with a reason already stay as they are.
        doubtful: name of a layer to be tried in int8 -> why it may have to stay in float.
        scales: step of each tensor that a layer without a reason reads.
        arrays: tiles as the program takes them.
        pictures: as :func:`.runner.closeness_db`.
        told: called with a message before each trial.
    """
    modules: dict[str, list[str]] = {}
    for layer in layers:
        if not layer.reason and layer.node in doubtful:
            modules.setdefault(layer.module, []).append(layer.node)
    if not modules:
        return list(layers)
    expected = [Runner(program).outputs(array) for array in arrays]

    def emulated(active: Sequence[Layer]) -> float:
        runner = Int8Runner(program, active, scales)
        return min(
            closeness_db(runner.outputs(array), right, pictures=pictures)
            for array, right in zip(arrays, expected, strict=True)
        )

    def without(refused: Collection[str]) -> float:
        active = [layer for layer in layers if not layer.reason and layer.node not in refused]
        return emulated(active)

    def alone(nodes: Collection[str]) -> float:
        return emulated([layer for layer in layers if layer.node in nodes])

    told("all layers on spectra in float")
    wanted = min(WANTED_DB, without(doubtful) - MOST_LOST_DB)
    if without(()) >= wanted:
        return list(layers)
    refused: dict[str, str] = {}
    for module, lost in worst_parts(modules, Trials(alone, without, wanted), told).items():
        for node in modules[module]:
            refused[node] = f"{doubtful[node]}: {lost:.0f} dB with this module alone in 8 bits"
    return [replace(layer, reason=layer.reason or refused.get(layer.node, "")) for layer in layers]
