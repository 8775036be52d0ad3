"""The ``openvino`` target on OpenVINO's CPU device."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import Artifact
from ..errors import ArtifactError, TargetUnavailableError
from ..outside.files import read_bounded
from ..photo import Array
from ..tensors import TensorContract
from .base import (
    Arrays,
    Port,
    Session,
    available_threads,
    check_ports,
    check_suffix,
    import_runtime,
    refused,
)
from .openvino_bfloat16 import CAVEAT, has_bfloat16, round_to_bfloat16
from .placement import REFERENCE, Placement, Ran, collect, kernel_place

_DTYPES = {"f32": "float32", "u8": "uint8", "i32": "int32", "i64": "int64", "boolean": "bool"}
MAX_XML_BYTES = 256 * 1024**2


class OpenVinoSession(Session):
    """``model.xml`` and ``model.bin`` on the CPU, for latency, in float32 where not quantised.

    ``bf16`` computes in bfloat16 on processors that have it. On others every value is rounded to bfloat16
    instead, and the artifact stays unverified.
    """

    sums_in_16_bits = True

    def __init__(self, artifact: Artifact, threads: int, *, exact_sums: bool = False) -> None:
        """Load and compile the model.

        Args:
            artifact: what to run.
            threads: processor threads.
            exact_sums: compute quantised layers in floats on rounded operands. Results are those of a
                processor with 8-bit dot products, on every processor; times are not.

        Raises:
            TargetUnavailableError: OpenVINO is not installed.
            ArtifactError: the model is corrupt, or is not what the passport says.
        """
        super().__init__(artifact, threads)
        ov: Any = import_runtime("openvino", "openvino", 'pip install "fdikp-edge[openvino]"')
        check_suffix(artifact, ".xml")
        _check_xml(artifact)
        weights = artifact.model_path.with_suffix(".bin")
        if weights.relative_to(artifact.path).as_posix() not in artifact.passport.files:
            raise ArtifactError(f"{weights}: is missing; an OpenVINO model is a pair of .xml and .bin")
        try:
            core = ov.Core()
            # Both files are named, so that nothing else is looked for.
            model = core.read_model(model=str(artifact.model_path), weights=str(weights))
            ends = artifact.passport
            check_ports(artifact, _ports(model.inputs, ends.inputs), _ports(model.outputs, ends.outputs))
            narrow = artifact.passport.precision == "bf16"
            if narrow and not has_bfloat16(core):
                round_to_bfloat16(model)
                self.caveat, self.is_stand_in, narrow = CAVEAT, True, False
            self._config = compile_config(threads, "bf16" if narrow else "f32")
            if exact_sums:
                self.sums_in_16_bits = False
                self._config["LP_TRANSFORMS_MODE"] = "NO"  # what makes layers on rounded operands 8-bit ones
            self._compiled: Any = core.compile_model(model, "CPU", self._config)
            self._request: Any = self._compiled.create_infer_request()
            self._one_at_a_time = threading.Lock()
        except ArtifactError:
            raise
        except Exception as error:  # RuntimeError and others, by the version
            raise refused(artifact, "OpenVINO", error) from error
        self._version = str(ov.__version__)

    def _run(self, arrays: Arrays) -> Arrays:
        # Inputs are read in place. Outputs are copied out of the request, which the next run overwrites.
        # Without the lock a second thread would give this one its own results, and nothing would tell.
        with self._one_at_a_time:
            results = self._request.infer(arrays, share_inputs=True, share_outputs=False)
            return {contract.name: results[contract.name] for contract in self.outputs}

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Return the kernels of the model's nodes; reference kernels are a fallback."""
        request = self._counting().create_infer_request()
        for _ in range(runs):
            request.infer(dict(x))
        ran = [
            Ran(entry.node_type, kernel_place(entry.exec_type), entry.real_time.total_seconds() * 1e3)
            for entry in request.get_profiling_info()
            if entry.status == entry.Status.EXECUTED
        ]
        return collect(ran, "OpenVINO's performance counters", {REFERENCE})

    def _counting(self) -> Any:
        """Return the model compiled again, as this session has it, with performance counters on."""
        import openvino as ov

        if self.is_stand_in:
            raise TargetUnavailableError(f"{self.artifact.path}: runs here on the {self.caveat}; not timed")
        path = self.artifact.model_path
        model = ov.Core().read_model(model=str(path), weights=str(path.with_suffix(".bin")))
        config = {**self._config, "PERF_COUNT": True}
        return ov.Core().compile_model(model, "CPU", config)

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        arithmetic = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        arithmetic = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}.get(arithmetic, arithmetic)
        return {
            "runtime": "OpenVINO",
            "version": self._version,
            "device": str(self._compiled.get_property("EXECUTION_DEVICES")[0]),
            "threads": int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            "arithmetic": "bfloat16, emulated" if self.is_stand_in else self._arithmetic(arithmetic),
        }

    def close(self) -> None:
        """Free the model."""
        self._request = self._compiled = None


def compile_config(threads: int, floats: str = "f32") -> dict[str, str | int | bool]:
    """Return what a session compiles its model with; ``floats``: ``f32`` or ``bf16``.

    OpenVINO binds threads to processors by default, each model from the first processor on. Several sessions
    of one process would then share one processor while others stay idle: two sessions of one thread on two
    processors were no faster than one. So only a session that takes every processor is bound.
    """
    return {
        "INFERENCE_PRECISION_HINT": floats,  # f32: a CPU with bfloat16 would otherwise use it unasked
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": threads >= available_threads(),
        "CACHE_DIR": "",  # a cache outlives the artifact it was made from
    }


def _check_xml(artifact: Artifact) -> None:
    """Check that the model is plain XML, before a native parser sees it.

    Raises:
        ArtifactError: it has a document type, which could define entities, or is not UTF-8.
    """
    data = read_bounded(artifact.model_path, MAX_XML_BYTES, ArtifactError, follow_links=False)
    # In UTF-16 or UTF-32 a document type would be spelled with zeros between its letters.
    if b"\0" in data or not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ArtifactError(f"{artifact.model_path}: not an XML file in UTF-8. Export the artifact again")
    if re.search(rb"<!\s*(doctype|entity)", data, re.IGNORECASE):
        raise ArtifactError(
            f"{artifact.model_path}: has a document type (DOCTYPE), which no model needs. Export the "
            "artifact again"
        )


def _ports(ports: Any, wanted: Sequence[TensorContract]) -> list[Port]:
    """Return what the model's ports are. An input that is also an output has the names of both."""
    result = []
    for port in ports:
        name = next((end.name for end in wanted if end.name in port.names), port.any_name)
        shape = list(port.shape) if not port.partial_shape.is_dynamic else [str(port.partial_shape)]
        result.append((name, shape, _DTYPES.get(kind := port.element_type.get_type_name(), kind)))
    return result
