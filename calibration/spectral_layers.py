"""Whether layers of which nobody knows beforehand may compute in 8 bits: tried, on photos.

A layer on a spectrum is such a layer. One coefficient holds the sum of a whole map, and a range that fits
it may leave too few steps for the others; or not, where windows are small and features have little mean. So
the whole program is emulated with these layers in 8 bits. Where the picture is not good enough, modules are
ranked by what they alone lose, and the worst stay in floats until it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch.export import ExportedProgram

from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from .emulate import Int8Runner
from .layers import Layer
from .runner import Runner

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
    arrays: Sequence[Array],
) -> list[Layer]:
    """Return ``layers``, those that must stay in floats with their reason.

    Args:
        program: the lowered program.
        layers: of the program; those with a reason already stay as they are.
        doubtful: name of a layer that is to be tried -> why it may have to stay in floats.
        scales: step of each tensor that a layer without a reason reads.
        arrays: tiles as the program takes them.
    """
    modules: dict[str, list[Layer]] = {}
    for layer in layers:
        if not layer.reason and layer.node in doubtful:
            modules.setdefault(layer.module, []).append(layer)
    if not modules:
        return list(layers)
    expected = [Runner(program)(array) for array in arrays]

    def emulated(active: Sequence[Layer]) -> float:
        runner = Int8Runner(program, active, scales)
        return min(psnr_db(runner(array), right) for array, right in zip(arrays, expected, strict=True))

    def with_all_but(refused: Mapping[str, str]) -> float:
        return emulated([layer for layer in layers if not layer.reason and layer.node not in refused])

    refused: dict[str, str] = {}
    wanted = min(WANTED_DB, with_all_but(doubtful) - MOST_LOST_DB)
    if with_all_but(refused) < wanted:
        alone = {module: emulated(own) for module, own in modules.items()}
        for module, lost in sorted(alone.items(), key=lambda item: item[1]):
            for node in (layer.node for layer in modules[module]):
                refused[node] = f"{doubtful[node]}: {lost:.0f} dB with this module alone in 8 bits"
            if with_all_but(refused) >= wanted:
                break
    return [replace(layer, reason=layer.reason or refused.get(layer.node, "")) for layer in layers]
