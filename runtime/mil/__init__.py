"""A reference interpreter for Core ML's programs (MIL): reads a ``.mlpackage`` and computes it with NumPy.

Core ML itself predicts on Apple systems only. This says on any machine what a package computes: each
operation by its published definition, in the precision the package declares. It is no model of Apple's
hardware, whose kernels round and add in orders of their own.
"""

from __future__ import annotations

from .interpreter import Accumulation, Interpreter
from .package import Package

__all__ = ["Accumulation", "Interpreter", "Package"]
