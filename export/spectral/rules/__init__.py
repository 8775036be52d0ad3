"""One small rule per complex operator, grouped by kind; importing this package registers them all."""

from . import convert, create, elementwise, linear, portable, shape, stft, writes
from .linear import Pieces
from .registry import COMPLEX_RULES, REAL_RULES, Context, Rule, complex_rule, find, real_rule

__all__ = [
    "COMPLEX_RULES",
    "REAL_RULES",
    "Context",
    "Pieces",
    "Rule",
    "complex_rule",
    "convert",
    "create",
    "elementwise",
    "find",
    "linear",
    "portable",
    "real_rule",
    "shape",
    "stft",
    "writes",
]
