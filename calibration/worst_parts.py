"""Finds the parts of a program that lose most in low precision, in a bounded number of runs.

A large network has hundreds of modules, and each trial runs the whole program. So modules are tried in at
most :data:`MOST` groups (modules under one parent, or neighbours), and then those of the bad groups by
themselves. The bound is a number of runs, not a time, so that equal inputs give equal results on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

Told = Callable[[str], None]
"""Called with a message before each run."""
MOST = 16
"""Parts that are tried by themselves in one round."""


@dataclass(frozen=True)
class Trials:
    """How a program is tried.

    ``alone``: PSNR with these nodes in low precision and all others in floats. ``without``: PSNR with these
    nodes in floats, and all others that may be in low precision so. ``wanted``: what is good enough.
    """

    alone: Callable[[Collection[str]], float]
    without: Callable[[Collection[str]], float]
    wanted: float


def worst_parts(parts: Mapping[str, Collection[str]], trials: Trials, told: Told) -> dict[str, float]:
    """Return the parts to keep in floats until the result is good enough -> PSNR of each alone.

    Args:
        parts: module path -> names of its nodes, in the order of the program.
        trials: how they are tried.
        told: called with a message before each run.

    Returns:
        The worst parts, as few as are enough; all of them where none are. A part of a group that was not
        tried by itself has the PSNR of its group.
    """
    groups = grouped(list(parts), MOST)
    chosen = _worst({name: _nodes(parts, own) for name, own in groups.items()}, trials, told)
    inside = {part: losses for name, losses in chosen.items() for part in groups[name]}
    if len(groups) == len(parts) or len(inside) > MOST or len(inside) == len(chosen):
        return inside
    return _worst({part: parts[part] for part in parts if part in inside}, trials, told)


def grouped(paths: Sequence[str], most: int) -> dict[str, list[str]]:
    """Return at most ``most`` groups of module paths by name: by the longest common depth, else by order."""
    depth = max((path.count(".") + 1 for path in paths), default=0)
    for level in range(depth, 0, -1):
        groups: dict[str, list[str]] = {}
        for path in paths:
            groups.setdefault(".".join(path.split(".")[:level]), []).append(path)
        if len(groups) <= most:
            return groups
    share = math.ceil(len(paths) / most)
    parts = [list(paths[start : start + share]) for start in range(0, len(paths), share)]
    return {f"{part[0]} to {part[-1]}": part for part in parts}


def _nodes(parts: Mapping[str, Collection[str]], own: Sequence[str]) -> set[str]:
    return {node for part in own for node in parts[part]}


def _worst(parts: Mapping[str, Collection[str]], trials: Trials, told: Told) -> dict[str, float]:
    """Return the shortest list of parts, the worst first, that is enough in floats."""
    losses: dict[str, float] = {}
    for number, (name, nodes) in enumerate(parts.items(), 1):
        told(f"part {number} of {len(parts)} alone in low precision")
        losses[name] = trials.alone(nodes)
    ranking = sorted(losses, key=lambda name: losses[name])
    low, high = 1, len(ranking)
    while low < high:
        middle = (low + high) // 2
        told(f"{middle} of {len(parts)} parts in float")
        if trials.without(_nodes(parts, ranking[:middle])) >= trials.wanted:
            high = middle
        else:
            low = middle + 1
    return {name: losses[name] for name in ranking[:high]}
