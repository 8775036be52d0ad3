"""The ways to compute a transform site; one file each, one row each in :data:`STRATEGIES`."""

from __future__ import annotations

from .base import Strategy
from .custom import CustomOp
from .dense import Flat, Separable
from .factored import Factored
from .joined import Joined
from .native import Native
from .window import Window

STRATEGIES: dict[str, Strategy] = {
    s.name: s for s in (Flat(), Separable(), Joined(), Factored(), Window(), Native(), CustomOp())
}

__all__ = [
    "STRATEGIES",
    "CustomOp",
    "Factored",
    "Flat",
    "Joined",
    "Native",
    "Separable",
    "Strategy",
    "Window",
]
