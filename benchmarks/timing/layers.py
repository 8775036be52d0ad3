"""Where the time of one run goes: by layer as the runtime sees them, joined to modules of the network.

Times of single layers include what measuring them costs, so their sum is more than a run takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...runtime.layers import Layer
from ...runtime.photo import Array
from ...runtime.sessions import Session


def layer_times(session: Session, x: Mapping[str, Array], runs: int = 5) -> list[Layer]:
    """Run a session's model with the runtime's own profiler, and return its layers, the slowest first.

    Raises:
        TargetUnavailableError: this runtime tells no times per layer here.
    """
    return sorted(session.layer_times(x, runs), key=lambda layer: -layer.ms)


def by_module(layers: Iterable[Layer]) -> dict[str, float]:
    """Return milliseconds per module, the slowest first."""
    sums: dict[str, float] = {}
    for layer in layers:
        sums[layer.module] = sums.get(layer.module, 0.0) + layer.ms
    return {name: round(ms, 4) for name, ms in sorted(sums.items(), key=lambda item: -item[1])}
