"""Families of ATen operators, by what they do to values. Each is named here once.

An operator is named as ``str(node.target)`` gives it (``aten.add.Tensor``); a family holds names without
namespace and overload (``add``).
"""

from __future__ import annotations

COPIES = frozenset(["alias", "clone", "contiguous", "detach", "dropout", "lift_fresh_copy"])
"""Whose result, at inference, is what they read."""
RESHAPES = frozenset(["flatten", "reshape", "squeeze", "unsqueeze", "view", "_unsafe_view"])
SHUFFLES = frozenset(["pixel_shuffle", "pixel_unshuffle"])
ARITHMETIC = frozenset(["add", "sub", "mul", "div"])
NORMALISATIONS = frozenset(["batch_norm", "_native_batch_norm_legit_no_training"])

_UPSAMPLING = ("pixel_shuffle", "upsample_", "_upsample_", "conv_transpose")


def base_name(operator: object) -> str:
    """Return ``add`` for ``aten.add.Tensor``; empty for what is no ATen operator."""
    namespace, _, rest = str(operator).partition(".")
    return rest.partition(".")[0] if namespace == "aten" else ""


def is_upsampling(operator: object) -> bool:
    """Whether an operator makes a picture larger."""
    return base_name(operator).startswith(_UPSAMPLING)
