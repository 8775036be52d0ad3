"""The ``executorch`` target on ExecuTorch's runtime: XNNPACK's kernels on the processor.

ExecuTorch's Python package needs PyTorch, whose library it links to and whose tensors it takes, so that this
one session imports it. Programs on phones and boards need neither Python nor PyTorch.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..errors import ArtifactError, RunError, TargetUnavailableError
from ..layers import UNKNOWN, Layer
from ..outside.files import read_bounded
from ..outside.flatbuffer import MAX_BYTES
from ..outside.pte import METHOD, PteProgram, PteTensor, read_pte
from ..passport import TensorContract
from ..photo import Array
from .base import Arrays, Port, Session, check_ports, check_suffix, import_runtime, refused
from .executorch_profile import KERNELS, Event, ExecuTorchProfile, mean_times
from .placement import Placement, Ran, collect
from .quiet import EXECUTORCH_LOGGERS, native_log, quiet

INSTALL = 'pip install "fdikp-edge[executorch]"'
_THREADS = threading.Lock()
"""ExecuTorch has one pool of threads for a process."""


def problem() -> str | None:
    """Say why ExecuTorch cannot run here although it is installed, or ``None``. Loads nothing."""
    if importlib.util.find_spec("executorch.extension.pybindings._C") is None:
        return f"ExecuTorch is installed without its runtime for Python ({INSTALL} brings it)"
    return None


class ExecuTorchSession(Session):
    """``model.pte`` on the CPU."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Check the file, load it and plan its memory.

        Raises:
            TargetUnavailableError: ExecuTorch is not installed, or its build here lacks a delegate that the
                program needs.
            ArtifactError: the model is damaged, holds what no artifact of this toolkit does, or is not what
                the passport says.
        """
        super().__init__(artifact, threads)
        with quiet(*EXECUTORCH_LOGGERS), native_log():
            import_runtime("executorch", "executorch", INSTALL)
            runtime: Any = import_runtime("executorch.runtime", "executorch", INSTALL)
            self._pool: Any = import_runtime(
                "executorch.extension.pybindings.portable_lib", "executorch", INSTALL
            )
            self._torch: Any = import_runtime("torch", "executorch", INSTALL)
        check_suffix(artifact, ".pte")
        self._data = data = read_bounded(artifact.model_path, MAX_BYTES, ArtifactError, follow_links=False)
        program = checked_program(artifact, data)
        passport = artifact.passport
        check_ports(
            artifact, _ports(program.inputs, passport.inputs), _ports(program.outputs, passport.outputs)
        )
        loader: Any = runtime.Runtime.get()
        _check_backends(artifact, program, loader.backend_registry.registered_backend_names)
        self._one_at_a_time = threading.Lock()
        with native_log() as log:
            self._use_threads()
            try:
                # The bytes that were checked, and not the file again. The program holds on to them.
                self._program: Any = loader.load_program(data)
                self._method: Any = self._program.load_method(METHOD)
            except Exception as error:  # RuntimeError and others
                problem = refused(artifact, "ExecuTorch", RuntimeError(log.failure() or str(error)))
                raise problem from error

    def _use_threads(self) -> None:
        with _THREADS:
            if self._pool._threadpool_get_thread_count() != self.threads:
                self._pool._unsafe_reset_threadpool(self.threads)

    def _run(self, arrays: Arrays) -> Arrays:
        # A method has one set of values: a second thread would write into those of the first.
        with self._one_at_a_time:
            if self._method is None:
                raise RunError(f"{self.artifact.path}: the session was closed")
            given = [self._torch.from_numpy(_writable(array)) for array in arrays.values()]
            results = self._method.execute(given)
            return {
                contract.name: result.numpy() for contract, result in zip(self.outputs, results, strict=True)
            }

    def layer_times(self, x: Mapping[str, Array], runs: int) -> list[Layer]:
        """Return the operators by the names that XNNPACK and ExecuTorch give them; neither knows modules."""
        return [Layer(one.name, one.operator, UNKNOWN, one.ms) for one in self._profiled(x, runs)]

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Return which operators the delegate computes; ExecuTorch's own kernels are a fallback."""
        delegate = "XNNPACK"
        ran = [
            Ran(one.operator, delegate if one.delegated else KERNELS, one.ms)
            for one in self._profiled(x, runs)
        ]
        return collect(ran, "ExecuTorch's event trace", [KERNELS])

    def _profiled(self, x: Mapping[str, Array], runs: int) -> list[Event]:
        """Return the operators with their mean times in ``runs`` runs, after one that warms up."""
        with self._one_at_a_time:
            profile = ExecuTorchProfile(self._pool, self._data, METHOD)
            given = [self._torch.from_numpy(_writable(array)) for array in self.checked(x).values()]
            for _ in range(runs + 1):
                profile.run(given)
            return mean_times(profile.runs())

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        floats = "float16" if self.artifact.passport.precision == "fp16" else "float32"
        return {
            "runtime": "ExecuTorch",
            "version": importlib.metadata.version("executorch"),
            "device": "CPU, XNNPACK",
            "threads": self.threads,
            "arithmetic": self._arithmetic(floats),
        }

    def close(self) -> None:
        """Free the model."""
        self._method = self._program = None


def checked_program(artifact: Artifact, data: bytes) -> PteProgram:
    """Read a program's file without native code.

    Raises:
        ArtifactError: it is damaged, or holds what no artifact of this toolkit does.
    """
    try:
        return read_pte(data)
    except (ValueError, OverflowError) as error:  # UnicodeDecodeError is a ValueError
        raise ArtifactError(
            f"{artifact.model_path}: not a usable .pte file: {error}. Export the artifact again"
        ) from error


def _check_backends(artifact: Artifact, program: PteProgram, registered: list[str]) -> None:
    missing = sorted(set(program.delegates) - set(registered))
    if missing:
        raise TargetUnavailableError(
            f"{artifact.path}: needs {', '.join(missing)[:200]}, which ExecuTorch for Python does not have "
            f"here ({', '.join(registered)}); run it on a device, with ExecuTorch built for it"
        )


def _ports(tensors: list[PteTensor], contracts: tuple[TensorContract, ...]) -> list[Port]:
    """Return the ends with the passport's names: the format has none, and keeps them in order."""
    names = [contract.name for contract in contracts]
    names += [f"number {index}" for index in range(len(names), len(tensors))]
    return [(name, list(tensor.shape), tensor.dtype) for name, tensor in zip(names, tensors, strict=False)]


def _writable(array: Array) -> Array:
    """Return the array, or a copy of one that may not be written to, which PyTorch warns of."""
    return array if array.flags.writeable else np.array(array)
