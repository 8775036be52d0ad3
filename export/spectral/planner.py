"""Which strategy computes which site: a cost model per target, and the user's overrides.

The model is deliberately small: time = multiply-adds / product rate + elements moved / move rate + a fixed
cost per operator. ``python -m fdikp_edge.benchmarks.studies.planner`` measures every strategy on every
profile and prints how often the cheapest prediction was the fastest in fact, and what a wrong choice cost.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...runtime.errors import BadInputError, LoweringError, UnknownNameError
from ..profile import Profile
from ..targets import get_profile
from .sites import Site
from .strategies import STRATEGIES, Window


def profile(target: str | None) -> Profile:
    """The cost profile of a name; the default one for ``None``.

    Raises:
        UnknownNameError: no target has a profile of this name; lists those that exist.
    """
    return get_profile(target)


@dataclass(frozen=True)
class Choice:
    """The strategy of one site, why, and what the model predicted for each candidate in microseconds.

    ``declined``: strategy that the planner would have considered -> why it cannot compute the site.
    """

    site: Site
    strategy: str
    reason: str
    predicted_us: dict[str, float] = field(default_factory=dict)
    declined: dict[str, str] = field(default_factory=dict)


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
                "declined": c.declined,
            }
            for c in self.choices
        ]

    @property
    def key(self) -> str:
        """Equal for plans that give the same program, which targets whose keys agree can share."""
        rows = [(c.site.name, c.strategy) for c in self.choices]
        rates = profile(self.target)
        form = [rates.channels_last, rates.runtime_kernels, rates.block_products, rates.planar_mixing]
        return hashlib.sha256(json.dumps([form, rows]).encode()).hexdigest()


def make_plan(sites: Sequence[Site], target: str | None, override: Plan | Mapping[str, str] | None) -> Plan:
    """Choose a strategy for every site.

    ``override`` is a plan made before, or a mapping from a pattern (``*`` and ``?``; matched against the
    site's name and its module path) to a strategy's name; the last pattern that matches wins. A site that no
    pattern matches follows the other end of its block of windows, if that was asked for another strategy.

    Raises:
        UnknownNameError: a target or a strategy that does not exist, or a pattern that matches no site.
        LoweringError: a strategy was asked for at a site that it declines; says why.
    """
    wanted = read_override(override)
    for pattern in wanted:
        if not any(_matches(pattern, site) for site in sites):
            names = ", ".join(f"{s.name} ({s.module_path or 'the root module'})" for s in sites[:8]) or "none"
            raise UnknownNameError(f"the plan's {pattern!r} matches no transform site; there are: {names}")
    return Plan(target or "default", choose(sites, profile(target), wanted))


def read_override(override: Plan | Mapping[str, str] | None) -> dict[str, str]:
    """Patterns of sites and the strategies asked for them.

    Raises:
        UnknownNameError: a strategy that does not exist; lists those that do.
    """
    wanted = (
        {c.site.name: c.strategy for c in override.choices}
        if isinstance(override, Plan)
        else dict(override or {})
    )
    for strategy in wanted.values():
        if strategy not in STRATEGIES:
            raise UnknownNameError(
                f"unknown strategy {strategy!r} in the plan; there are: {', '.join(STRATEGIES)}"
            )
    return wanted


def follow(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The override that gives the plan recorded in a passport (:meth:`Plan.to_json`) again.

    Passports written before fused blocks had a strategy of their own name the rewritten nodes instead of the
    network's transforms; the rows of such nodes are followed by module. A block of windows was always fused,
    whatever strategy its rows name.

    Raises:
        BadInputError: rows without site or strategy, or two of one site.
    """
    by_module, by_name = {}, {}
    for row in rows:
        name, module, strategy = (row.get(key) for key in ("site", "module", "strategy"))
        if not isinstance(name, str) or not isinstance(strategy, str) or name in by_name:
            raise BadInputError("the recorded plan does not name each transform once, with its strategy")
        by_name[name] = strategy
        if _OLD_NAME.fullmatch(name) and isinstance(module, str):
            by_module[module] = Window.name if name.startswith("window") else strategy
    return by_module | {name: s for name, s in by_name.items() if not _OLD_NAME.fullmatch(name)}


_OLD_NAME = re.compile(r"(window_transform|fft_i?rfft2_default)(_\d+)?")


def choose(sites: Sequence[Site], rates: Profile, wanted: Mapping[str, str]) -> tuple[Choice, ...]:
    """Choose for some sites of a program; both ends of a block of windows must be among them.

    Raises:
        LoweringError: a strategy was asked for at a site that it declines, or every strategy of the profile
            declines a site; says why.
        UnknownNameError: the profile names a strategy that does not exist.
    """
    for strategy in rates.automatic:
        if strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise UnknownNameError(
                f"the profile {rates.name!r} names the strategy {strategy!r}; there are: {known}"
            )
    asked = {site.name: name for site in sites if (name := _asked(site, wanted)) is not None}
    return tuple(_choose(site, rates, asked) for site in sites)


def _matches(pattern: str, site: Site) -> bool:
    return fnmatch.fnmatchcase(site.name, pattern) or fnmatch.fnmatchcase(site.module_path, pattern)


def _asked(site: Site, wanted: Mapping[str, str]) -> tuple[str, str] | None:
    """(pattern, strategy) of the last pattern that matches a site."""
    return next((item for item in reversed(list(wanted.items())) if _matches(item[0], site)), None)


def _choose(site: Site, rates: Profile, asked: Mapping[str, tuple[str, str]]) -> Choice:
    predicted, declined = {}, {}
    for name in rates.automatic:
        refusal = _refusal(site, name, asked)
        if refusal is not None:
            declined[name] = refusal
        elif STRATEGIES[name].advised(site):
            predicted[name] = rates.microseconds(STRATEGIES[name].cost(site))
    if site.name in asked:
        pattern, name = asked[site.name]
        refusal = _refusal(site, name, asked)
        if refusal is not None:
            where = f"{site.name} in {site.module_path or 'the root module'}"
            raise LoweringError(f"strategy {name!r} cannot compute {where}: {refusal}")
        return Choice(site, name, f"asked for ({pattern})", predicted, declined)
    if Window.name in predicted:  # the cost model sees a site alone, and what this saves lies around it
        return Choice(site, Window.name, "its block keeps channels fastest throughout", predicted, declined)
    if not predicted:
        reasons = "; ".join(f"{name}: {why}" for name, why in declined.items()) or "none is advised for it"
        where = f"{site.name} in {site.module_path or 'the root module'}"
        raise LoweringError(
            f"no strategy of the profile {rates.name!r} computes {where} ({reasons}). Add 'separable', which "
            "computes every site, to the profile's automatic strategies, or name a strategy in the plan"
        )
    best = min(predicted, key=lambda name: predicted[name])
    return Choice(site, best, "cheapest by the cost model", predicted, declined)


def _refusal(site: Site, name: str, asked: Mapping[str, tuple[str, str]]) -> str | None:
    """Why a strategy cannot compute a site, given what was asked for the other end of its block."""
    refusal = STRATEGIES[name].declines(site)
    if refusal is None and name == Window.name and site.partner is not None:
        pattern, other = asked.get(site.partner, ("", name))
        if other != name:
            return f"{site.partner}, the other end of its block, is computed as {other!r} ({pattern})"
    return refusal
