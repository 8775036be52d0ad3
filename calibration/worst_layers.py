"""Layers that take most of a picture's error for their work: they stay in floats, as many as a bound allows.

A few layers, seldom the large ones, make nearly all of an int8 picture's error. They are named by their share
of it (:mod:`.attribution`), and kept in floats while a fixed part of the multiply-adds lasts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch.export import ExportedProgram

from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from .attribution import error_shares
from .emulate import Int8Runner
from .layers import Layer
from .runner import Feed, Runner
from .worst_parts import Told

ROUNDS = 3
"""How often the worst pictures are looked at."""
TOGETHER = 2
"""Pictures that are looked at in one round."""
LEAST_GAIN = 3.0
"""How much larger a layer's part of the error must be than its part of the multiply-adds."""
LEAST_PART = 0.01
"""Part of the error below which a layer is not worth it."""
CALL = 0.002
"""Part of all work that a call counts as beside its multiply-adds: it reads and writes its tensors, too."""


@dataclass(frozen=True)
class Bound:
    """What is asked of the pictures, and what it may take.

    ``wanted_db``: PSNR from the float result that each should have. ``most_work``: part of the multiply-adds
    of the int8 layers that may go back to floats. ``least_gain_db``: a round must gain more than
    this times the number of pictures that it looks at, summed over all that were below the bound at first,
    each counted as in :meth:`mean`. ``what``: the pictures' name in messages. ``reason``: why their layers
    are in floats.
    """

    wanted_db: float
    most_work: float
    least_gain_db: float
    what: str
    reason: str

    def mean(self, levels: Mapping[int, float]) -> float:
        """Return the mean of PSNRs in dB, each counted up to :attr:`wanted_db`."""
        return sum(min(level, self.wanted_db) for level in levels.values()) / len(levels)


class Pictures:
    """A program's int8 results on some pictures beside its float ones, by emulation."""

    def __init__(
        self,
        program: ExportedProgram,
        scales: Mapping[str, float],
        feeds: Sequence[Feed],
        *,
        rounded_results: bool = False,
        limits: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Run the program in floats.

        Args:
            program: with one output, a picture.
            scales: step of each tensor that a layer in 8 bits reads or makes.
            feeds: the pictures as the program takes them.
            rounded_results: whether convolutions in 8 bits return 8 bits.
            limits: black and white of the output.
        """
        self.program, self.scales, self.feeds = program, scales, feeds
        self.rounded_results, self.limits = rounded_results, limits
        runner = Runner(program)
        self.expected = [runner(feed) for feed in feeds]

    def levels(self, layers: Collection[Layer], which: Iterable[int]) -> dict[int, float]:
        """Return number of a picture -> PSNR in dB with these layers in 8 bits."""
        runner = Int8Runner(self.program, layers, self.scales, rounded_results=self.rounded_results)
        return {index: self._db(runner(self.feeds[index]), self.expected[index]) for index in which}

    def shares(self, layers: Collection[Layer], which: Sequence[int]) -> dict[str, float]:
        """Return name of a layer's node -> its part of each picture's error, in the mean.

        Parts and not errors, so that the worst picture does not hide the others.
        """
        parts = dict.fromkeys((layer.node for layer in layers), 0.0)
        for index in which:
            shares = error_shares(
                self.program,
                layers,
                self.scales,
                self.feeds[index],
                self.expected[index],
                self.limits,
                rounded_results=self.rounded_results,
            )
            whole = sum(shares.values())
            if whole <= 0:  # nothing to go by
                continue
            for name, share in shares.items():
                parts[name] += share / whole / len(which)
        return parts

    def _db(self, actual: Array, expected: Array) -> float:
        low, high = self.limits
        actual, expected = (((array - low) / (high - low)).clip(0, 1) for array in (actual, expected))
        return psnr_db(actual, expected)


def worst_layers(
    pictures: Pictures, layers: Sequence[Layer], levels: Mapping[int, float], bound: Bound, told: Told
) -> dict[str, str]:
    """Return name of a node -> why this layer stays in floats; empty where every picture is good enough.

    Args:
        pictures: what the layers are judged on.
        layers: those in 8 bits.
        levels: number of a picture -> PSNR in dB with all of them in 8 bits.
        bound: what is asked, and what it may take.
        told: called with a message before each round.
    """
    kept: dict[str, str] = {}
    work = sum(layer.macs for layer in layers)
    levels = {index: db for index, db in levels.items() if db < bound.wanted_db}
    for number in range(ROUNDS):
        below = [index for index, db in levels.items() if db < bound.wanted_db]
        worst = sorted(below, key=lambda index: levels[index])[:TOGETHER]
        rest = [layer for layer in layers if layer.node not in kept]
        left = bound.most_work * work - (work - sum(layer.macs for layer in rest))
        if not worst:
            break
        told(f"{bound.what} at {levels[worst[0]]:.0f} dB, round {number + 1} of {ROUNDS}")
        missing = bound.wanted_db - levels[worst[0]]
        more = dict.fromkeys(_worth(rest, pictures.shares(rest, worst), left, work, missing), bound.reason)
        if not more:
            break
        now = pictures.levels([layer for layer in rest if layer.node not in more], levels)
        least = bound.least_gain_db * len(worst) / len(levels)
        if bound.mean(now) <= bound.mean(levels) + least:
            break
        kept, levels = {**kept, **more}, now
    return kept


def _worth(
    layers: Sequence[Layer], parts: Mapping[str, float], left: float, work: int, missing: float
) -> list[str]:
    """Return the nodes that cause most of the error for their work, until it is ``missing`` dB smaller.

    And 3 dB more, since shares are estimates.
    """
    remaining, kept = 1.0, []
    enough = 10 ** (-missing / 10) / 2
    for layer in sorted(layers, key=lambda layer: -parts[layer.node] / (layer.macs / work + CALL)):
        part = parts[layer.node]
        if remaining <= enough or part <= LEAST_PART:
            break
        if layer.macs > left or part < LEAST_GAIN * layer.macs / work:
            continue
        left, remaining = left - layer.macs, remaining - part
        kept.append(layer.node)
    return kept
