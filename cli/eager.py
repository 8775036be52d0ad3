"""The network an artifact was made from, in PyTorch eager, found again from its passport."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from ..export.reference import Reference
    from ..runtime.artifact import Artifact


def torch_is_here() -> bool:
    """Say whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def eager_of(artifact: Artifact, weights: Path | None = None, seed: int | None = None) -> Reference:
    """Return the reference of ``artifact``: its variant or the given weights, behind its image contract.

    Raises:
        BadInputError: those are not the weights the artifact was made from.
        UnknownNameError: the artifact is of no variant, so that its weights file has to be given.
    """
    from ..export.build import reference_for

    return reference_for(artifact, model_of(artifact, weights, seed))


def model_of(
    artifact: Artifact, weights: Path | None = None, seed: int | None = None, *, other: bool = False
) -> nn.Module:
    """Return the network that ``artifact`` was made from; raises as :func:`eager_of` does.

    With ``other`` its weights need not be those of the artifact.
    """
    from ..export.lowered import load_model
    from ..models.fdikp.variants import VARIANTS
    from ..models.zoo import weights_sha256
    from ..runtime.errors import BadInputError, UnknownNameError

    passport = artifact.passport
    if weights is None and passport.model not in VARIANTS:
        raise UnknownNameError(
            f"{artifact.path}: was built from {passport.model!r}, no known variant ({', '.join(VARIANTS)}); "
            "give its weights file with --weights"
        )
    model = load_model(str(weights or passport.model), seed=seed)
    if not other and weights_sha256(model) != passport.weights_sha256:
        given = f"{weights or passport.model}{'' if seed is None else f' with seed {seed}'}"
        raise BadInputError(
            f"{artifact.path}: was not built from {given}; give its own weights with --weights or --seed"
        )
    return model
