"""Which module of a network is the first where an artifact departs from the reference beyond its budget.

A probe lets the artifact compute the network up to a module boundary and the reference the rest. The error of
the result is that of the reference at one end and that of the artifact at the other, and halving the way
between finds a boundary where it passes the budget, in as many probes as the number of modules has binary
digits. A second such search, inside the module, finds the operator.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...export.targets import get_target
from ...runtime.artifact import Artifact
from ...runtime.errors import BadInputError, CheckFailedError, FdikpEdgeError
from ...runtime.images import read_photo
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop, psnr_db
from ...runtime.progress import Progress
from ...runtime.sessions import available_threads
from ...runtime.tensors import TensorContract, described
from .budgets import Budget, budget_for
from .first_departure import NOT_FINITE_DB, Bisection, Error, FirstDeparture
from .parity import as_picture
from .tensor import distance

if TYPE_CHECKING:
    from torch import nn

    from ...export.cutting.partition import Cut, Partition
    from ...export.lowered import LoweredModel
    from ...models.sources.base import NetworkSource


def bisect(
    artifact: Artifact,
    model: nn.Module | NetworkSource | LoweredModel,
    *,
    against: Artifact | None = None,
    photos: Sequence[Path | Photo] = (),
    budget: Budget | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Bisection:
    """Find the first module where an artifact departs from the reference.

    Args:
        artifact: what is under suspicion.
        model: the network it was made from, in PyTorch, or lowered already.
        against: an artifact to believe instead of PyTorch, of the same network or an earlier version of it.
        photos: to look for the largest error on; its golden input alone when empty.
        budget: the artifact's own when ``None``.
        threads: processor threads; all that may be used when ``None``.
        progress: called with (probes done, probes expected, message).

    Raises:
        BadInputError: the network does not fit the artifact, ``against`` takes other images, a photo cannot
            be read, or photos for an artifact that takes none.
        TargetUnavailableError: models of this target cannot be cut, or its runtime is missing here.
        CheckFailedError: a part of the model cannot be run.
    """
    began = time.perf_counter()
    say = progress or (lambda done, total, now: None)
    passport = artifact.passport
    if len(passport.inputs) != 1 or len(passport.outputs) != 1:
        raise BadInputError(
            f"{artifact.path}: bisection follows one input to one result; this artifact takes "
            f"{described(passport.inputs)} and returns {described(passport.outputs)}"
        )
    row, count = get_target(passport.target), threads or available_threads()
    if against is not None and _images(against) != _images(artifact):
        raise BadInputError(
            f"{against.path}: its image contract or size differs from that of {artifact.path}; compare with "
            "an artifact of the same contract and size"
        )
    inputs = _inputs(artifact, photos)
    say(0, 1, "reading the model")
    parts = row.open_parts(artifact, count)
    other = None if against is None else get_target(against.passport.target).open_parts(against, count)
    say(0, 1, "lowering the network")
    from ...export.cutting.partition import Partition

    program, eager, notes = _program(artifact, model)
    search = _Search(
        partition=Partition(program, parts, against=other),
        contract=passport.output,
        budget=budget
        or budget_for(
            passport.precision, passport.output.dtype, "image" if passport.output.has_colors else "tensor"
        ),
        say=say,
    )
    name, x, expected = search.choose(inputs, None if other is not None else eager)
    whole = search.whole(x, expected)
    modules = search.partition.module_cuts()
    departure = None
    if search.over(whole):
        base = search.error(search.believed(x), expected)
        if search.over(base):
            raise CheckFailedError(
                f"{artifact.path}: the lowered program itself differs from PyTorch ({base}): the plan "
                "causes the error, not the artifact; choose other strategies"
            )
        departure = search.run(x, expected, modules, whole)
    return Bisection(
        artifact=artifact.path,
        against="PyTorch" if against is None else str(against.path),
        photo=name,
        budget=search.budget,
        whole=whole,
        departure=departure,
        modules=len(search.partition.modules),
        cuts=len(modules),
        probes=search.probes,
        seconds=time.perf_counter() - began,
        notes=tuple(notes),
    )


@dataclass
class _Search:
    partition: Partition
    contract: TensorContract
    budget: Budget
    say: Progress
    probes: int = 0
    expected_probes: int = 1

    def choose(
        self, inputs: Sequence[tuple[str, Array]], eager: Callable[[Array], Array] | None
    ) -> tuple[str, Array, Array]:
        """Return the input with the largest error: its name, it, and what is right for it."""
        errors = []
        for name, x in inputs:
            self.say(0, 1, f"running {name}")
            expected = self.result(self.believed(x) if eager is None else eager(x), "the reference")
            error = self.whole(x, expected) if len(inputs) > 1 else Error(0.0, 0.0)
            errors.append((self.budget.spent(error.max_abs, error.psnr_db), name, x, expected))
        _, name, x, expected = max(errors, key=lambda entry: entry[0])
        return name, x, expected

    def run(self, x: Array, expected: Array, modules: Sequence[Cut], whole: Error) -> FirstDeparture:
        """Search the modules, then the nodes of the one found."""
        from ...export.roles import is_layer, module_of

        self.expected_probes = 2 + math.ceil(math.log2(max(2, len(modules)))) + 3
        nothing = self.error(self.believed(x), expected)
        low, high, before, after = self.halve(x, expected, modules, nothing, whole)
        paths = tuple(dict.fromkeys(module_of(node) for node in self.partition.between(low, high)))
        low, high, before, after = self.halve(x, expected, self.partition.node_cuts(low, high), before, after)
        nodes = self.partition.between(low, high)
        start, everything = modules[0], modules[-1]
        given = {self.partition.input: x}
        self.say(self.probes, self.expected_probes, "repairing the module")
        right = self.partition.believed(given, low)
        alone = self.partition.believed(self.model(right, low, high), everything)
        reached = self.model(given, start, low)
        repaired = self.model(self.partition.believed(reached, high), high, everything)
        working = [node for node in nodes if node.op == "call_function"]
        told = [precision for node in working if (precision := self.partition.precision(node))]
        # Of operators that share a value, a layer rather than the copies around it.
        main = next((node for node in working if is_layer(node)), working[0])
        departure = FirstDeparture(
            module=module_of(main),
            modules=paths,
            operator=", ".join(dict.fromkeys(str(node.target) for node in working)),
            nodes=tuple(node.name for node in nodes),
            precision=", ".join(dict.fromkeys(told)) or "not known",
            site=str(main.meta.get("custom", {}).get("site") or ""),
            before=before,
            after=after,
            alone=self.error(alone[self.partition.output], expected),
            repaired=self.error(repaired[self.partition.output], expected),
            suggestion="",
        )
        return dataclasses.replace(departure, suggestion=self.suggest(departure))

    def halve(
        self, x: Array, expected: Array, cuts: Sequence[Cut], before: Error, after: Error
    ) -> tuple[Cut, Cut, Error, Error]:
        """Return two neighbouring cuts between which the error passes the budget, and both errors."""
        low, high = 0, len(cuts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            error = self.probe(x, expected, cuts[middle])
            if self.over(error):
                high, after = middle, error
            else:
                low, before = middle, error
        return cuts[low], cuts[high], before, after

    def probe(self, x: Array, expected: Array, cut: Cut) -> Error:
        """Return the error with the artifact computing what is inside ``cut`` and the reference the rest."""
        self.say(self.probes, self.expected_probes, f"probe {self.probes + 1}: {len(cut.inside)} nodes")
        start, everything = self.ends
        reached = self.model({self.partition.input: x}, start, cut)
        result = self.partition.believed(reached, everything)
        return self.error(result[self.partition.output], expected)

    def model(self, given: dict[str, Array], before: Cut, after: Cut) -> dict[str, Array]:
        """Let the artifact compute; counts as a probe."""
        self.probes += 1
        try:
            return self.partition.model(given, before, after)
        except (FdikpEdgeError, MemoryError):
            raise
        except Exception as error:  # a runtime's own
            lines = str(error).strip().splitlines()
            raise CheckFailedError(
                f"a part of the model cannot be run by itself: {lines[0] if lines else type(error).__name__}"
            ) from error

    def whole(self, x: Array, expected: Array) -> Error:
        """Return the error of the artifact."""
        start, everything = self.ends
        values = self.model({self.partition.input: x}, start, everything)
        return self.error(values[self.partition.output], expected)

    def believed(self, x: Array) -> Array:
        """Return the program's own result."""
        return self.partition.believed({self.partition.input: x}, self.ends[1])[self.partition.output]

    @property
    def ends(self) -> tuple[Cut, Cut]:
        """Nothing and everything."""
        return self.partition.ends

    def result(self, output: Array, whose: str) -> Array:
        """Return a result as a picture, or as it is where it is no picture.

        Raises:
            CheckFailedError: it is not finite.
        """
        if self.contract.has_colors:
            return as_picture(output, self.contract, whose)
        if not np.isfinite(output).all():
            raise CheckFailedError(f"the result of {whose} holds NaN or infinite values")
        return output

    def error(self, output: Array, expected: Array) -> Error:
        """Measure a result."""
        try:
            result = self.result(output, "the artifact")
        except CheckFailedError:
            return Error(math.inf, NOT_FINITE_DB)
        if not self.contract.has_colors:
            far = distance(result, expected)
            return Error(far.max_rel, far.snr_db)
        return Error(float(np.abs(result - expected).max()), psnr_db(result, expected))

    def over(self, error: Error) -> bool:
        """Whether an error misses the budget."""
        return bool(self.budget.problems(error.max_abs, error.psnr_db))

    def suggest(self, departure: FirstDeparture) -> str:
        """Say what to try."""
        name = departure.module or "the root module"
        if not self.over(departure.alone):
            return (
                f"{name} alone is within the budget ({departure.alone}): errors add up until here; keep the "
                "layers before it with the largest errors in float32 (int8: `calibrate --max-drop-db`), or "
                "accept a larger difference with --max-abs"
            )
        calls = self.partition.modules.count(departure.module)
        again = ""
        if self.over(departure.repaired):
            again = " Repairing this module alone is not enough: " + (
                f"it is called {calls} times." if calls > 1 else "a later module is also wrong; bisect again."
            )
        if self.partition.against is not None:
            return f"{name} differs from the reference artifact: check what changed in it.{again}"
        if "int8" in departure.precision:
            return f"keep {name} in float, or calibrate with photos that cover its range.{again}"
        if "float16" in departure.precision:
            why = "it overflows" if not math.isfinite(departure.alone.max_abs) else "its error is too large"
            return f"keep {name} in float32: {why} in float16.{again}"
        strategy = f"; or try another strategy for its transform {departure.site}" if departure.site else ""
        return (
            f"rounding in {departure.precision} does not explain this: {name} in the file differs from the "
            "network, or this runtime computes it wrongly; export it again, or try another runtime version"
            f"{strategy}.{again}"
        )


