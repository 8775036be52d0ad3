"""stub"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    value_range: tuple[float, float] | None = (0.0, 1.0)
    layout: str | None = None
    color: str = ""

    def at(self, size):
        left = list(size or ())
        if len(left) < sum(s is None for s in self.shape):
            raise ValueError("no size")
        return dataclasses.replace(self, shape=tuple(left.pop(0) if s is None else s for s in self.shape))


@dataclasses.dataclass(frozen=True)
class NetworkSource:
    name: str
    spec: str
    load: Callable
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ()
    sizes: Any = None
    samples: Any = None
    defocus: tuple[float, ...] = (0.0,)
    photo: Any = None
    metric: Any = None
    scale: int | None = None
    trained: bool | None = None
    note: str = ""
    notes: tuple[str, ...] = ()
