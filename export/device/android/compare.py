"""Writes ``results/report.json``: latency from the logs of ``benchmark_model``, parity from golden outputs.

``python3 compare.py FOLDER``, with NumPy, after ``measure.sh``. It stands alone: nothing else is installed.
Exits with 1 if a model has no latency, or its output is missing or clearly less like PyTorch's than on the
machine that verified the artifact.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

_TIMES = re.compile(r"Inference \(avg\): ([0-9.e+]+)")
_FIRST = re.compile(r"First inference: ([0-9.e+]+)")


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
    name, results = entry["name"], folder / "results"
    log = results / f"{name}.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    psnr = _psnr(folder, entry, results / f"{name}.output.bin")
    time = _number(_TIMES, text)
    return {
        "name": name,
        "milliseconds": time,
        "first_milliseconds": _number(_FIRST, text),
        "psnr_db": psnr,
        "least_psnr_db": entry["least_psnr_db"],
        "ok": time is not None and psnr is not None and psnr >= entry["least_psnr_db"],
    }


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    """Return a time of the log in milliseconds; it has microseconds."""
    match = pattern.search(text)
    return None if match is None else float(match.group(1)) / 1000


def _psnr(folder: Path, entry: dict[str, Any], output: Path) -> float | None:
    """Return the PSNR of all outputs against the golden ones, each on the range that its contract names."""
    golden = [
        np.load(folder / "models" / entry["name"] / file, allow_pickle=False) for file in entry["golden"]
    ]
    size = sum(array.nbytes for array in golden)
    if not output.is_file() or output.stat().st_size != size:
        return None
    data, at, worst = output.read_bytes(), 0, math.inf
    for array, peak in zip(golden, entry["peaks"], strict=True):
        values = np.frombuffer(data, array.dtype, array.size, at).reshape(array.shape)
        at += array.nbytes
        error = float(np.mean((values.astype(np.float64) - array.astype(np.float64)) ** 2))
        if math.isnan(error):
            return -math.inf
        worst = min(worst, 200.0 if error == 0 else 10 * math.log10(peak**2 / error))
    return worst


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
