"""The ways to compute a transform site; one file each, one row each in :data:`STRATEGIES`."""

from __future__ import annotations

from .base import Strategy
from .custom import CustomOp
from .dense import Flat, Separable
from .factored import Factored
from .native import Native

STRATEGIES: dict[str, Strategy] = {s.name: s for s in (Flat(), Separable(), Factored(), Native(), CustomOp())}

__all__ = ["STRATEGIES", "CustomOp", "Factored", "Flat", "Native", "Separable", "Strategy"]
