"""``fdikp-edge doctor``: what this machine can build and run, and what would change that."""

from __future__ import annotations

import importlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...runtime.installed.packages import JINJA2, TORCH
from .. import show
from ..options import JsonOption

if TYPE_CHECKING:
    from ...export.target import Target


def doctor(json: JsonOption = False) -> int:
    """Show what this machine can build and run.

    Lists installed packages, the targets that can be built and run here, the reason for each one that cannot,
    and what to install.
    """
    with show.working("examining this machine"):
        facts = examine()
    if json:
        show.as_json(facts)
        return 0
    machine = {"fdikp-edge": facts["version"], **facts["machine"]}
    machine.pop("versions", None)  # the table of packages has them
    show.facts("This machine", [(name.replace("_", " "), _text(value)) for name, value in machine.items()])
    shared = _shared(facts["targets"])
    show.table(
        "Targets",
        ("target", "description", "precisions", "can build", "can run", "remarks"),
        [
            (
                t["name"],
                t["title"],
                " ".join(t["precisions"]),
                _yes(t["can_build"]),
                _yes(t["can_run"]),
                _remarks(t, shared),
            )
            for t in facts["targets"]
        ],
    )
    for reason, number in shared.items():
        show.line(f"({number}) {reason}")
    show.table(
        "Packages",
        ("package", "version", "extra", "for"),
        [
            (p["name"], p["version"] or "not installed", p["extra"] or "none", p["for"])
            for p in facts["packages"]
        ],
    )
    show.table(
        "Environments of converters (fdikp-edge setup NAME)",
        ("environment", "for", "state"),
        [(e["name"], e["for"], e["main"] or e["problem"]) for e in facts["environments"]],
    )
    for problem in facts["problems"]:
        show.line(f"! {problem}")
    for advice in facts["advice"]:
        show.line(f"- {advice}")
    return 0


def examine() -> dict[str, Any]:
    """Return what :func:`doctor` shows, as plain values.

    Keys: ``version``, ``machine``, ``targets``, ``packages``, ``environments``, ``problems`` and ``advice``.

    ``problems`` are targets of other installed packages that cannot be used, each with its package and why.
    """
    from importlib.metadata import version

    from ...benchmarks.timing.machine import machine_info
    from ...export.setup.table import ENVIRONMENTS
    from ...export.targets import capability, read_targets, required_packages

    rows, problems = read_targets()
    packages = [
        {
            "name": need.distribution,
            "version": "version unknown" if need.version() == "" else need.version(),
            "extra": need.extra,
            "for": need.use,
        }
        for need in required_packages()
    ]
    targets = []
    for target in rows.values():
        here = capability(target)
        # Only loading a runtime tells whether its native libraries fit this machine.
        broken = (
            [problem for need in target.run_needs if (problem := _load_problem(need.module))]
            if here.can_run
            else []
        )
        targets.append(
            {
                "name": target.name,
                "title": target.title,
                "precisions": list(target.precisions),
                "can_build": here.can_build and not broken,
                "can_run": here.can_run and not broken,
                "reason": "; ".join((*here.reasons, *broken)),
                "reasons": [*here.reasons, *broken],
                "run_remark": target.run_remark,
            }
        )
    gains = [
        (TORCH, "builds artifacts here (an artifact built elsewhere runs without it)"),
        *((need, row.gain) for row in rows.values() if row.gain for need in row.run_needs),
        (JINJA2, "adds report.html to deploy"),
    ]
    missing = {need.cure for need in required_packages() if need.version() is None}
    advice = [f"{need.cure} {gain}" for need, gain in gains if need.cure in missing]
    advice += _about_int8(rows.values())
    if not missing:
        advice.append("Nothing is missing for the targets of this release. Try: fdikp-edge deploy")
    return {
        "version": version("fdikp-edge"),
        "machine": machine_info(),
        "targets": targets,
        "packages": packages,
        "environments": [
            {
                "name": row.name,
                "for": f"building {row.name} artifacts ({row.title})",
                "main": next(iter(row.facts().values()), ""),
                "problem": row.problem() or "",
            }
            for row in ENVIRONMENTS.values()
        ],
        "problems": problems,
        "advice": advice,
    }


def _shared(targets: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the reasons that several targets have, numbered, to be written once under the table."""
    counts = Counter(reason for target in targets for reason in target["reasons"])
    return {reason: number for number, reason in enumerate((r for r, n in counts.items() if n > 1), start=1)}


def _remarks(target: Mapping[str, Any], shared: Mapping[str, int]) -> str:
    own = [reason for reason in target["reasons"] if reason not in shared]
    remark = target["run_remark"] if target["can_run"] else ""
    numbers = " ".join(f"({shared[reason]})" for reason in target["reasons"] if reason in shared)
    return "; ".join(filter(None, (f"see {numbers}" if numbers else "", *own, remark)))


def _about_int8(rows: Iterable[Target]) -> list[str]:
    """Say what int8 lacks on this processor; nothing where it has what it needs, or is unknown."""
    from ...export.options import WEIGHTS
    from ...runtime.processor import has_dot_product, saturates

    names = [row.name for row in rows if WEIGHTS in row.options.values()]
    if saturates() and names:
        commands = ", ".join(f"--target {name}:weights=7bit" for name in names)
        return [
            "This processor has no 8-bit dot product (VNNI): sums of int8 artifacts for "
            f"{' and '.join(names)} saturate. Build those for it with {commands}"
        ]
    if has_dot_product() is False:
        return ["This processor has no 8-bit dot product (asimddp): measure whether int8 is faster here"]
    return []


def _load_problem(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a native library raises when it does not fit this machine
        return f"{module} is installed but does not load on this {platform.machine()}: {error}"
    return None


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
