"""Keeps in floats what rounding makes gratings and checkerboards lose: the patterns, and where it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..calibration.pattern_layers import keep_for_patterns
from ..calibration.table import DEFAULT_SCHEME, ProgramCalibration, step
from ..calibration.worst_parts import Told
from ..models.patterns import WHITE, gratings, patterns
from ..runtime.photo import Array
from ..runtime.pixels import as_input

if TYPE_CHECKING:
    from .lowered import LoweredModel

DRAWN = 5
"""Patterns that are drawn, besides those of the gratings contrast."""


def with_pattern_layers(
    model: LoweredModel, sections: Mapping[str, ProgramCalibration], *, told: Told = lambda message: None
) -> dict[str, ProgramCalibration]:
    """Return the sections of one program with the layers that patterns need kept in floats in each.

    Networks that take no photo or return no single picture are left as they are.

    Args:
        model: lowered; the sections are of its program.
        sections: profile -> section.
        told: called with a message before each trial.
    """
    if not model.takes_photos or len(model.outputs) != 1 or not model.outputs[0].has_colors:
        return dict(sections)
    # One search for all profiles: what any of them computes in 8 bits, with ranges that they share.
    ranges = {name: seen for section in sections.values() for name, seen in section.tensors.items()}
    layers = {layer.node: layer for section in sections.values() for layer in section.quantised()}
    kept = keep_for_patterns(
        model.lowered.program,
        list(layers.values()),
        {name: step(seen.ranges[DEFAULT_SCHEME]) for name, seen in ranges.items()},
        feeds(model),
        limits=model.outputs[0].limits,
        told=told,
    )
    return {
        name: dataclasses.replace(
            section,
            layers=[
                dataclasses.replace(layer, reason=layer.reason or kept.get(layer.node, ""))
                for layer in section.layers
            ],
        )
        for name, section in sections.items()
    }


def feeds(model: LoweredModel) -> Sequence[Array]:
    """Return the patterns as the model takes them: those of the gratings contrast, and drawn ones."""
    (taken,) = model.inputs
    height, width = taken.size
    generator = torch.Generator().manual_seed(0)
    drawn = [patterns((1, 3, height, width), generator) for _ in range(DRAWN)]
    pictures = [*gratings((height, width)).values(), *drawn]
    pixels = [(picture[0] * WHITE).round().byte().permute(1, 2, 0).numpy() for picture in pictures]
    return [as_input(picture, taken) for picture in pixels]