def _images(artifact: Artifact) -> list[TensorContract]:
    """Return what goes in and out, whatever it is called."""
    passport = artifact.passport
    return [dataclasses.replace(contract, name="") for contract in (passport.input, passport.output)]


def _inputs(artifact: Artifact, photos: Sequence[Path | Photo]) -> list[tuple[str, Array]]:
    if not photos:
        (recorded,) = artifact.golden()[0].values()
        return [("its golden input", recorded)]
    if not artifact.passport.input.has_colors:
        raise BadInputError(
            f"{artifact.path}: takes {described(artifact.passport.inputs)}, no photo; leave out --photo, and "
            "its golden input is used"
        )
    inputs = []
    for number, given in enumerate(photos):
        photo = given if isinstance(given, Photo) else read_photo(given)
        name = photo.source.name if photo.source is not None else f"photo {number + 1}"
        inputs.append((name, crop(photo, artifact.passport.input)))
    return inputs


def _program(
    artifact: Artifact, model: nn.Module | NetworkSource | LoweredModel
) -> tuple[Any, Callable[[Array], Array], list[str]]:
    """Lower the network as it was lowered for the artifact."""
    from ...export.lowered import LoweredModel, lower_model
    from ...export.spectral.planner import follow

    passport = artifact.passport
    if isinstance(model, LoweredModel):
        lowered = model.for_profile(get_target(passport.target).profile)
        return lowered.lowered.program, lowered.reference, _changed(lowered, artifact)
    try:
        plan = follow(passport.plan)
    except BadInputError as error:
        raise BadInputError(f"{artifact.path}: its passport has no usable plan: {error}") from error
    lowered = lower_model(
        model,
        passport.input.size if passport.input.is_picture else None,
        contract=passport.contract,
        profile=get_target(passport.target).profile,
        plan=plan,
    )
    return lowered.lowered.program, lowered.reference, _changed(lowered, artifact)


def _changed(lowered: LoweredModel, artifact: Artifact) -> list[str]:
    if lowered.lowered.sha256 == artifact.passport.program_sha256:
        return []
    return [
        "the network now lowers to another program than the one this artifact was built from: a departure "
        "may be a change of the network"
    ]
