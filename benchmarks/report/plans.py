"""The plans of a report's artifacts, in as few rows as say it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import words as say


def plans(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plans of the artifacts, equal ones once; sites by module, equal sites of a module in one row."""
    result: list[dict[str, Any]] = []
    for row in rows:
        if not row["plan"] and not row["audit"]:
            continue
        same = next((p for p in result if p["plan"] == row["plan"] and p["audit"] == row["audit"]), None)
        if same:
            same["names"].append(row["name"])
            continue
        audited = {str(say.table(s).get("site")): say.table(s) for s in say.items(row["audit"].get("sites"))}
        modules: dict[str, dict[tuple[Any, ...], list[str]]] = {}
        strategies: dict[str, int] = {}
        usual = _usual(row["plan"])
        for entry in row["plan"]:
            name = say.words(entry.get("site")) or "?"
            strategy = say.words(entry.get("strategy")) or "not recorded"
            strategies[strategy] = strategies.get(strategy, 0) + 1
            site = audited.get(name, {})
            key = (
                (say.words(entry.get("operator")) or "").removeprefix("aten.").removesuffix(".default"),
                "×".join(map(str, say.items(entry.get("lengths")))),
                "×".join(map(str, say.items(entry.get("input_shape")))),
                strategy,
                _predicted(entry.get("predicted_us"), strategy),
                say.figure(site.get("multiply_adds"), "{:,.0f}"),
                say.figure(site.get("error_bound"), "{:.1e}"),
                say.figure(site.get("fp16_input_limit")),
                "" if (reason := say.words(entry.get("reason")) or "") == usual else reason,
            )
            module = say.words(entry.get("module")) or "(root module)"
            modules.setdefault(module, {}).setdefault(key, []).append(name)
        result.append(
            {
                "plan": row["plan"],
                "audit": row["audit"],
                "names": [row["name"]],
                "count": len(row["plan"]),
                "usual": usual,
                "strategies": strategies,
                "audited": bool(audited),
                "modules": [(module, list(groups.items())) for module, groups in modules.items()],
                "summary": [*_summary(row["audit"]), *_declined(row["plan"]), *_fusions(row["audit"])],
            }
        )
    return result


def _usual(plan: Iterable[Mapping[str, Any]]) -> str:
    """The most frequent reason of a plan's sites, which the report then states once."""
    reasons = [text for entry in plan if (text := say.words(entry.get("reason")))]
    return max(dict.fromkeys(reasons), key=reasons.count, default="")


def _summary(audit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the audit says of the whole program; counts by operator in one line."""
    counts = [
        f"{name} {text}"
        for name, count in say.table(audit.get("operators")).items()
        if (text := say.figure(count, "{:,.0f}"))
    ]
    rest = {key: value for key, value in audit.items() if key not in ("sites", "operators", "fusions")}
    return [*say.flat(rest), *([("operators", ", ".join(counts))] if counts else [])]


def _declined(plan: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Why strategies cannot compute transforms, equal reasons once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in plan:
        for strategy, value in say.table(entry.get("declined")).items():
            if reason := say.words(value):
                groups.setdefault((str(strategy), reason), []).append(say.words(entry.get("site")) or "?")
    return [
        (f"{strategy} declined", f"{reason} ({', '.join(sites)})")
        for (strategy, reason), sites in list(groups.items())[: say.MOST_ROWS]
    ]


def _fusions(audit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which patterns were replaced by an equal computation, and why others were not."""
    rows = []
    for value in say.items(audit.get("fusions"))[: say.MOST_ROWS]:
        entry = say.table(value)
        nodes = [text for node in say.items(entry.get("nodes")) if (text := say.words(node))]
        shown = ", ".join(nodes[:8]) + (", …" if len(nodes) > 8 else "")
        result = say.words(entry.get("declined"))
        result = "replaced" if result is None else f"left: {result}"
        rows.append(
            (f"pattern {say.words(entry.get('pattern')) or '?'}", f"{result} ({len(nodes)}: {shown})")
        )
    return rows


def _predicted(value: Any, strategy: str) -> tuple[str | None, str]:
    """What the cost model said for the chosen strategy, and for those not chosen."""
    if not isinstance(value, Mapping):
        return say.figure(value), ""
    others = [f"{name} {text}" for name, v in value.items() if name != strategy and (text := say.figure(v))]
    return say.figure(value.get(strategy)), ", ".join(others)
