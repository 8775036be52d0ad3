"""What a target says of itself: one frozen row, whose functions are imported when they are called."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ..runtime.errors import BadInputError, TargetUnavailableError, UnknownNameError
from ..runtime.installed.packages import Requirement
from .options import Option, read_options, weight_levels
from .profile import Profile

if TYPE_CHECKING:
    import onnx

    from ..calibration.table import CalibrationTable
    from ..runtime.artifact import Artifact
    from ..runtime.photo import Array
    from .cutting.parts import Opener, Parts
    from .device.android.phone_run import Opener as PhoneRunOpener
    from .device.android.phone_run import PhoneRun
    from .layer_runs import LayerRuns
    from .layer_runs import Opener as LayerRunsOpener
    from .onnx.source.program import OnnxProgram
    from .spectral import LoweredProgram

PRECISIONS: Mapping[str, str] = {
    "fp32": "32-bit float",
    "fp16": "16-bit float; values that overflow or lose too much precision stay in 32-bit",
    "bf16": "16-bit float with the range of 32-bit and 8 bits of mantissa; needs no calibration table",
    "int8": "8-bit convolutions from a calibration table; everything else in float",
}
"""Every precision of the toolkit, in the order tables list them. A target offers some of them."""


_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Target:
    """One row: what is built, at which precisions, by which function, and what that takes.

    Functions are named ``module:function``. A module with a leading dot is relative to ``fdikp_edge.export``;
    a package that adds a target names its own modules in full.
    """

    name: str
    """Lower-case letters, digits and hyphens. It is part of folder names, and what ``--target`` takes."""
    title: str
    model_file: str
    """The file or folder in an artifact that the runtime opens."""
    precisions: tuple[str, ...]
    """Some of :data:`PRECISIONS`."""
    builder: str
    """What writes the files: a :class:`Builder`."""
    build_needs: tuple[Requirement, ...]
    run_needs: tuple[Requirement, ...]
    costs: Profile
    """What the runtime gains from what: for the choice of strategies, and of the layers in 8 bits. Targets
    may share a profile, and then they share one lowered program."""

    run_probe: str | None = None
    """What tells why this machine cannot run the target although the modules are there (no GPU, not a Mac):
    a function without arguments that returns the reason, or ``None``."""
    build_probe: str | None = None
    """The same for building."""
    unasked_probe: str | None = None
    """What takes the place of ``build_probe`` where the target was not named but is one of ``all``: building
    it must download nothing then."""
    run_remark: str = ""
    """What ``doctor`` says of running it, where it runs."""
    gain: str = ""
    """What ``doctor`` says that installing its runtime adds, where that is not installed."""

    not_offered: Mapping[str, str] = field(default_factory=dict)
    """Precision -> why the target does not have it, for those that users ask for."""
    calibrated: tuple[str, ...] = ()
    """Precisions whose builder needs a calibration table."""

    options: Mapping[str, Option] = field(default_factory=dict)
    """What users may set. The builder of a target with options gets their values as ``options``."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """The values that were set; empty in the table."""
    profiles: tuple[Profile, ...] = ()
    """Further profiles for programs that are lowered for this runtime in other ways."""

    parts: str | None = None
    """How any part of a built model is run, which bisection needs: an
    :class:`~fdikp_edge.export.cutting.parts.Opener`."""
    layer_runs: str | None = None
    """How each layer of a built model is timed, which mixed precision needs: an
    :class:`~fdikp_edge.export.layer_runs.Opener`. Without it, time is shared out by multiply-adds."""
    devices: Mapping[str, str | None] = field(default_factory=dict)
    """Devices whose bundles take its artifacts (:mod:`.device.bundle`) -> where the device builds, an
    :class:`OnnxChange` that makes the artifact's ONNX file into what it builds from, ``None`` if it is that
    already; where it runs artifacts as they are, an
    :data:`~fdikp_edge.export.device.android.phone_run.Opener`, which says how."""
    session: str | None = None
    """The :class:`~fdikp_edge.runtime.sessions.Session` that runs it. Targets of this project have theirs in
    the table of :mod:`fdikp_edge.runtime.sessions`, because a device has no target table."""
    stand_in: str | None = None
    """The session for another file of the artifact, on a machine that cannot run its model."""

    def __post_init__(self) -> None:
        """Check the name and the precisions.

        Raises:
            BadInputError: a name of other characters, or a precision that does not exist.
        """
        if not _NAME.fullmatch(self.name):
            raise BadInputError(
                f"target {self.name!r}: a name has lower-case letters, digits and hyphens between them"
            )
        unknown = {*self.precisions, *self.calibrated} - set(PRECISIONS)
        if unknown or not self.precisions:
            wrong = (
                f"no precision is called {', '.join(sorted(unknown))}" if unknown else "offers no precision"
            )
            raise BadInputError(f"target {self.name}: {wrong}; expected: {', '.join(PRECISIONS)}")

    @property
    def profile(self) -> str:
        """The name of :attr:`costs`."""
        return self.costs.name

    @property
    def needs(self) -> tuple[Requirement, ...]:
        """All packages of :attr:`build_needs` and :attr:`run_needs`, each once."""
        return tuple(dict.fromkeys((*self.build_needs, *self.run_needs)))

    @property
    def all_profiles(self) -> tuple[Profile, ...]:
        """Every profile that a program for this target can be lowered for, each once."""
        optional = (profile for option in self.options.values() for profile in option.profiles.values())
        return tuple(dict.fromkeys((self.costs, *optional, *self.profiles)))

    @property
    def weight_levels(self) -> int:
        """The largest 8-bit value of a weight in int8 files."""
        return weight_levels(self.chosen)

    @property
    def spec(self) -> str:
        """The name with the options that were set, as :func:`.targets.get_target` reads it."""
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
            reason = f" ({why})" if (why := self.not_offered.get(precision)) else ""
            raise TargetUnavailableError(
                f"target {self.name} does not support {precision}, only {', '.join(self.precisions)}{reason}"
            )
        ability = capability(self)
        if not ability.can_build:
            raise TargetUnavailableError(f"target {self.name} cannot be built here: {ability.reason}")

    def open_parts(self, artifact: Artifact, threads: int) -> Parts:
        """Read the model of an artifact of this target so that any part of it can be run.

        Raises:
            TargetUnavailableError: models of this target cannot be cut into parts, or not on this machine.
            ArtifactError: the model does not say which operator came from where.
        """
        if self.parts is None:
            raise TargetUnavailableError(
                f"target {self.name}: its models cannot be cut into parts; bisect one of target onnx instead"
            )
        if problems := [problem for need in self.run_needs if (problem := need.problem())]:
            raise TargetUnavailableError(f"target {self.name} cannot run here: {'; '.join(problems)}")
        return cast("Opener", _resolve(self.parts))(artifact, threads)

    def open_layer_runs(self, artifact: Artifact, x: Mapping[str, Array], threads: int) -> LayerRuns | None:
        """Open the model of an artifact so that its layers are timed; ``None`` if this target cannot do that.

        ``x`` holds the inputs of every run by name.
        """
        if self.layer_runs is None:
            return None
        return cast("LayerRunsOpener", _resolve(self.layer_runs))(artifact, x, threads)

    def for_device(self, device: str, model: onnx.ModelProto, precision: str) -> list[str]:
        """Change the ONNX model of an artifact into what a device builds from.

        Returns:
            A note on each change; empty if the model stays as it is.
        """
        change = self.devices[device]
        return [] if change is None else cast("OnnxChange", _resolve(change))(model, precision)

    def phone_run(self, device: str, artifact: Artifact) -> PhoneRun:
        """Return how a device runs an artifact of this target as it is.

        Raises:
            BadInputError: nothing there runs it.
            ArtifactError: the model is damaged.
        """
        if (opener := self.devices.get(device)) is None:
            raise BadInputError(f"{artifact.path}: target {self.name} does not say how {device} runs it")
        return cast("PhoneRunOpener", _resolve(opener))(artifact)

    def build(
        self,
        lowered: LoweredProgram | OnnxProgram,
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
        lowered: LoweredProgram | OnnxProgram,
        precision: str,
        folder: Path,
        *,
        table: CalibrationTable | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> BuildResult:
        """Write the files into ``folder``.

        Args:
            lowered: a program without complex values or transforms; it says what inputs and outputs are
                called. A plain ONNX file in its place
                has no traced program: asking for that raises a ``TargetUnavailableError``.
            precision: one the target offers.
            folder: an existing folder; the files are the artifact's from then on.
            table: the calibration table, for precisions that need one.
            provenance: facts to carry inside the file, where its format has room for them.

        Raises:
            LoweringError: the converter left something in the file that the runtime cannot be trusted with.
        """
        ...


class OnnxChange(Protocol):
    """Changes an ONNX model in place."""

    def __call__(self, model: onnx.ModelProto, precision: str) -> list[str]:
        """Change ``model``, of an artifact of ``precision``; return a note on each change.

        Raises:
            FdikpEdgeError: the model cannot be changed.
        """
        ...


@dataclass(frozen=True)
class Capability:
    """Whether this machine can build and run a target; ``reasons`` is empty if it can do both."""

    can_build: bool
    can_run: bool
    reasons: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The reasons as one line."""
        return "; ".join(self.reasons)


def capability(target: Target) -> Capability:
    """Find out what this machine can do with a target, without importing anything heavy."""
    at_hand = any(
        option.instead_of_probe and target.chosen.get(name, option.default) != option.default
        for name, option in target.options.items()
    )
    build = _problems(target.build_needs, None if at_hand else target.build_probe)
    run = _problems(target.run_needs, target.run_probe)
    return Capability(not build, not run, tuple(dict.fromkeys(build + run)))


def _problems(needs: Sequence[Requirement], probe: str | None) -> list[str]:
    problems = [problem for need in needs if (problem := need.problem())]
    if not problems and probe is not None:
        ask = cast("Callable[[], str | None]", _resolve(probe))
        problems = [problem for problem in [ask()] if problem]
    return problems


def _resolve(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module, __package__), name)
