"""The target table: one row per runtime family that a network can leave for.

A new target is one file with a ``build`` function and one row here. The command line, the matrix of
``deploy`` and the report read this table and know no target by name.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ..runtime.errors import TargetUnavailableError, UnknownNameError

if TYPE_CHECKING:
    from ..calibration.table import CalibrationTable
    from ..runtime.artifact import Artifact
    from .parts import Opener, Parts
    from .spectral import LoweredProgram

PRECISIONS: Mapping[str, str] = {
    "fp32": "32-bit floats throughout",
    "fp16": "16-bit floats, with what overflows or loses too much kept in 32-bit",
    "int8": "8-bit convolutions from a calibration table, all else in floats",
}
"""Every precision of the toolkit, in the order tables list them. A target offers some of them."""


@dataclass(frozen=True)
class Requirement:
    """A Python module a target needs.

    ``distribution`` is the name it installs under, ``minimum`` the oldest version that works, ``install``
    what to tell a user who lacks it.
    """

    module: str
    distribution: str
    minimum: str
    install: str

    def problem(self) -> str | None:
        """Say why the module cannot be used here, or ``None``. Looks it up without importing it."""
        if importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed ({self.install})"
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None  # installed under another name, such as onnxruntime-gpu or a vendor's build
        if _numbers(version) < _numbers(self.minimum):
            return f"{self.module} {version} is older than {self.minimum} ({self.install})"
        return None


@dataclass(frozen=True)
class Target:
    """One row: what is built, at which precisions, by which function, and what that takes.

    ``builder`` is ``module:function`` relative to this package, a :class:`Builder`. ``run_probe``, in the
    same form, returns why this machine cannot run the target although the modules are there (no GPU, not a
    Mac), or ``None``. ``profile`` is handed to the lowering: targets of one profile share one lowered
    program.
    """

    name: str
    title: str
    model_file: str
    precisions: tuple[str, ...]
    builder: str
    build_needs: tuple[Requirement, ...]
    run_needs: tuple[Requirement, ...]
    profile: str
    run_probe: str | None = None
    calibrated: tuple[str, ...] = ()
    """Precisions whose builder needs a calibration table."""
    parts: str | None = None
    """How any part of a built model is run, which bisection needs: ``module:function``, an
    :class:`~fdikp_edge.export.parts.Opener`."""

    def check(self, precision: str) -> None:
        """Check, before any work starts, that this machine can build the target at ``precision``.

        Raises:
            UnknownNameError: no such precision exists.
            TargetUnavailableError: it is not offered for this target (lists those that are), or a tool is
            missing
                here (names it, and how to install it).
        """
        if precision not in PRECISIONS:
            raise UnknownNameError(
                f"no precision is called {precision!r}; there are: {', '.join(PRECISIONS)}"
            )
        if precision not in self.precisions:
            raise TargetUnavailableError(
                f"target {self.name} is not offered at {precision} yet, only at {', '.join(self.precisions)}"
            )
        found = capability(self)
        if not found.can_build:
            raise TargetUnavailableError(f"target {self.name} cannot be built here: {found.reason}")

    def open_parts(self, artifact: Artifact, threads: int) -> Parts:
        """Read the model of an artifact of this target so that any part of it can be run.

        Raises:
            TargetUnavailableError: models of this target cannot be cut into parts, or not on this machine.
            ArtifactError: the model does not say which operator came from where.
        """
        if self.parts is None:
            raise TargetUnavailableError(f"target {self.name}: its models cannot be cut into parts")
        if problems := [problem for need in self.run_needs if (problem := need.problem())]:
            raise TargetUnavailableError(f"target {self.name} cannot run here: {'; '.join(problems)}")
        return cast("Opener", _resolve(self.parts))(artifact, threads)

    def build(
        self,
        lowered: LoweredProgram,
        precision: str,
        folder: Path,
        *,
        table: CalibrationTable | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> BuildResult:
        """Write this target's files for ``lowered`` into ``folder``; see :class:`Builder`.

        Raises:
            UnknownNameError: no such precision.
            TargetUnavailableError: the precision is not offered, or the tools are missing here.
        """
        self.check(precision)
        build = cast(Builder, _resolve(self.builder))
        return build(lowered, precision, folder, table=table, provenance=provenance)


@dataclass(frozen=True)
class BuildResult:
    """What a builder reports.

    ``model_file`` is relative to the folder it wrote to; ``toolchain`` maps tool to version; ``census``
    counts the operators of the file by type; ``precisions`` counts them by the arithmetic they ask for.
    """

    model_file: str
    toolchain: dict[str, str]
    census: dict[str, int]
    precisions: dict[str, int]
    notes: list[str] = field(default_factory=list)


class Builder(Protocol):
    """Turns a lowered program into one target's files."""

    def __call__(
        self,
        lowered: LoweredProgram,
        precision: str,
        folder: Path,
        *,
        table: CalibrationTable | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> BuildResult:
        """Write the files into ``folder``.

        Args:
            lowered: a program with one image in and one image out, without complex values or transforms.
            precision: one the target offers.
            folder: an existing folder; the files are the artifact's from then on.
            table: the calibration table, for precisions that need one.
            provenance: facts to carry inside the file, where its format has room for them.

        Raises:
            LoweringError: the converter left something in the file that the runtime cannot be trusted with.
        """
        ...


@dataclass(frozen=True)
class Capability:
    """Whether this machine can build and run a target; ``reason`` is empty if it can do both."""

    can_build: bool
    can_run: bool
    reason: str


_EXPORT = 'pip install "fdikp-edge[export]"'
_OPENVINO = 'pip install "fdikp-edge[openvino]"'
_COREML = 'pip install "fdikp-edge[coreml]"'
_TORCH = Requirement("torch", "torch", "2.9", _EXPORT)
_ONNX = (
    Requirement("onnx", "onnx", "1.18", _EXPORT),
    Requirement("onnxscript", "onnxscript", "0.5", _EXPORT),
)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="onnx",
            title="ONNX, on ONNX Runtime",
            model_file="model.onnx",
            precisions=("fp32", "fp16", "int8"),
            builder=".onnx:build",
            build_needs=(_TORCH, *_ONNX),
            run_needs=(Requirement("onnxruntime", "onnxruntime", "1.23", "pip install onnxruntime"),),
            profile="onnx",
            calibrated=("fp16", "int8"),
            parts=".onnx_parts:open_parts",
        ),
        Target(
            name="openvino",
            title="OpenVINO IR",
            model_file="model.xml",
            precisions=("fp32", "fp16", "int8"),
            builder=".openvino:build",
            build_needs=(_TORCH, *_ONNX, Requirement("openvino", "openvino", "2025.3", _OPENVINO)),
            run_needs=(Requirement("openvino", "openvino", "2025.3", _OPENVINO),),
            profile="openvino",
            calibrated=("fp16", "int8"),
            parts=".openvino_parts:open_parts",
        ),
        Target(
            name="coreml",
            title="Core ML (.mlpackage)",
            model_file="model.mlpackage",
            precisions=("fp32", "fp16", "int8"),
            builder=".coreml:build",
            build_needs=(_TORCH, Requirement("coremltools", "coremltools", "9.0", _COREML)),
            run_needs=(),  # the reference interpreter has NumPy alone
            profile="coreml",
            parts=".coreml_parts:open_parts",
        ),
    )
}


