"""One artifact of a report, as the page shows it: every value as text, with ``None`` where it is missing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from ..timing.latency import has_tail
from . import words as say
from .mixture import mixture_view
from .on_device import device_view

TONES = {"verified": "good", "unverified": "unsure", "failed": "bad", "unavailable": "off"}

_PARITY = (
    "max_abs",
    "mean_abs",
    "psnr_db",
    "ssim",
    "measure",
    "within_budget",
    "bands",
    "worst_photo",
    "budget",
    "photos",
)
_LATENCY = (
    *("min", "p50", "p90", "p99", "max", "n", "drift", "complete", "eager_p50", "samples"),
    *("stable", "unstable_because", "conditions"),
)
_HASHES = ("weights_sha256", "program_sha256", "calibration_sha256")
_SHOWN = (
    *(
        "target",
        "precision",
        "size",
        "path",
        "state",
        "reason",
        "reason_code",
        "parity",
        "latency_ms",
        "plan",
        "audit",
    ),
    *(
        "files",
        "toolchain",
        "precision_census",
        "notes",
        "reproduce",
        "golden",
        "device",
        "model",
        "error_map",
    ),
    *("picture", "session", "mixture", "seconds", "gain", *_HASHES),
)


def artifact(entry: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return everything the page says of one entry of ``artifacts`` but its name."""
    parity, session = say.table(entry.get("parity")), say.table(entry.get("session"))
    files = {str(name): say.table(value) for name, value in say.table(entry.get("files")).items()}
    state, path = say.words(entry.get("state")) or "unknown", say.words(entry.get("path"))
    within, budget = parity.get("within_budget"), say.table(parity.get("budget"))
    reason = say.words(entry.get("reason"))
    if state == "verified" and (why := contradiction(parity)):
        state, reason = "failed", f"listed as verified, but {why}"
    weight = _model_bytes(files, say.table(entry.get("golden")))
    return {
        "id": f"artifact-{index}",
        "index": index,
        "model": say.words(entry.get("model")),
        "target": say.words(entry.get("target")),
        "precision": say.words(entry.get("precision")),
        "size": say.size_words(entry.get("size")),
        "path": path,
        "state": state,
        "tone": TONES.get(state, "unsure"),
        "reason": reason,
        "parity": bool(parity),
        "is_tensor": parity.get("measure") == "tensor",
        **_distance(parity),
        "within": within if isinstance(within, bool) else None,
        "share": budget_share(parity),
        "most": say.figure(budget.get("max_abs"), "{:.0e}"),
        "least": say.figure(budget.get("min_psnr_db"), "{:.0f} dB"),
        "worst_photo": say.words(parity.get("worst_photo")),
        "photos": [_photo(say.table(photo)) for photo in say.items(parity.get("photos"))],
        "bands": _bands(parity.get("bands")),
        **_latency(say.table(entry.get("latency_ms"))),
        "weight": weight,
        "bytes": None if weight is None else f"{weight / 1e6:,.2f} MB",
        "files": [
            (f, say.figure(v.get("bytes"), "{:,.0f}"), say.words(v.get("sha256"))) for f, v in files.items()
        ],
        "hashes": [(key.partition("_")[0], text) for key in _HASHES if (text := say.words(entry.get(key)))],
        "plan": [row for row in say.items(entry.get("plan")) if isinstance(row, Mapping)],
        "audit": say.table(entry.get("audit")),
        "error_map": _error_map(say.table(entry.get("error_map"))),
        "census": _census(say.table(entry.get("precision_census"))),
        "layers": _layers(say.table(entry.get("precision_census"))),
        "arithmetic": say.words(session.get("arithmetic")),
        "tools": say.flat({"session": session, "toolchain": entry.get("toolchain")}),
        "more": say.flat(
            {key: value for key, value in entry.items() if key not in _SHOWN}
            | {f"parity.{key}": value for key, value in parity.items() if key not in _PARITY}
            | {
                f"latency_ms.{key}": value
                for key, value in say.table(entry.get("latency_ms")).items()
                if key not in _LATENCY
            }
        ),
        "notes": [text for note in say.items(entry.get("notes")) if (text := say.words(note))],
        "reproduce": command(entry.get("reproduce")),
        "mixture": mixture_view(entry.get("mixture")),
        "on_device": device_view(entry.get("profile")),
        "gain": _gain(say.table(entry.get("gain"))),
        "seconds": [
            (name, text)
            for name, value in say.table(entry.get("seconds")).items()
            if (text := say.figure(value, "{:.1f} s"))
        ],
        "checks": _checks(path, say.number(session.get("threads"))),
    }


