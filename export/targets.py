"""The target table: one row for each runtime family that a network can leave for.

A new target of this project is one folder, with its row in ``target.py``, and one line here. Another
installed package adds a target by an entry point in the group ``fdikp_edge.targets``, which refers to its
row. The command line, ``deploy`` and the report read rows and know no target by name.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

from ..runtime.errors import ExtensionError, ExtensionWarning, UnknownNameError
from ..runtime.installed import entry_points, packages
from .coreml.target import COREML
from .executorch.target import EXECUTORCH
from .litert.target import LITERT
from .onnx.target import ONNX
from .openvino.target import OPENVINO
from .options import read_options
from .profile import DEFAULT, Profile
from .target import PRECISIONS, BuildResult, Capability, Target, capability
from .tensorrt.target import TENSORRT, TENSORRT_RTX
from .web.target import WEB

__all__ = [
    "PRECISIONS",
    "TARGETS",
    "BuildResult",
    "Capability",
    "Target",
    "all_targets",
    "capability",
    "get_profile",
    "get_target",
    "read_targets",
    "required_packages",
    "select",
]

TARGETS: dict[str, Target] = {
    row.name: row for row in (ONNX, OPENVINO, COREML, TENSORRT_RTX, TENSORRT, WEB, LITERT, EXECUTORCH)
}
"""The targets of this project; :func:`all_targets` has those of other installed packages too."""


def read_targets() -> tuple[dict[str, Target], list[str]]:
    """Return every target that exists here, and what is wrong with those that installed packages provide."""
    rows, problems = dict(TARGETS), []
    for name in entry_points.names(entry_points.TARGETS):
        try:
            rows.setdefault(name, _provided(name))
        except ExtensionError as error:
            problems.append(str(error))
    return rows, problems


def all_targets() -> dict[str, Target]:
    """Return every target that exists here.

    Those of installed packages come last. One that cannot be used is left out with an
    :class:`~fdikp_edge.runtime.errors.ExtensionWarning`.
    """
    rows, problems = read_targets()
    for problem in problems:
        warnings.warn(problem, ExtensionWarning, stacklevel=2)
    return rows


def get_target(spec: str) -> Target:
    """Return a target by name, or with options set: ``tensorrt-rtx:capabilities=8.6,8.9``.

    Raises:
        UnknownNameError: no target has the name; lists those that exist.
        ExtensionError: an installed package provides the target, and it cannot be used.
        BadInputError: the target has no such option; lists those it has.
    """
    name, _, text = spec.partition(":")
    provided = entry_points.names(entry_points.TARGETS) if name not in TARGETS else []
    if name not in TARGETS and name not in provided:
        raise UnknownNameError(
            f"unknown target {name!r}; expected one of: " + ", ".join(dict.fromkeys((*TARGETS, *provided)))
        )
    row = TARGETS.get(name) or _provided(name)
    if not text:
        return row
    chosen = read_options(name, text, row.options)
    profiles = [
        option.profiles[chosen[key]] for key, option in row.options.items() if chosen[key] in option.profiles
    ]
    return dataclasses.replace(row, chosen=chosen, costs=[row.costs, *profiles][-1])


def get_profile(name: str | None) -> Profile:
    """Return a cost profile by name; :data:`~.profile.DEFAULT` for ``None``.

    Raises:
        UnknownNameError: no target has a profile of this name; lists those that exist.
    """
    if name is None or name == DEFAULT.name:
        return DEFAULT
    known = _profiles(TARGETS.values())
    if name not in known:
        known = _profiles(read_targets()[0].values())
    if name not in known:
        raise UnknownNameError(
            f"no cost profile is called {name!r}; there are: {', '.join((DEFAULT.name, *known))}"
        )
    return known[name]


def select(names: Sequence[str], precisions: Sequence[str]) -> list[tuple[Target, str]]:
    """Return the (target, precision) pairs asked for, in the table's order of targets and without repeats.

    Names are as :func:`get_target` takes them; of one target asked for twice, the later options count.

    ``all`` among ``names`` means every target, built of what is on this machine; ``all`` among ``precisions``
    means those each target offers. A precision named outright is paired with every target, offered or not, so
    that the caller can say why not.

    Raises:
        UnknownNameError: a name that does not exist.
        ExtensionError: a target by name that an installed package provides, and that cannot be used.
        BadInputError: an option the target does not have.
    """
    asked = {target.name: target for target in (get_target(name) for name in names if name != "all")}
    for precision in precisions:
        if precision != "all" and precision not in PRECISIONS:
            raise UnknownNameError(
                f"unknown precision {precision!r}; expected one of: {', '.join(PRECISIONS)}, all"
            )
    everything = "all" in names
    pairs = []
    for name, row in {**(all_targets() if everything else TARGETS), **asked}.items():
        if name not in asked:
            if not everything:
                continue
            row = dataclasses.replace(row, build_probe=row.unasked_probe or row.build_probe)
        for precision in PRECISIONS:
            if precision in precisions or ("all" in precisions and precision in row.precisions):
                pairs.append((row, precision))
    return pairs


def required_packages() -> list[packages.Requirement]:
    """Return the packages of the project and of every target, each module once."""
    rows = read_targets()[0].values()
    first: dict[str, packages.Requirement] = {}
    for need in (*packages.SHARED, *(need for row in rows for need in row.needs)):
        first.setdefault(need.module, need)
    return list(first.values())


def _profiles(rows: Iterable[Target]) -> dict[str, Profile]:
    return {profile.name: profile for row in rows for profile in row.all_profiles}


def _provided(name: str) -> Target:
    """Return the row that an installed package provides.

    Raises:
        ExtensionError: it cannot be loaded, is no row of this name, or takes a name that is in use.
    """
    row = entry_points.load(entry_points.TARGETS, name)
    where = f"{name!r} is provided by {entry_points.origin(entry_points.TARGETS, name)}"
    if name in TARGETS:
        raise ExtensionError(f"{where}, but a target of fdikp-edge has this name: rename it")
    if not isinstance(row, Target):
        raise ExtensionError(f"{where}, whose entry is of type {type(row).__name__}, not Target")
    if row.name != name:
        raise ExtensionError(f"{where}, whose row has the name {row.name!r}: give both the same name")
    shared = _profiles(TARGETS.values())
    for profile in row.all_profiles:
        own = profile.name == name or profile.name.startswith(f"{name}-")
        if not own and shared.get(profile.name) != profile:
            raise ExtensionError(
                f"{where}, whose cost profile is called {profile.name!r}: call it {name!r} or {name + '-…'!r}"
            )
    return row
