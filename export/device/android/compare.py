"""Writes ``results/report.json``: latency from the logs of what ran the models, parity from golden outputs.

``python3 compare.py FOLDER``, with NumPy, after ``measure.sh``. It stands alone: nothing else is installed.
Exits with 1 if a model has no latency, or its output is missing or clearly less like PyTorch's than on the
machine that verified the artifact.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> int:
    """Write the report and print a line for each model."""
    results = folder / "results"
    device = dict(
        line.split("=", 1)
        for line in (results / "device.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        if "=" in line
    )
    models = [measured(folder, entry) for entry in json.loads((folder / "models.json").read_text("utf-8"))]
    report = {"format": "fdikp-edge android report", "version": 1, "device": device, "models": models}
    (results / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for model in models:
        speed = "no latency" if model["milliseconds"] is None else f"{model['milliseconds']:.2f} ms"
        like = (
            "output not compared" if model["psnr_db"] is None else f"{model['psnr_db']:.1f} dB from PyTorch"
        )
        print(f"{model['name']}: {speed}, {like}: {'ok' if model['ok'] else 'not ok'}")
    return 0 if all(model["ok"] for model in models) else 1


def measured(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a model's log and output say."""
    name, results, log = entry["name"], folder / "results", entry["log"]
    file = results / f"{name}.log"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    psnr = _psnr(folder, entry, [results / f"{name}.{output}" for output in entry["outputs"]])
    times = _times(log["times"], log, text)[log["warmup"] :]
    time = sum(times) / len(times) if times else None
    return {
        "name": name,
        "tool": entry["tool"],
        "milliseconds": time,
        "first_milliseconds": next(iter(_times(log["first"], log, text)), None),
        "psnr_db": psnr,
        "least_psnr_db": entry["least_psnr_db"],
        "ok": time is not None and psnr is not None and psnr >= entry["least_psnr_db"],
    }


def _times(pattern: str, log: dict[str, Any], text: str) -> list[float]:
    """Return the times of a log that a pattern matches, in milliseconds."""
    return [float(value) * log["milliseconds"] for value in re.findall(pattern, text)]


def _psnr(folder: Path, entry: dict[str, Any], outputs: Sequence[Path]) -> float | None:
    """Return the PSNR of the worst output against its golden one, on the range that its contract names.

    ``None`` if one is missing, of another size, or not finite.
    """
    golden = [
        np.load(folder / "models" / entry["name"] / file, allow_pickle=False) for file in entry["golden"]
    ]
    data = b"".join(output.read_bytes() for output in outputs if output.is_file())
    if len(data) != sum(array.nbytes for array in golden):
        return None
    at, worst = 0, math.inf
    for array, peak in zip(golden, entry["peaks"], strict=True):
        values = np.frombuffer(data, array.dtype, array.size, at).reshape(array.shape)
        at += array.nbytes
        error = float(np.mean((values.astype(np.float64) - array.astype(np.float64)) ** 2))
        if not math.isfinite(error):
            return None
        worst = min(worst, 200.0 if error == 0 else 10 * math.log10(peak**2 / error))
    return worst


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
