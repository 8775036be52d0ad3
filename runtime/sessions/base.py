"""What every session is: numpy in, numpy out, and a plain account of what ran."""

from __future__ import annotations

import importlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any, TypeVar, overload

import numpy as np

from .. import processor
from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError, FdikpEdgeError, RunError, TargetUnavailableError
from ..layers import Layer
from ..passport import QUANTISED_LAYERS, REDUCED_WEIGHTS, TensorContract
from ..photo import Array
from ..strict_json import printable
from .placement import Placement

Arrays = dict[str, Array]
"""Inputs or outputs by name."""

Port = tuple[str, list[Any], str]
"""Name, shape and dtype of an input or output of a model, as its runtime tells them."""

_Self = TypeVar("_Self", bound="Session")


class Milliseconds(float):
    """The time of a run by the runtime's own clock, where the caller's would count other work too."""


MAX_REASON = 400
"""Characters of a runtime's message that an error repeats."""

_FIRST_RUN = threading.RLock()  # a session may run another one
_HAVE_RUN: set[type[Session]] = set()


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
    def inputs(self) -> tuple[TensorContract, ...]:
        """What :meth:`run` takes."""
        return self.artifact.passport.inputs

    @property
    def outputs(self) -> tuple[TensorContract, ...]:
        """What :meth:`run` returns."""
        return self.artifact.passport.outputs

    @property
    def input(self) -> TensorContract:
        """The only input; :class:`BadInputError` if there are several."""
        return self.artifact.passport.input

    @property
    def output(self) -> TensorContract:
        """The only output; :class:`BadInputError` if there are several."""
        return self.artifact.passport.output

    @overload
    def run(self, x: Array) -> Array: ...

    @overload
    def run(self, x: Mapping[str, Array]) -> Arrays: ...

    def run(self, x: Array | Mapping[str, Array]) -> Array | Arrays:
        """Run the network once.

        Args:
            x: arrays by name, of exactly the shapes and dtypes of :attr:`inputs`; or the array itself, for
                a network of one input and one output. They are read in place when C-contiguous.

        Returns:
            New arrays by name, of the shapes and dtypes of :attr:`outputs`, or the array itself if ``x`` is
            one; no later run writes to them.

        Raises:
            BadInputError: another set of names, or an array of another shape or dtype.
            RunError: the runtime fails at it, or memory runs out.
        """
        if isinstance(x, Mapping):
            return self._guarded(self.checked(x))
        output = self.output.name
        return self._guarded(self.checked({self.input.name: x}))[output]

    def _guarded(self, arrays: Arrays) -> Arrays:
        try:
            return self._run(arrays) if type(self) in _HAVE_RUN else self._first_run(arrays)
        except FdikpEdgeError:
            raise
        except MemoryError as error:
            raise RunError(
                f"{self.artifact.path}: the model ran out of memory; use a smaller size ({reason(error)})"
            ) from error
        except Exception as error:  # the runtimes' exceptions share no base class
            raise RunError(
                f"{self.artifact.path}: {self.artifact.passport.model_file} failed while it ran: "
                f"{reason(error)}"
            ) from error

    def _first_run(self, arrays: Arrays) -> Arrays:
        """Run alone, until a session of this class has run: runtimes set themselves up in their first run.

        In OpenVINO 2026.4 two threads that do so together wait for each other for ever: the binding takes its
        table of NumPy's functions in a static initialiser that lets go of Python's lock, and the second
        thread waits for that initialiser while it holds the lock.
        """
        with _FIRST_RUN:
            results = self._run(arrays)
            _HAVE_RUN.add(type(self))
            return results

    def checked(self, arrays: Mapping[str, Array]) -> Arrays:
        """Return ``arrays`` C-contiguous and in the order of :attr:`inputs`; raises as :meth:`run` does."""
        contracts = self.inputs
        if set(arrays) != {contract.name for contract in contracts}:
            wanted = ", ".join(contract.name for contract in contracts)
            raise BadInputError(f"expected the inputs {wanted}; got {', '.join(map(str, arrays)) or 'none'}")
        for contract in contracts:
            x = arrays[contract.name]
            if x.shape != contract.shape or x.dtype != contract.dtype:
                layout = f" ({contract.layout})" if contract.layout else ""
                raise BadInputError(
                    f"{contract.name}: expected {contract.dtype}{list(contract.shape)}{layout}, "
                    f"got {x.dtype}{list(x.shape)}"
                )
        return {contract.name: np.ascontiguousarray(arrays[contract.name]) for contract in contracts}

    @abstractmethod
    def _run(self, arrays: Arrays) -> Arrays:
        """Run C-contiguous inputs that fit the contracts."""

    def timed(self, x: Array | Mapping[str, Array]) -> object:
        """Run once for a measurement, as :meth:`run` does.

        Returns:
            :class:`Milliseconds` if the runtime keeps a clock that the caller's cannot replace, such as that
            of a page in a browser; anything else otherwise.
        """
        return self.run(x)

    @property
    def remark(self) -> str:
        """What is wrong with the arithmetic of this artifact on this processor, and the remedy; empty if
        nothing is known to be."""
        passport = self.artifact.passport
        census = passport.precision_census
        if census.get(QUANTISED_LAYERS) == 0:
            return "no layer computes in 8 bits here, so its figures are those of floating point"
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

    def layer_times(self, x: Mapping[str, Array], runs: int) -> list[Layer]:
        """Run ``runs`` times with the runtime's own profiler, and return the mean time of each layer.

        A subclass overrides this where its runtime has a profiler.

        Raises:
            TargetUnavailableError: this session reads no times per layer.
        """
        target = self.artifact.passport.target
        raise TargetUnavailableError(f"times per layer are not available for target {target}")

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Say where the operators of the model run, as the runtime tells after ``runs`` runs.

        A subclass overrides this where its runtime tells.

        Raises:
            TargetUnavailableError: this session cannot know it.
        """
        target = self.artifact.passport.target
        raise TargetUnavailableError(f"the placement of operators is not available for target {target}")

    @property
    def device_memory_bytes(self) -> int | None:
        """What the opened model takes on a device of its own, in bytes; ``None`` where no runtime tells."""
        return None

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


def reason(error: Exception) -> str:
    """Return the line of a runtime's message that helps, at most 400 characters of it.

    OpenVINO begins with the places in its source ("Exception from ...:"); what was wrong stands last.
    """
    lines = [line.strip() for line in printable(str(error)).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith("Exception from ")] or lines
    line = useful[-1] if useful else type(error).__name__
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."


def refused(artifact: Artifact, runtime: str, error: Exception) -> ArtifactError:
    """Return the error for a model that a runtime would not load, with the :func:`reason` it gave."""
    return ArtifactError(
        f"{artifact.path}: {runtime} cannot load {artifact.passport.model_file}: "
        f"{reason(error)}. Export the artifact again, or update {runtime}"
    )


def check_suffix(artifact: Artifact, suffix: str) -> None:
    """Check the model's suffix, by which runtimes choose a reader; each reader needs checks of its own.

    Raises:
        ArtifactError: it is another.
    """
    name = artifact.passport.model_file
    if not name.endswith(suffix):
        raise ArtifactError(
            f"{artifact.path}: {name}: a model for {artifact.passport.target} is a {suffix} file. Export the "
            "artifact again"
        )


def check_ports(artifact: Artifact, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Check that a model's inputs and outputs are what the passport promises, in any order.

    Raises:
        ArtifactError: another number of them, or another name, shape or dtype.
    """
    for kind, contracts, ports in (
        ("inputs", artifact.passport.inputs, inputs),
        ("outputs", artifact.passport.outputs, outputs),
    ):
        promised = [(contract.name, list(contract.shape), contract.dtype) for contract in contracts]
        actual = [(name, list(shape), str(dtype)) for name, shape, dtype in ports]
        if sorted(actual, key=_port_name) != sorted(promised, key=_port_name):
            raise ArtifactError(
                f"{artifact.path}: {artifact.passport.model_file} has the {kind} {str(actual)[:500]}, the "
                f"passport says {str(promised)[:500]}. Export the artifact again"
            )


def _port_name(port: tuple[str, list[Any], str]) -> str:
    return port[0]
