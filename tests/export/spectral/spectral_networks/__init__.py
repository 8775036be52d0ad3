"""Small, realistic networks that use `torch.fft`: what the lowering is proved on.

Everything is of our own writing, after the published idea each docstring names.
"""

from . import (
    algebra,
    audio,
    operators,
    optics,
    restoration,
    signals,
)
from .case import Network, to_double

NETWORKS: tuple[Network, ...] = (
    *restoration.NETWORKS,
    *operators.NETWORKS,
    *optics.NETWORKS,
    *signals.NETWORKS,
    *audio.NETWORKS,
    *algebra.NETWORKS,
)

__all__ = ["NETWORKS", "Network", "to_double"]
