"""What every session is: numpy in, numpy out, and a plain account of what ran."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from types import ModuleType, TracebackType
from typing import Any, TypeVar

import numpy as np

from .. import processor
from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError, TargetUnavailableError
from ..layers import Layer
from ..passport import QUANTISED_LAYERS, REDUCED_WEIGHTS, TensorContract

Port = tuple[str, list[Any], str]
"""Name, shape and dtype of an input or output of a model, as its runtime tells them."""

_Self = TypeVar("_Self", bound="Session")


class Session(ABC):
    """An opened artifact, ready to run; a context manager.

    A subclass loads the model in ``__init__(artifact, threads)`` and implements :meth:`_run`,
    :meth:`describe` and :meth:`close`. A session serves one thread at a time; open one per thread.
    """

    caveat: str = ""
    """What stands in for the real runtime, if something does: results are as good as that, timings say
    nothing."""
    is_stand_in: bool = False
    """Whether another file than the artifact's own model ran, so that the artifact stays unverified."""

    sums_in_16_bits: bool = False
    """Whether the runtime adds 8-bit products in 16 bits on x86 processors without VNNI."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Keep the artifact and the number of threads; the subclass opens the model."""
        self.artifact = artifact
        self.threads = threads

    @property
    def input(self) -> TensorContract:
        """What :meth:`run` takes."""
        return self.artifact.passport.input

    @property
    def output(self) -> TensorContract:
        """What :meth:`run` returns."""
        return self.artifact.passport.output

    def run(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Run the network once.

        Args:
            x: array of exactly the shape and dtype of :attr:`input`. It is read in place when C-contiguous.

        Returns:
            A new array of the shape and dtype of :attr:`output`; no later run writes to it.

        Raises:
            BadInputError: ``x`` has another shape or dtype.
        """
        contract = self.input
        if x.shape != contract.shape or x.dtype != contract.dtype:
            raise BadInputError(
                f"{contract.name}: expected {contract.dtype}{list(contract.shape)} ({contract.layout}), "
                f"got {x.dtype}{list(x.shape)}"
            )
        return self._run(np.ascontiguousarray(x))

    @abstractmethod
    def _run(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Run a C-contiguous input that fits the contract."""

    @property
    def remark(self) -> str:
        """What is wrong with the arithmetic of this artifact on this processor, and the remedy; empty if
        nothing is known to be."""
        passport = self.artifact.passport
        census = passport.precision_census
        wide = census.get(QUANTISED_LAYERS, 0) - census.get(REDUCED_WEIGHTS, 0)
        if not self.sums_in_16_bits or wide <= 0 or not processor.saturates():
            return ""
        return (
            "this processor has no 8-bit dot product (VNNI), so sums of 8-bit products saturate; build the "
            f"artifact for it with: --target {passport.target}:weights=7bit"
        )

    def _arithmetic(self, floats: str) -> str:
        """Name the arithmetic that runs, given that of the operators that are not quantised."""
        return f"int8 and {floats}" if self.artifact.passport.precision.startswith("int8") else floats

    def layer_times(self, x: np.ndarray[Any, Any], runs: int) -> list[Layer]:
        """Run ``runs`` times with the runtime's own profiler, and return the mean time of each layer.

        A subclass overrides this where its runtime has a profiler.

        Raises:
            TargetUnavailableError: this session reads no times per layer.
        """
        target = self.artifact.passport.target
        raise TargetUnavailableError(f"times per layer are not available for target {target}")

    @abstractmethod
    def describe(self) -> dict[str, str | int]:
        """Say what runs: ``runtime``, ``version``, ``device``, ``threads`` and ``arithmetic``."""

    @abstractmethod
    def close(self) -> None:
        """Free the model; the session cannot run after this. Closing twice is fine."""

    def __enter__(self: _Self) -> _Self:
        """Return the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()


def available_threads() -> int:
    """Return how many processors this process may use: what a session takes when not told."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_runtime(module: str, target: str, install: str) -> ModuleType:
    """Import a runtime's library.

    Raises:
        TargetUnavailableError: it is not installed, or does not load here; the message says what to run.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # A missing shared library is an ImportError too, and its text is what helps.
        why = "is not installed" if error.name == module else f"does not load: {error}"
        message = f"target {target}: {module} {why}. Install it with: {install}"
        raise TargetUnavailableError(message) from error


def refused(artifact: Artifact, runtime: str, error: Exception) -> ArtifactError:
    """Return the error for a model that a runtime would not load, with the first line of what it said."""
    lines = str(error).strip().splitlines()
    return ArtifactError(
        f"{artifact.path}: {runtime} cannot load {artifact.passport.model_file}: "
        f"{lines[0] if lines else type(error).__name__}. Export the artifact again, or update {runtime}"
    )


def check_ports(artifact: Artifact, inputs: list[Port], outputs: list[Port]) -> None:
    """Check that a model's inputs and outputs are what the passport promises.

    Raises:
        ArtifactError: another number of them, or another name, shape or dtype.
    """
    for kind, contract, ports in (
        ("input", artifact.passport.input, inputs),
        ("output", artifact.passport.output, outputs),
    ):
        promised = (contract.name, list(contract.shape), contract.dtype)
        actual = [(name, list(shape), dtype) for name, shape, dtype in ports]
        if actual != [promised]:
            raise ArtifactError(
                f"{artifact.path}: {artifact.passport.model_file} has the {kind} {actual}, the passport says "
                f"{promised}. Export the artifact again"
            )
