"""Which strategy computes which site: a cost model per target, and the user's overrides.

The model is deliberately small: time = multiply-adds / product rate + elements moved / move rate + a fixed
cost per operator. ``python -m fdikp_edge.benchmarks.studies.planner`` measures every strategy on every
profile and prints how often the cheapest prediction was the fastest in fact, and what a wrong choice cost.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...runtime.errors import LoweringError, UnknownNameError
from ..profile import Profile
from ..targets import get_profile
from .sites import Site
from .strategies import STRATEGIES


def profile(target: str | None) -> Profile:
    """The cost profile of a name; the default one for ``None``.

    Raises:
        UnknownNameError: no target has a profile of this name; lists those that exist.
    """
    return get_profile(target)


@dataclass(frozen=True)
class Choice:
    """The strategy of one site, why, and what the model predicted for each candidate in microseconds."""

    site: Site
    strategy: str
    reason: str
    predicted_us: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The choices for all sites of a program, in program order.

    A plan is a record: it is not checked against anything until :func:`make_plan` takes it as an override.
    """

    target: str
    choices: tuple[Choice, ...]

    def __getitem__(self, name: str) -> Choice:
        """The choice for the site of that name."""
        return next(choice for choice in self.choices if choice.site.name == name)

    def to_json(self) -> list[dict[str, Any]]:
        """One row per site, ready for ``json.dump``."""
        return [
            {
                "site": c.site.name,
                "module": c.site.module_path,
                "operator": c.site.operator,
                "lengths": list(c.site.lengths),
                "input_shape": list(c.site.input_shape),
                "strategy": c.strategy,
                "reason": c.reason,
                "predicted_us": {k: round(v, 1) for k, v in c.predicted_us.items()},
            }
            for c in self.choices
        ]

    @property
    def key(self) -> str:
        """Equal for plans that give the same program, which targets whose keys agree can share."""
        rows = [(c.site.name, c.strategy) for c in self.choices]
        rates = profile(self.target)
        form = [rates.channels_last, rates.runtime_kernels]
        return hashlib.sha256(json.dumps([form, rows]).encode()).hexdigest()


def make_plan(sites: Sequence[Site], target: str | None, override: Plan | Mapping[str, str] | None) -> Plan:
    """Choose a strategy for every site.

    ``override`` is a plan made before, or a mapping from a pattern (``*`` and ``?``; matched against the
    site's name and its module path) to a strategy's name; the last pattern that matches wins.

    Raises:
        UnknownNameError: a strategy that does not exist, or a pattern that matches no site.
        LoweringError: a strategy was asked for at a site that it declines; says why.
    """
    wanted = (
        {c.site.name: c.strategy for c in override.choices}
        if isinstance(override, Plan)
        else dict(override or {})
    )
    for pattern, strategy in wanted.items():
        if strategy not in STRATEGIES:
            raise UnknownNameError(
                f"unknown strategy {strategy!r} in the plan; there are: {', '.join(STRATEGIES)}"
            )
        if not any(_matches(pattern, site) for site in sites):
            names = ", ".join(f"{s.name} ({s.module_path or 'the root module'})" for s in sites[:8]) or "none"
            raise UnknownNameError(f"the plan's {pattern!r} matches no transform site; there are: {names}")
    return Plan(target or "default", tuple(_choose(site, profile(target), wanted) for site in sites))


def _matches(pattern: str, site: Site) -> bool:
    return fnmatch.fnmatchcase(site.name, pattern) or fnmatch.fnmatchcase(site.module_path, pattern)


def _choose(site: Site, rates: Profile, wanted: Mapping[str, str]) -> Choice:
    predicted = {
        name: rates.microseconds(STRATEGIES[name].cost(site))
        for name in rates.automatic
        if STRATEGIES[name].declines(site) is None and STRATEGIES[name].advised(site)
    }
    for pattern, name in reversed(list(wanted.items())):
        if _matches(pattern, site):
            refusal = STRATEGIES[name].declines(site)
            if refusal is not None:
                where = f"{site.name} in {site.module_path or 'the root module'}"
                raise LoweringError(f"strategy {name!r} cannot compute {where}: {refusal}")
            return Choice(site, name, f"asked for ({pattern})", predicted)
    best = min(predicted, key=lambda name: predicted[name])
    return Choice(site, best, "cheapest by the cost model", predicted)