def get_target(name: str) -> Target:
    """Return the target called ``name``; :class:`UnknownNameError` lists those that exist."""
    try:
        return TARGETS[name]
    except KeyError:
        raise UnknownNameError(f"no target is called {name!r}; there are: {', '.join(TARGETS)}") from None


def select(names: Sequence[str], precisions: Sequence[str]) -> list[tuple[Target, str]]:
    """Return the (target, precision) pairs asked for, in the table's order of targets and without repeats.

    ``all`` among ``names`` means every target; ``all`` among ``precisions`` means those each target offers. A
    precision named outright is paired with every target, offered or not, so that the caller can say why not.

    Raises:
        UnknownNameError: a name that does not exist.
    """
    for name in names:
        if name != "all":
            get_target(name)
    for precision in precisions:
        if precision != "all" and precision not in PRECISIONS:
            raise UnknownNameError(
                f"no precision is called {precision!r}; there are: {', '.join(PRECISIONS)}, all"
            )
    pairs = []
    for target in TARGETS.values():
        if "all" not in names and target.name not in names:
            continue
        for precision in PRECISIONS:
            if precision in precisions or ("all" in precisions and precision in target.precisions):
                pairs.append((target, precision))
    return pairs


def capability(target: Target) -> Capability:
    """Find out what this machine can do with a target, without importing anything heavy."""
    build = [problem for need in target.build_needs if (problem := need.problem())]
    run = [problem for need in target.run_needs if (problem := need.problem())]
    if not run and target.run_probe is not None:
        probe = cast("Callable[[], str | None]", _resolve(target.run_probe))
        if problem := probe():
            run.append(problem)
    return Capability(not build, not run, "; ".join(dict.fromkeys(build + run)))


def _resolve(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module, __package__), name)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.13.0+cpu`` -> (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
