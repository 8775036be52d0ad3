"""Layers of an ONNX file as ONNX Runtime's profiler times them."""

from __future__ import annotations

from collections.abc import Mapping

from ...runtime.artifact import Artifact
from ...runtime.photo import Array
from ...runtime.sessions.onnxruntime_profile import KERNEL, OnnxRuntimeProfile
from ..layer_runs import Entry


class OnnxLayerRuns:
    """See :class:`~fdikp_edge.export.layer_runs.LayerRuns`."""

    def __init__(self, artifact: Artifact, x: Mapping[str, Array], threads: int) -> None:
        """Load the model with profiling on."""
        self._profile, self._x, self._runs = OnnxRuntimeProfile(artifact.model_path, threads), x, 0

    def run(self) -> None:
        """Run it once."""
        self._profile.run(self._x)
        self._runs += 1

    def entries(self) -> list[list[Entry]]:
        """Return the kernels of each run."""
        kernels = [
            event
            for event in self._profile.events()
            if event.get("cat") == "Node" and event["name"].endswith(KERNEL)
        ]
        each = len(kernels) // max(1, self._runs)
        parts = [kernels[index * each : (index + 1) * each] for index in range(self._runs)]
        return [[((event["name"],), event["dur"] / 1e3) for event in part] for part in parts]


def open_layer_runs(artifact: Artifact, x: Mapping[str, Array], threads: int) -> OnnxLayerRuns:
    """Open an artifact; see :class:`~fdikp_edge.export.layer_runs.Opener`."""
    return OnnxLayerRuns(artifact, x, threads)
