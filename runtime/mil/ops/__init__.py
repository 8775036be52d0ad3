"""The operations the interpreter knows, one file per family; importing this fills the table."""

from __future__ import annotations

from . import elementwise, indexing, layout, linear, quantised, reductions, resizing
from .registry import OPERATIONS, Call

__all__ = [
    "OPERATIONS",
    "Call",
    "elementwise",
    "indexing",
    "layout",
    "linear",
    "quantised",
    "reductions",
    "resizing",
]
