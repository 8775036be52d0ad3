"""What a network is run on: arrays by the name of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .photo import Array
from .tensors import TensorContract

NOISE_COUNT = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """One set of inputs, by name, and what it is called in reports."""

    name: str
    arrays: Mapping[str, Array]


def noise(inputs: Sequence[TensorContract], count: int = NOISE_COUNT, seed: int = 0) -> list[Sample]:
    """Return samples of uniform noise in the value range of each input, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    return [
        Sample(f"noise {number + 1}", {contract.name: _noise(contract, rng) for contract in inputs})
        for number in range(count)
    ]


def _noise(contract: TensorContract, rng: np.random.Generator) -> Array:
    if contract.dtype == "bool":
        return rng.random(contract.shape) < 0.5
    low, high = contract.limits
    values = rng.random(contract.shape) * (high - low) + low
    whole: Array = values if contract.dtype == "float32" else np.rint(values)
    return whole.astype(contract.dtype)
