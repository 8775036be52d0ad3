"""Layers of an OpenVINO model as its performance counters time them."""

from __future__ import annotations

from collections.abc import Mapping

from ...runtime.artifact import Artifact
from ...runtime.photo import Array
from ..layer_runs import Entry


class OpenVinoLayerRuns:
    """See :class:`~fdikp_edge.export.layer_runs.LayerRuns`."""

    def __init__(self, artifact: Artifact, x: Mapping[str, Array], threads: int) -> None:
        """Compile the model with performance counters on."""
        import openvino as ov

        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": True,
        }
        compiled = ov.Core().compile_model(str(artifact.model_path), "CPU", config)
        self._sources: dict[str, tuple[str, ...]] = {}
        for op in compiled.get_runtime_model().get_ops():
            original = op.get_rt_info()["originalLayersNames"]
            words = str(original.value if hasattr(original, "value") else original)
            self._sources[op.get_friendly_name()] = tuple(filter(None, words.split(",")))
        self._request, self._x = compiled.create_infer_request(), dict(x)
        self._runs: list[list[Entry]] = []

    def run(self) -> None:
        """Run it once."""
        self._request.infer(self._x)
        self._runs.append(
            [
                (
                    self._sources.get(entry.node_name) or (entry.node_name,),
                    entry.real_time.total_seconds() * 1e3,
                )
                for entry in self._request.get_profiling_info()
            ]
        )

    def entries(self) -> list[list[Entry]]:
        """Return the operators of each run."""
        return self._runs


def open_layer_runs(artifact: Artifact, x: Mapping[str, Array], threads: int) -> OpenVinoLayerRuns:
    """Open an artifact; see :class:`~fdikp_edge.export.layer_runs.Opener`."""
    return OpenVinoLayerRuns(artifact, x, threads)
