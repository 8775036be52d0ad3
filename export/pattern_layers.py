"""Keeps in floats what rounding makes gratings and checkerboards lose: the patterns, and where it is done."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..calibration.layers import Layer
from ..calibration.pattern_layers import keep_for_patterns
from ..calibration.ranges import DEFAULT_SCHEME
from ..calibration.table import ProgramCalibration, ProgramKey, step
from ..calibration.worst_parts import Told
from ..models.patterns import WHITE, gratings, patterns
from ..runtime.photo import Array
from ..runtime.pixels import as_input
from .onnx.source.program import OnnxProgram
from .profile import DEFAULT

if TYPE_CHECKING:
    from .lowered import LoweredModel

DRAWN = 3
"""Patterns that are drawn, besides gratings."""
Place = tuple[str, int]
"""A layer's module, and which call of it this is."""


def judged_model(model: LoweredModel) -> LoweredModel | None:
    """Return the model that layers are chosen on, lowered for no target in particular.

    ``None`` for a network that takes no photo, returns no single picture, or was read from an ONNX file.
    """
    takes = model.takes_photos and len(model.outputs) == 1 and model.outputs[0].has_colors
    if not takes or isinstance(model.lowered, OnnxProgram):
        return None
    return model.for_profile(DEFAULT.name)


def with_pattern_layers(
    judged: LoweredModel,
    sections: Mapping[ProgramKey, ProgramCalibration],
    *,
    told: Told = lambda message: None,
) -> dict[ProgramKey, ProgramCalibration]:
    """Return the sections of one network with the layers that patterns need kept in floats in each.

    Args:
        judged: of :func:`judged_model`; its own section is among them.
        sections: of the network's programs.
        told: called with a message before each trial.
    """
    section = sections[judged.lowered.key]
    scales = {name: step(seen.ranges[DEFAULT_SCHEME]) for name, seen in section.tensors.items()}
    kept = keep_for_patterns(
        judged.lowered.program,
        section.layers,
        scales,
        feeds(judged),
        limits=judged.outputs[0].limits,
        told=told,
    )
    places = places_of(section.layers)
    chosen = {places[name]: reason for name, reason in kept.items()}
    calls = Counter(layer.module for layer in section.layers)
    return {key: _with(own, chosen, calls) for key, own in sections.items()}


def places_of(layers: Sequence[Layer]) -> dict[str, Place]:
    """Return name of a layer's node -> its module and which call of it this is: nodes are called otherwise in
    every lowering."""
    calls: Counter[str] = Counter()
    places = {}
    for layer in layers:
        places[layer.node] = (layer.module, calls[layer.module])
        calls[layer.module] += 1
    return places


def _with(
    section: ProgramCalibration, chosen: Mapping[Place, str], calls: Mapping[str, int]
) -> ProgramCalibration:
    own = Counter(layer.module for layer in section.layers)
    places = places_of(section.layers)
    layers = [
        dataclasses.replace(layer, reason=chosen.get(places[layer.node], ""))
        if not layer.reason and own[layer.module] == calls.get(layer.module)
        else layer
        for layer in section.layers
    ]
    return dataclasses.replace(section, layers=layers)


def feeds(model: LoweredModel) -> Sequence[Array]:
    """Return the patterns as the model takes them: gratings, and drawn ones."""
    (taken,) = model.inputs
    height, width = taken.size
    generator = torch.Generator().manual_seed(0)
    drawn = [patterns((1, 3, height, width), generator) for _ in range(DRAWN)]
    pictures = [*gratings((height, width)).values(), *drawn]
    pixels = [(picture[0] * WHITE).round().byte().permute(1, 2, 0).numpy() for picture in pictures]
    return [as_input(picture, taken) for picture in pixels]
