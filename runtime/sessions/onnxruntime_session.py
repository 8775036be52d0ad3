"""The ``onnx`` target on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact import Artifact
from ..layers import Layer
from ..onnx_nodes import onnx_nodes
from ..photo import Array
from .base import Arrays, Port, Session, check_ports, check_suffix, import_runtime, refused
from .onnx_guard import check_external_data
from .onnxruntime_profile import OnnxRuntimeProfile, layers_of_events

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
    computes_in_floats = False
    """Whether quantised layers compute in floats on rounded operands: exact sums, but slower."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Load the model.

        Raises:
            TargetUnavailableError: ONNX Runtime is not installed.
            ArtifactError: the model is corrupt, names files outside the artifact, or is not what the
                passport says.
        """
        super().__init__(artifact, threads)
        ort: Any = import_runtime("onnxruntime", "onnx", "pip install onnxruntime")
        check_suffix(artifact, ".onnx")  # the runtime chooses its reader by it, and by no other is checked
        check_external_data(artifact)
        try:
            self._session: Any = ort.InferenceSession(
                str(artifact.model_path),
                session_options(threads, in_floats=self.computes_in_floats),
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # there is no other provider, and what it prints about that goes to stdout
            )
        except Exception as error:  # its exceptions share no base class
            raise refused(artifact, "ONNX Runtime", error) from error
        check_ports(artifact, _ports(self._session.get_inputs()), _ports(self._session.get_outputs()))
        self._version = str(ort.__version__)

    def _run(self, arrays: Arrays) -> Arrays:
        names = [contract.name for contract in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def layer_times(self, x: Mapping[str, Array], runs: int) -> list[Layer]:
        """Return the nodes of the file with their modules; a first run warms up and does not count."""
        model = self.artifact.model_path
        profile = OnnxRuntimeProfile(model, self.threads)
        for _ in range(runs + 1):
            profile.run(x)
        nodes = onnx_nodes(model.read_bytes())
        modules = {name: node.module for name, node in nodes.items() if node.module}
        return layers_of_events(profile.events(), modules, runs + 1)

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        return {
            "runtime": "ONNX Runtime",
            "version": self._version,
            "device": "CPUExecutionProvider",
            "threads": self.threads,
            "arithmetic": self._arithmetic("float32"),  # this provider casts float16 up to float32
        }

    def close(self) -> None:
        """Free the model."""
        self._session = None


def session_options(threads: int, *, in_floats: bool = False) -> Any:
    """Return the options that a session runs with; ONNX Runtime is installed.

    ``in_floats``: compute quantised layers in floats on rounded operands.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # errors arrive as exceptions too
    if in_floats:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _ports(nodes: Any) -> list[Port]:
    return [(node.name, node.shape, _DTYPES.get(node.type, node.type)) for node in nodes]
