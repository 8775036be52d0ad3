"""The operations the interpreter knows, one file per family; importing this fills the table."""

from __future__ import annotations

from . import (
    activations,
    elementwise,
    indexing,
    layout,
    linear,
    ordering,
    pooling,
    quantised,
    reductions,
    resizing,
)
from .registry import OPERATIONS, Call

__all__ = [
    "OPERATIONS",
    "Call",
    "activations",
    "elementwise",
    "indexing",
    "layout",
    "linear",
    "ordering",
    "pooling",
    "quantised",
    "reductions",
    "resizing",
]
