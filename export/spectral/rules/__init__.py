"""One small rule per complex operator, grouped by kind; importing this package registers them all."""

from . import (
    convert,
    copies,
    create,
    elementwise,
    functions,
    linear,
    portable,
    reductions,
    shape,
    solve,
    stft,
    windows,
    writes,
)
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
    "copies",
    "create",
    "elementwise",
    "find",
    "functions",
    "linear",
    "portable",
    "real_rule",
    "reductions",
    "shape",
    "solve",
    "stft",
    "windows",
    "writes",
]
