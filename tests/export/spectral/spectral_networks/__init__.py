"""Small, realistic networks that use `torch.fft`: what the lowering is proved on.

Everything is of our own writing, after the published idea each docstring names.
"""

from fdikp_edge.tests.export.spectral.spectral_networks import (
    algebra,
    operators,
    optics,
    restoration,
    signals,
)
from fdikp_edge.tests.export.spectral.spectral_networks.case import Network, to_double

NETWORKS: tuple[Network, ...] = (
    *restoration.NETWORKS,
    *operators.NETWORKS,
    *optics.NETWORKS,
    *signals.NETWORKS,
    *algebra.NETWORKS,
)

__all__ = ["NETWORKS", "Network", "to_double"]
