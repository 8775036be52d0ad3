"""Chooses the patterns and photos that int8 layers are judged on, and marks those that stay in floats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..calibration.picture_layers import keep_for_pictures
from ..calibration.ranges import DEFAULT_SCHEME
from ..calibration.runner import Feed
from ..calibration.table import ProgramCalibration, ProgramKey, step
from ..calibration.worst_parts import Told
from ..models.patterns import WHITE, gratings, patterns
from ..runtime.photo import Array
from ..runtime.pixels import as_input
from .onnx.source.program import OnnxProgram
from .roles import protected
from .spectral.planner import profile as profile_of

if TYPE_CHECKING:
    from .lowered import LoweredModel

DRAWN = 3
"""Patterns that are drawn, besides gratings."""
PHOTOS = 32
"""Most tiles that are looked at, of those that ranges are taken from. With the first eight alone the 16th of
the shipped photos' 24 tiles, strongly blurred, had 2.6 dB less than any of the eight (tiny, ONNX Runtime)."""


def judged_on_pictures(model: LoweredModel) -> bool:
    """Whether a network takes a photo and returns a single picture, and was not read from an ONNX file."""
    pictures = model.takes_photos and len(model.outputs) == 1 and model.outputs[0].has_colors
    return pictures and not isinstance(model.lowered, OnnxProgram)


def with_picture_layers(
    models: Sequence[LoweredModel],
    sections: Mapping[ProgramKey, ProgramCalibration],
    tiles: Sequence[Feed] = (),
    *,
    told: Told = lambda message: None,
) -> dict[ProgramKey, ProgramCalibration]:
    """Return the sections with the layers that patterns and photos need kept in floats in each.

    Every runtime has other layers in 8 bits, and so other errors: a program is looked at once for each set
    of them.

    Args:
        models: one network, lowered for each of the sections; see :func:`judged_on_pictures`.
        sections: of the network's programs.
        tiles: photos as the network takes them.
        told: called with a message before each trial.
    """
    result = dict(sections)
    seen: dict[tuple[str, bool, frozenset[str]], dict[str, str]] = {}
    photos = tiles[:PHOTOS]
    for model in models:
        key = model.lowered.key
        section = sections[key]
        rounded = profile_of(key[1]).rounds_results
        case = (key[0], rounded, frozenset(layer.node for layer in section.quantised()))
        if case not in seen:
            seen[case] = keep_for_pictures(
                model.lowered.program,
                section.layers,
                {name: step(tensor.ranges[DEFAULT_SCHEME]) for name, tensor in section.tensors.items()},
                feeds(model),
                photos=photos,
                spectral=protected(model.lowered)[1],
                rounded_results=rounded,
                limits=model.outputs[0].limits,
                told=lambda message, profile=key[1]: told(f"{message} ({profile})"),  # type: ignore[misc]
            )
        kept = seen[case]
        layers = [
            dataclasses.replace(layer, reason=layer.reason or kept.get(layer.node, ""))
            for layer in section.layers
        ]
        result[key] = dataclasses.replace(section, layers=layers)
    return result


def feeds(model: LoweredModel) -> Sequence[Array]:
    """Return the patterns as the model takes them: gratings, and drawn ones."""
    (taken,) = model.inputs
    height, width = taken.size
    generator = torch.Generator().manual_seed(0)
    drawn = [patterns((1, 3, height, width), generator) for _ in range(DRAWN)]
    pictures = [*gratings((height, width)).values(), *drawn]
    pixels = [(picture[0] * WHITE).round().byte().permute(1, 2, 0).numpy() for picture in pictures]
    return [as_input(picture, taken) for picture in pixels]
