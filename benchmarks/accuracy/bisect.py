"""Which module of a network is the first where an artifact departs from the reference beyond its budget.

A probe lets the artifact compute the network up to a module boundary and the reference the rest. The error of
the result is that of the reference at one end and that of the artifact at the other, and halving the way
between finds a boundary where it passes the budget, in as many probes as the number of modules has binary
digits. A second such search, inside the module, finds the operator.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...export.inputs import takes_photos
from ...export.targets import get_target
from ...runtime.artifact import Artifact
from ...runtime.errors import BadInputError, CheckFailedError, LoweringError
from ...runtime.images import read_photo
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop
from ...runtime.progress import Progress
from ...runtime.sessions import available_threads
from ...runtime.tensors import TensorContract, described
from .budgets import Budget, budget_for
from .first_departure import Bisection
from .search import Search, as_result

if TYPE_CHECKING:
    from torch import nn

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
        BadInputError: the network does not fit the artifact, ``against`` takes other inputs, a photo cannot
            be read, or photos for an artifact that takes none.
        TargetUnavailableError: models of this target cannot be cut, or its runtime is missing here.
        CheckFailedError: a part of the model cannot be run.
    """
    began = time.perf_counter()
    say = progress or (lambda done, total, now: None)
    passport = artifact.passport
    row, count = get_target(passport.target), threads or available_threads()
    if against is not None and _ports(against) != _ports(artifact):
        raise BadInputError(
            f"{against.path}: its inputs or results differ in form or size from those of {artifact.path}; "
            "compare with an artifact of the same contract and size"
        )
    inputs = _inputs(artifact, photos)
    say(0, 1, "reading the model")
    parts = row.open_parts(artifact, count)
    other = None if against is None else get_target(against.passport.target).open_parts(against, count)
    say(0, 1, "lowering the network")
    from ...export.cutting.partition import Partition

    program, eager, notes = _program(artifact, model)
    budgets = [
        budget or budget_for(passport.precision, c.dtype, "image" if c.has_colors else "tensor")
        for c in passport.outputs
    ]
    references = None if other is not None else [eager(arrays) for _, arrays in inputs]
    worst, reason = None, None
    for index, contract in enumerate(passport.outputs):
        try:
            partition = Partition(program, parts, output=index, against=other)
        except LoweringError as error:
            reason = error
            continue
        search = Search(partition, contract, budgets[index], say)
        for number, (name, arrays) in enumerate(inputs):
            say(0, 1, f"running {name}")
            x = dict(zip(partition.inputs, arrays, strict=True))
            right = search.believed(x) if references is None else references[number][index]
            expected = as_result(right, contract, "the reference")
            whole = search.whole(x, expected)
            spent = search.budget.spent(whole.max_abs, whole.psnr_db)
            if worst is None or spent > worst[0]:
                worst = (spent, search, name, x, expected, whole)
    if worst is None:
        raise BadInputError(f"{artifact.path}: {reason}")
    _, search, name, x, expected, whole = worst
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
        result=search.contract.name if len(passport.outputs) > 1 else "",
        budget=search.budget,
        whole=whole,
        departure=departure,
        modules=len(search.partition.modules),
        cuts=len(modules),
        probes=search.probes,
        seconds=time.perf_counter() - began,
        notes=tuple(notes),
    )


def _ports(artifact: Artifact) -> list[list[TensorContract]]:
    """Return what goes in and out, whatever it is called."""
    passport = artifact.passport
    return [[dataclasses.replace(c, name="") for c in ends] for ends in (passport.inputs, passport.outputs)]


def _inputs(artifact: Artifact, photos: Sequence[Path | Photo]) -> list[tuple[str, list[Array]]]:
    """Return what to search the error on: a name, and an array for each input of the artifact."""
    contracts = artifact.passport.inputs
    if not photos:
        recorded = artifact.golden()[0]
        return [("its golden input", [recorded[contract.name] for contract in contracts])]
    if not takes_photos(contracts):
        raise BadInputError(
            f"{artifact.path}: takes {described(contracts)}, no photo; leave out --photo, and "
            "its golden input is used"
        )
    inputs = []
    for number, given in enumerate(photos):
        photo = given if isinstance(given, Photo) else read_photo(given)
        name = photo.source.name if photo.source is not None else f"photo {number + 1}"
        inputs.append((name, [crop(photo, contracts[0])]))
    return inputs


def _program(
    artifact: Artifact, model: nn.Module | NetworkSource | LoweredModel
) -> tuple[Any, Callable[[Sequence[Array]], list[Array]], list[str]]:
    """Lower the network as it was lowered for the artifact; the function is the network in PyTorch eager."""
    from ...export.lowered import LoweredModel, lower_model
    from ...export.spectral.planner import follow

    passport = artifact.passport
    if isinstance(model, LoweredModel):
        lowered = model.for_profile(get_target(passport.target).profile)
    else:
        try:
            plan = follow(passport.plan)
        except BadInputError as error:
            raise BadInputError(f"{artifact.path}: its passport has no usable plan: {error}") from error
        lowered = lower_model(
            model,
            next((c.size for c in passport.inputs if c.is_picture), None),
            contract=passport.contract,
            profile=get_target(passport.target).profile,
            plan=plan,
        )
    names = [contract.name for contract in lowered.inputs]

    def eager(arrays: Sequence[Array]) -> list[Array]:
        results = lowered.reference(dict(zip(names, arrays, strict=True)))
        return [results[contract.name] for contract in lowered.outputs]

    return lowered.lowered.program, eager, _changed(lowered, artifact)


def _changed(lowered: LoweredModel, artifact: Artifact) -> list[str]:
    if lowered.lowered.sha256 == artifact.passport.program_sha256:
        return []
    return [
        "the network now lowers to another program than the one this artifact was built from: a departure "
        "may be a change of the network"
    ]
