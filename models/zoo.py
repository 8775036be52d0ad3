"""Get a network by name."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from .fdikp import FDIKP
from .variants import get_variant


class UntrainedWeightsWarning(UserWarning):
    """The network was given initial values: it nearly copies its input and sharpens nothing."""


def load(variant_or_checkpoint: str | Path, *, variant: str | None = None, seed: int = 0) -> FDIKP:
    """Return an FDIKP in eval mode."""
    model = FDIKP(get_variant(str(variant_or_checkpoint)), seed=seed).eval()
    warnings.warn(f"{model.variant.name}: {model.weights_note}", UntrainedWeightsWarning, stacklevel=2)
    return model


def weights_sha256(model: FDIKP) -> str:
    """Return the SHA-256 (hex) over names, shapes, types and bytes of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
