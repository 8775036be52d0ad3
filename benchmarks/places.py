"""Where the artifacts of a run lie in its folder."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..runtime.buckets.folders import size_name


def folder_name(model: str, target: str, precision: str) -> str:
    """Return the name of the folder that holds a network's artifacts of several sizes: ``tiny-onnx-fp32``."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"
    return f"{plain}-{target}-{precision}"


def artifact_name(model: str, target: str, precision: str, size: Sequence[int]) -> str:
    """Return the folder name of an artifact: ``tiny-onnx-fp32-256x256``; of a network that takes no picture,
    with the shape of its first input."""
    return f"{folder_name(model, target, precision)}-{'x'.join(map(str, size))}"


def bucket_place(model: str, target: str, precision: str, size: tuple[int, int]) -> str:
    """Return where an artifact of one size among several lies: ``tiny-onnx-fp32/256x256``."""
    return f"{folder_name(model, target, precision)}/{size_name(size)}"