def budget_share(parity: Mapping[str, Any]) -> float | None:
    """Return how much of its error budget an artifact uses, 1 being all of it.

    The larger of two shares: of the largest difference allowed, and of the root mean square that the lowest
    PSNR allowed stands for. ``None`` where the report does not hold them.
    """
    budget, shares = say.table(parity.get("budget")), []
    most, largest = say.number(budget.get("max_abs")), say.number(parity.get("max_abs"))
    if most and largest is not None and most > 0:
        shares.append(largest / most)
    lowest, psnr = say.number(budget.get("min_psnr_db")), say.number(parity.get("psnr_db"))
    if lowest is not None and psnr is not None:
        shares.append(10 ** (min(lowest - psnr, 4000.0) / 20))
    return max(shares) if shares and all(0 <= share < math.inf for share in shares) else None


def contradiction(parity: Mapping[str, Any]) -> str | None:
    """Say which of the recorded figures no verified artifact can have; ``None`` if there is none.

    A PSNR may be infinite, which results without any difference have. Any other figure that is not finite is
    a failure, also where the report holds no bound for it.
    """
    ratio = "SNR" if parity.get("measure") == "tensor" else "PSNR"
    names = {"max_abs": "largest difference", "mean_abs": "mean difference", "psnr_db": ratio, "ssim": "SSIM"}
    for key, name in names.items():
        value = parity.get(key)
        number = math.inf if type(value) is int and say.number(value) is None else say.number(value)
        if number is not None and not math.isfinite(number) and (key != "psnr_db" or number != math.inf):
            return f"its {name} is {say.figure(number)}"
    share = budget_share(parity)
    if parity.get("within_budget") is False or (share is not None and share > 1):
        return "its error is over the budget in the report"
    return None


def command(value: Any) -> str | None:
    """Return a recorded command as a shell line; ``None`` if the report has none."""
    if isinstance(value, list):
        return shlex.join([say.words(part) or "" for part in value]) or None
    return say.words(value)


def _latency(latency: Mapping[str, Any]) -> dict[str, Any]:
    times = [say.number(v) for v in say.items(latency.get("samples"))]
    samples = [v for v in times if v is not None and math.isfinite(v)]
    named = {key: say.number(latency.get(key)) for key in ("min", "p50", "p90", "p99", "eager_p50")}
    numbers = {key: v for key, v in named.items() if v is not None and math.isfinite(v)}
    if not has_tail(latency):
        numbers.pop("p99", None)
    return {
        "latency": bool(latency),
        **{key: say.figure(latency.get(key)) for key in ("min", "p50", "p90", "max", "eager_p50")},
        "p99": say.figure(latency.get("p99")) if has_tail(latency) else None,
        "n": say.figure(latency.get("n"), "{:.0f}"),
        "drift": say.figure(latency.get("drift"), "{:.2f}"),
        "cut_short": latency.get("complete") is False,
        "steady": stable if isinstance(stable := latency.get("stable"), bool) else None,
        "unsteady": [text for why in say.items(latency.get("unstable_because")) if (text := say.words(why))],
        "conditions": say.flat(latency.get("conditions")),
        "ratio": say.ratio(named["p50"], named["eager_p50"]),
        "samples": samples,
        "times": numbers,
    }


def _distance(parity: Mapping[str, Any]) -> dict[str, str | None]:
    """How far two results are apart; tensors that are no pictures have an SNR and no SSIM."""
    return {
        "max_abs": say.figure(parity.get("max_abs"), "{:.2e}"),
        "mean_abs": say.figure(parity.get("mean_abs"), "{:.2e}"),
        "psnr": say.figure(parity.get("psnr_db"), "{:.1f} dB"),
        "ssim": None if parity.get("measure") == "tensor" else say.ssim(parity.get("ssim")),
        "ratio_name": "SNR" if parity.get("measure") == "tensor" else "PSNR",
    }


