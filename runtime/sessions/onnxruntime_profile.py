"""ONNX Runtime's own profiler: the milliseconds of each node of an ONNX file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import TargetUnavailableError
from ..layers import Layer, module_of
from ..photo import Array
from .placement import Ran

KERNEL = "_kernel_time"
"""The end of the name of an event that is the run of a node's kernel."""
_MAX_PROFILE_BYTES = 512 * 1024**2


class OnnxRuntimeProfile:
    """An ONNX file opened with ONNX Runtime's profiler."""

    def __init__(self, model: Path, threads: int) -> None:
        """Load the file."""
        import onnxruntime as ort

        self._folder = tempfile.TemporaryDirectory(prefix="fdikp-edge-profile-")
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "layers")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def run(self, arrays: Mapping[str, Array]) -> None:
        """Run it once, with inputs by name."""
        self._session.run(None, dict(arrays))

    def events(self) -> list[dict[str, Any]]:
        """End profiling, and return the events of all runs.

        Raises:
            TargetUnavailableError: ONNX Runtime wrote more than 512 MB.
        """
        with self._folder:
            file = Path(self._session.end_profiling())
            if file.stat().st_size > _MAX_PROFILE_BYTES:
                raise TargetUnavailableError(f"ONNX Runtime wrote more than {_MAX_PROFILE_BYTES >> 20} MB")
            events: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return events


def ran_of_events(events: Iterable[Mapping[str, Any]]) -> list[Ran]:
    """Return each node of a profile with its execution provider and its milliseconds in all runs."""
    seen: dict[tuple[str, str, str], float] = {}
    for event in events:
        name, facts = str(event.get("name", "")), event.get("args", {})
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            key = (name, str(facts.get("op_name", "")), str(facts.get("provider", "unknown")))
            seen[key] = seen.get(key, 0.0) + float(event.get("dur", 0.0)) / 1e3
    return [Ran(operator, provider, ms) for (_, operator, provider), ms in seen.items()]


def layers_of_events(
    events: Iterable[Mapping[str, Any]], modules: Mapping[str, str], runs: int
) -> list[Layer]:
    """Sum the events of ONNX Runtime's profile by node; the first run warms up and does not count."""
    seen: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            key = (name.removesuffix(KERNEL), str(event.get("args", {}).get("op_name", "")))
            seen.setdefault(key, []).append(float(event.get("dur", 0.0)) / 1e3)
    layers = []
    for (name, operator), times in seen.items():
        counted = times[len(times) // runs :] if len(times) >= runs > 1 else times
        share = max(1, runs - 1) if len(times) >= runs > 1 else runs
        layers.append(Layer(name, operator, module_of(name, operator, modules), sum(counted) / share))
    return layers
