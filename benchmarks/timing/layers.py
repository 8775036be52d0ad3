"""Where the time of one run goes: by layer as the runtime sees them, joined to modules of the network.

Times of single layers include what measuring them costs, so their sum is more than a run takes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import TargetUnavailableError
from ...runtime.onnx_nodes import onnx_nodes
from ...runtime.photo import Array
from ...runtime.sessions import Session

LAYOUT = "(layout change)"
UNKNOWN = "(unknown)"
_MAX_PROFILE_BYTES = 512 * 1024**2
_SUFFIX = "_kernel_time"
_MADE_BY_RUNTIME = ("ReorderInput", "ReorderOutput", "Transpose", "Cast", "Memcpy")
_NODE_OF_OUTPUT = "node_"  # how the exporter names a node after its output


@dataclass(frozen=True)
class Layer:
    """Mean milliseconds of one layer in a run; ``module`` is a path such as ``ffb1.conv``, or in brackets."""

    name: str
    operator: str
    module: str
    ms: float


def layer_times(session: Session, x: Array, runs: int = 5) -> list[Layer]:
    """Run a session's model with the runtime's own profiler, and return its layers, the slowest first.

    Raises:
        TargetUnavailableError: this runtime tells no times per layer here.
    """
    target = session.artifact.passport.target
    if target not in _PROFILERS:
        raise TargetUnavailableError(f"times per layer are not available for target {target}")
    times = _PROFILERS[target](session, x, runs)
    return sorted(times, key=lambda layer: -layer.ms)


def by_module(layers: Iterable[Layer]) -> dict[str, float]:
    """Return milliseconds per module, the slowest first."""
    sums: dict[str, float] = {}
    for layer in layers:
        sums[layer.module] = sums.get(layer.module, 0.0) + layer.ms
    return {name: round(ms, 4) for name, ms in sorted(sums.items(), key=lambda item: -item[1])}


def module_of(name: str, operator: str, modules: Mapping[str, str]) -> str:
    """Return the module that a runtime's layer belongs to, by the name it made up for it.

    A name is a node's, that of its output, or begins with either: runtimes append what they did.
    """
    name = name.removeprefix("fused ")
    if name in modules:
        return modules[name]
    if operator in _MADE_BY_RUNTIME:
        return LAYOUT
    head = f"{name.partition('/')[0]}_"  # node_slice_4/GatherSliceToSplitFusion
    while head:  # conv2d_7_nchwc_2 -> conv2d_7_nchwc -> conv2d_7, the output of node_conv2d_7
        head = head.rpartition("_")[0]
        for known in (head, _NODE_OF_OUTPUT + head):
            if known in modules:
                return modules[known]
    return UNKNOWN


def _onnxruntime(session: Session, x: Array, runs: int) -> list[Layer]:
    model = session.artifact.model_path
    events = onnxruntime_events(model, x, session.threads, runs + 1)
    modules = {name: node.module for name, node in onnx_nodes(model.read_bytes()).items() if node.module}
    return layers_of_events(events, modules, runs + 1)


class OnnxRuntimeProfile:
    """An ONNX file of one input, opened with ONNX Runtime's profiler."""

    def __init__(self, model: Path, threads: int) -> None:
        """Load the file."""
        import onnxruntime as ort

        self._folder = tempfile.TemporaryDirectory(prefix="fdikp-profile-")
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "layers")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name

    def run(self, x: Array) -> None:
        """Run it once."""
        self._session.run(None, {self._name: x})

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


def onnxruntime_events(model: Path, x: Array, threads: int, runs: int) -> list[dict[str, Any]]:
    """Return the events of a number of runs; see :class:`OnnxRuntimeProfile`."""
    profile = OnnxRuntimeProfile(model, threads)
    for _ in range(runs):
        profile.run(x)
    return profile.events()


def _tensorrt(session: Session, x: Array, runs: int) -> list[Layer]:
    from ...runtime.sessions.tensorrt_session import TensorRtSession
    from ...runtime.tensorrt.engines import ONNX_FILE, name_places

    assert isinstance(session, TensorRtSession)
    nodes = onnx_nodes(session.artifact.read(ONNX_FILE))
    session.layer_ms(x)  # warms up
    sums: dict[str, float] = {}
    for _ in range(runs):
        for name, ms in session.layer_ms(x):
            sums[name] = sums.get(name, 0.0) + ms
    found = []
    for name, ms in sums.items():
        # TensorRT names what it fused after all of its parts, with their operators in brackets.
        places = name_places(name, nodes)
        found.append(Layer(name, "", ", ".join(places) or UNKNOWN, ms / runs))
    return found


def layers_of_events(
    events: Iterable[Mapping[str, Any]], modules: Mapping[str, str], runs: int
) -> list[Layer]:
    """Sum the events of ONNX Runtime's profile by node; the first run warms up and does not count."""
    seen: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            key = (name.removesuffix(_SUFFIX), str(event.get("args", {}).get("op_name", "")))
            seen.setdefault(key, []).append(float(event.get("dur", 0.0)) / 1e3)
    found = []
    for (name, operator), times in seen.items():
        counted = times[len(times) // runs :] if len(times) >= runs > 1 else times
        share = max(1, runs - 1) if len(times) >= runs > 1 else runs
        found.append(Layer(name, operator, module_of(name, operator, modules), sum(counted) / share))
    return found


_PROFILERS: dict[str, Callable[[Session, Array, int], list[Layer]]] = {
    "onnx": _onnxruntime,
    "tensorrt": _tensorrt,
    "tensorrt-rtx": _tensorrt,
}