def _gain(gain: Mapping[str, Any]) -> dict[str, str] | None:
    """PSNR from the sharp photo, before and after, and the difference; ``None`` where that is unknown."""
    before, after = (say.number(gain.get(key)) for key in ("before_db", "after_db"))
    if before is None or after is None or not math.isfinite(before) or not math.isfinite(after):
        return None
    return {"before": f"{before:.1f} dB", "after": f"{after:.1f} dB", "gain": f"{after - before:+.1f} dB"}


def _photo(photo: Mapping[str, Any]) -> dict[str, str | None]:
    output = say.words(photo.get("output"))
    return {"photo": say.words(photo.get("photo")), "output": output, **_distance(photo)}


def _bands(value: Any) -> list[tuple[float, float, float]]:
    """Low edge, high edge and decibels of each band; one without all three is left out."""
    bands = []
    for band in map(say.table, say.items(value)):
        names = [name for name in band if isinstance(name, str) and name.endswith("db")]
        low, high, error = (say.number(band.get(k)) for k in ("low", "high", names[0] if names else ""))
        if low is not None and high is not None and error is not None and not math.isnan(error):
            bands.append((low, high, error))
    return bands


def _error_map(value: Mapping[str, Any]) -> dict[str, Any] | None:
    share = say.number(value.get("over_half_step"))
    if not value:
        return None
    return {
        "photo": say.words(value.get("photo")),
        "size": say.size_words(value.get("size")),
        **{key: say.figure(value.get(key), "{:.1e}") for key in ("max", "p50", "p99")},
        "over": None if share is None else "none" if share == 0 else say.percent(share),
    }


def _census(value: Mapping[str, Any]) -> list[tuple[str, str, int, float, float]]:
    """Kind of arithmetic, its tone, how many operators, and its share's start and width in percent."""
    counts = [(str(name), say.number(count)) for name, count in value.items() if not _counts_layers(name)]
    known = [(name, count) for name, count in counts if count is not None and 0 < count < 1e15]
    total, start, parts = sum(count for _, count in known), 0.0, []
    for name, count in known:
        tone = (
            "eighth" if "int8" in name else "half" if "16" in name else "single" if _single(name) else "other"
        )
        width = 100 * count / total
        parts.append((name, tone, int(count), start, width))
        start += width
    return parts


def _layers(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the census counts by layer, not by operator."""
    counts = (
        (str(name), say.figure(count, "{:.0f}")) for name, count in value.items() if _counts_layers(name)
    )
    return [(name, count) for name, count in counts if count is not None]


def _counts_layers(name: Any) -> bool:
    return str(name).endswith(" layers")


def _single(name: str) -> bool:
    return "32" in name or name == "float"


def _checks(path: str | None, threads: float | None) -> list[tuple[str, str]]:
    """Commands that check the artifact itself, without building it again."""
    if path is None:
        return []
    place = shlex.quote(f"./{path}" if path.startswith("-") else path)
    same = f" --threads {threads:.0f}" if threads is not None and 0 < threads < 1e6 else ""
    return [
        ("Verify this artifact against PyTorch again", f"fdikp-edge verify {place}{same}"),
        ("Measure its latency on another machine", f"fdikp-edge bench {place}{same}"),
    ]


def _model_bytes(files: Mapping[str, Mapping[str, Any]], golden: Mapping[str, Any]) -> float | None:
    """Size of what a runtime loads: all files but the recorded input and output."""
    told = (name for names in golden.values() for name in (names if isinstance(names, list) else [names]))
    recorded = {name for name in told if isinstance(name, str)}
    kept = [v for name, v in files.items() if name not in recorded and not name.startswith("golden")]
    sizes = [say.number(value.get("bytes")) for value in kept]
    known = [size for size in sizes if size is not None and math.isfinite(size)]
    return sum(known) if known and len(known) == len(sizes) else None
