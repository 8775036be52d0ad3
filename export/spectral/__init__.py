"""The spectral lowering: complex values as pairs, transforms as real matrix products, planned and audited."""

from __future__ import annotations

from .audit import Audit
from .lower import LoweredProgram, lower
from .planner import Plan

__all__ = ["Audit", "LoweredProgram", "Plan", "lower"]
