"""The target table: one row per runtime family that a network can leave for.

A new target is one file with a ``build`` function and one row here. The command line, the matrix of
``deploy`` and the report read this table and know no target by name.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ..calibration.levels import LEVELS, REDUCED_LEVELS
from ..runtime.errors import TargetUnavailableError, UnknownNameError
from ..runtime.tensorrt.features import RTX_CAPABILITIES
from .requirements import Option, Requirement, read_options

if TYPE_CHECKING:
    from ..calibration.table import CalibrationTable
    from ..runtime.artifact import Artifact
    from .cutting.parts import Opener, Parts
    from .spectral import LoweredProgram

PRECISIONS: Mapping[str, str] = {
    "fp32": "32-bit float",
    "fp16": "16-bit float; values that overflow or lose too much precision stay in 32-bit",
    "int8": "8-bit convolutions from a calibration table; everything else in float",
}
"""Every precision of the toolkit, in the order tables list them. A target offers some of them."""


@dataclass(frozen=True)
class Target:
    """One row: what is built, at which precisions, by which function, and what that takes.

    ``builder`` is ``module:function`` relative to this package, a :class:`Builder`. ``run_probe``, in the
    same form, returns why this machine cannot run the target although the modules are there (no GPU, not a
    Mac), or ``None``; ``build_probe`` why it cannot build it. ``profile`` is handed to the lowering: targets
    of one profile share one lowered program. ``options`` may be set by users, ``chosen`` are their values,
    which the builder of a target that has some gets as ``options``.
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
    build_probe: str | None = None
    run_remark: str = ""
    """What ``doctor`` says of running it, where it runs."""
    calibrated: tuple[str, ...] = ()
    """Precisions whose builder needs a calibration table."""
    options: Mapping[str, Option] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    rounds_results: bool = False
    """Whether int8 files round the results of convolutions too, to bytes with zero point 128."""
    parts: str | None = None
    """How any part of a built model is run, which bisection needs: ``module:function``, an
    :class:`~fdikp_edge.export.cutting.parts.Opener`."""

    @property
    def weight_levels(self) -> int:
        """The largest 8-bit value of a weight in int8 files."""
        return weight_levels(self.chosen)

    @property
    def spec(self) -> str:
        """What :func:`get_target` takes to give this row: the name, and the options that were set."""
        changed = [
            f"{name}={value}" for name, value in self.chosen.items() if value != self.options[name].default
        ]
        return ":".join([self.name, *([";".join(changed)] if changed else [])])

    def check(self, precision: str) -> None:
        """Check, before any work starts, that this machine can build the target at ``precision``.

        Raises:
            UnknownNameError: no such precision exists.
            TargetUnavailableError: it is not offered for this target (lists those that are), or a tool is
                missing here (names it, and how to install it).
        """
        if precision not in PRECISIONS:
            raise UnknownNameError(
                f"unknown precision {precision!r}; expected one of: {', '.join(PRECISIONS)}"
            )
        if precision not in self.precisions:
            raise TargetUnavailableError(
                f"target {self.name} does not support {precision}, only {', '.join(self.precisions)}"
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

        ``table`` is left alone at precisions that need none.

        Raises:
            UnknownNameError: no such precision.
            TargetUnavailableError: the precision is not offered, or the tools are missing here.
        """
        self.check(precision)
        build = cast("Callable[..., BuildResult]", _resolve(self.builder))  # a Builder
        if self.options:
            build = functools.partial(build, options=self.chosen or read_options(self.name, "", self.options))
        needed = table if precision in self.calibrated else None
        return build(lowered, precision, folder, table=needed, provenance=provenance)


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
_RTX = 'pip install "fdikp-edge[tensorrt-rtx]"'
_TENSORRT = "it comes with JetPack, or as a package of NVIDIA's: docs.nvidia.com/deeplearning/tensorrt"
_TORCH = Requirement("torch", "torch", "2.9", _EXPORT)
_ONNX = (
    Requirement("onnx", "onnx", "1.18", _EXPORT),
    Requirement("onnxscript", "onnxscript", "0.5", _EXPORT),
)

_WEIGHTS = Option(
    "8bit",
    "8bit|7bit",
    "int8 weights; 7bit: exact sums on x86 processors without VNNI too, for less than 1 dB of parity",
)
_LEVELS = {"8bit": LEVELS, "7bit": REDUCED_LEVELS}

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="onnx",
            title="ONNX, on ONNX Runtime",
            model_file="model.onnx",
            precisions=("fp32", "fp16", "int8"),
            builder=".onnx.build:build",
            build_needs=(_TORCH, *_ONNX),
            run_needs=(Requirement("onnxruntime", "onnxruntime", "1.23", "pip install onnxruntime"),),
            profile="onnx",
            calibrated=("fp16", "int8"),
            rounds_results=True,
            options={"weights": _WEIGHTS},
            parts=".onnx.parts:open_parts",
        ),
        Target(
            name="openvino",
            title="OpenVINO IR",
            model_file="model.xml",
            precisions=("fp32", "fp16", "int8"),
            builder=".openvino.build:build",
            build_needs=(_TORCH, *_ONNX, Requirement("openvino", "openvino", "2025.3", _OPENVINO)),
            run_needs=(Requirement("openvino", "openvino", "2025.3", _OPENVINO),),
            profile="openvino",
            calibrated=("fp16", "int8"),
            options={"weights": _WEIGHTS},
            parts=".openvino.parts:open_parts",
        ),
        Target(
            name="coreml",
            title="Core ML (.mlpackage)",
            model_file="model.mlpackage",
            precisions=("fp32", "fp16", "int8"),
            builder=".coreml.build:build",
            build_needs=(_TORCH, Requirement("coremltools", "coremltools", "9.0", _COREML)),
            run_needs=(),  # the reference interpreter has NumPy alone
            run_remark="without a Mac: MIL reference interpreter, for numerical results, not for speed",
            profile="coreml",
            calibrated=("int8",),
            parts=".coreml.parts:open_parts",
        ),
        Target(
            name="tensorrt-rtx",
            title="TensorRT-RTX engine",
            model_file="model.engine",
            precisions=("fp32", "fp16", "int8"),
            builder=".tensorrt.build:build_rtx",
            build_needs=(
                _TORCH,
                *_ONNX,
                Requirement("polygraphy", "polygraphy", "0.53", _RTX),
                Requirement("tensorrt_rtx", "tensorrt-rtx-cu13", "1.7", _RTX),
            ),
            run_needs=(Requirement("tensorrt_rtx", "tensorrt-rtx-cu13", "1.7", _RTX),),
            run_probe="..runtime.tensorrt.cuda:gpu_problem",
            profile="tensorrt",
            calibrated=("fp16", "int8"),
            options={
                "capabilities": Option(
                    "8.6,8.9,12.0",
                    r"\d{1,2}\.\d(,\d{1,2}\.\d){0,7}",
                    "compute capabilities of the GPUs that the engine is for",
                    offered=RTX_CAPABILITIES,
                )
            },
        ),
        Target(
            name="tensorrt",
            title="TensorRT engine, for the GPU of this machine",
            model_file="model.engine",
            precisions=("fp32", "fp16", "int8"),
            builder=".tensorrt.build:build_classic",
            build_needs=(
                _TORCH,
                *_ONNX,
                Requirement("polygraphy", "polygraphy", "0.53", 'pip install "fdikp-edge[tensorrt]"'),
                Requirement("tensorrt", "tensorrt", "10.3", _TENSORRT),
            ),
            run_needs=(Requirement("tensorrt", "tensorrt", "10.3", _TENSORRT),),
            run_probe="..runtime.tensorrt.cuda:gpu_problem",
            build_probe="..runtime.tensorrt.cuda:gpu_problem",
            profile="tensorrt",
            calibrated=("fp16", "int8"),
            options={
                "typing": Option(
                    "strong",
                    "strong|weak",
                    "strong: types are in the file; weak: chosen under flags, before TensorRT 11",
                ),
                "transforms": Option(
                    "products",
                    "products|native",
                    "native: TensorRT's own DFT where it wins, from 11.2",
                    {"native": "tensorrt-native"},
                ),
            },
        ),
    )
}


def weight_levels(options: Mapping[str, str] | None) -> int:
    """Return the largest 8-bit value of a weight that options of a target ask for."""
    return _LEVELS[(options or {}).get("weights", "8bit")]


def get_target(spec: str) -> Target:
    """Return a target by name, or with options set: ``tensorrt-rtx:capabilities=8.6,8.9``.

    Raises:
        UnknownNameError: no target has the name; lists those that exist.
        BadInputError: the target has no such option; lists those it has.
    """
    name, _, text = spec.partition(":")
    row = TARGETS.get(name)
    if row is None:
        raise UnknownNameError(f"unknown target {name!r}; expected one of: {', '.join(TARGETS)}")
    if not text:
        return row
    chosen = read_options(name, text, row.options)
    profiles = [
        option.profiles[chosen[key]] for key, option in row.options.items() if chosen[key] in option.profiles
    ]
    return dataclasses.replace(row, chosen=chosen, profile=[row.profile, *profiles][-1])


def select(names: Sequence[str], precisions: Sequence[str]) -> list[tuple[Target, str]]:
    """Return the (target, precision) pairs asked for, in the table's order of targets and without repeats.

    Names are as :func:`get_target` takes them; of one target asked for twice, the later options count.

    ``all`` among ``names`` means every target; ``all`` among ``precisions`` means those each target offers. A
    precision named outright is paired with every target, offered or not, so that the caller can say why not.

    Raises:
        UnknownNameError: a name that does not exist.
        BadInputError: an option the target does not have.
    """
    asked = [get_target(name) for name in names if name != "all"]
    for precision in precisions:
        if precision != "all" and precision not in PRECISIONS:
            raise UnknownNameError(
                f"unknown precision {precision!r}; expected one of: {', '.join(PRECISIONS)}, all"
            )
    pairs = []
    for row in TARGETS.values():
        target = next((target for target in reversed(asked) if target.name == row.name), row)
        if "all" not in names and target not in asked:
            continue
        for precision in PRECISIONS:
            if precision in precisions or ("all" in precisions and precision in target.precisions):
                pairs.append((target, precision))
    return pairs


def capability(target: Target) -> Capability:
    """Find out what this machine can do with a target, without importing anything heavy."""
    build = _problems(target.build_needs, target.build_probe)
    run = _problems(target.run_needs, target.run_probe)
    return Capability(not build, not run, "; ".join(dict.fromkeys(build + run)))


def _problems(needs: Sequence[Requirement], probe: str | None) -> list[str]:
    problems = [problem for need in needs if (problem := need.problem())]
    if not problems and probe is not None:
        ask = cast("Callable[[], str | None]", _resolve(probe))
        problems = [problem for problem in [ask()] if problem]
    return problems


def _resolve(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module, __package__), name)
