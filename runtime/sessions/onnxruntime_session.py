"""The ``onnx`` target on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact import Artifact
from ..errors import TargetUnavailableError
from ..layers import Layer
from ..onnx_nodes import onnx_nodes
from ..photo import Array
from .base import Arrays, Port, Session, check_ports, check_suffix, import_runtime, refused
from .onnx_guard import check_external_data
from .onnx_rounding import CAVEAT, ROUNDED, rounded_file
from .onnxruntime_profile import OnnxRuntimeProfile, layers_of_events, ran_of_events
from .placement import Placement, collect

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxRuntimeSession(Session):
    """``model.onnx`` on the CPU: all graph optimisations, one operator after the other."""

    sums_in_16_bits = True

    def __init__(self, artifact: Artifact, threads: int, *, exact_sums: bool = False) -> None:
        """Load the model.

        Args:
            artifact: what to run.
            threads: processor threads.
            exact_sums: compute quantised layers in floats on rounded operands. Results are those of a
                processor with 8-bit dot products, on every processor; times are not.

        Raises:
            TargetUnavailableError: ONNX Runtime is not installed.
            ArtifactError: the model is corrupt, names files outside the artifact, or is not what the
                passport says.
        """
        super().__init__(artifact, threads)
        ort: Any = import_runtime("onnxruntime", "onnx", "pip install onnxruntime")
        check_suffix(artifact, ".onnx")  # the runtime chooses its reader by it, and by no other is checked
        check_external_data(artifact)
        if exact_sums:
            self.sums_in_16_bits = False
        options = session_options(threads, exact_sums=exact_sums)
        model: str | bytes = str(artifact.model_path)
        if self._emulated:
            model = rounded_file(artifact.read(artifact.passport.model_file))
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            self.caveat = "; ".join(filter(None, (self.caveat, CAVEAT)))
        try:
            self._session: Any = ort.InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # there is no other provider, and what it prints about that goes to stdout
            )
        except Exception as error:  # its exceptions share no base class
            raise refused(artifact, "ONNX Runtime", error) from error
        check_ports(artifact, _ports(self._session.get_inputs()), _ports(self._session.get_outputs()))
        self._version = str(ort.__version__)

    @property
    def _emulated(self) -> bool:
        return self.artifact.passport.precision == ROUNDED

    def _run(self, arrays: Arrays) -> Arrays:
        names = [contract.name for contract in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def layer_times(self, x: Mapping[str, Array], runs: int) -> list[Layer]:
        """Return the nodes of the file with their modules; a first run warms up and does not count."""
        events = self._profiled(x, runs)
        nodes = onnx_nodes(self.artifact.model_path.read_bytes())
        modules = {name: node.module for name, node in nodes.items() if node.module}
        return layers_of_events(events, modules, runs + 1)

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Return the execution provider of each node; one that was not asked for first is a fallback."""
        ran = ran_of_events(self._profiled(x, runs))
        wanted = self._session.get_providers()[0]
        return collect(ran, "ONNX Runtime's profile", {entry.place for entry in ran} - {wanted})

    def _profiled(self, x: Mapping[str, Array], runs: int) -> list[dict[str, Any]]:
        """Return the events of ``runs`` runs, and of one before that warms up."""
        if self._emulated:
            raise TargetUnavailableError(f"{self.artifact.path}: runs here on the {CAVEAT}; not timed")
        profile = OnnxRuntimeProfile(self.artifact.model_path, self.threads)
        for _ in range(runs + 1):
            profile.run(x)
        return profile.events()

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        return {
            "runtime": "ONNX Runtime",
            "version": self._version,
            "device": "CPUExecutionProvider",
            "threads": self.threads,
            # This provider casts float16 up to float32.
            "arithmetic": self._arithmetic("bfloat16, emulated" if self._emulated else "float32"),
        }

    def close(self) -> None:
        """Free the model."""
        self._session = None


def session_options(threads: int, *, exact_sums: bool = False) -> Any:
    """Return the options that a session runs with; ONNX Runtime is installed.

    ``exact_sums``: compute quantised layers in floats on rounded operands.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # errors arrive as exceptions too
    if exact_sums:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _ports(nodes: Any) -> list[Port]:
    return [(node.name, node.shape, _DTYPES.get(node.type, node.type)) for node in nodes]
