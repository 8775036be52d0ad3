"""Reports of several devices become one, in which nothing is lost and devices are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.benchmarks.merge import merge, write_merged
from fdikp_edge.benchmarks.read_report import read_report
from fdikp_edge.runtime.errors import BadInputError, OutputError, ReportError


def report(cpu: str | None, *rows: tuple[str, str, float], weights: Any = "a" * 64) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "model": "tiny",
        "machine": {"cpu": cpu, "threads": 2},
        "notes": ["a remark"],
        "artifacts": [
            {
                "target": target,
                "precision": precision,
                "size": [32, 48],
                "path": f"tiny-{target}",
                "state": "verified",
                "reason": "",
                "weights_sha256": weights,
                "parity": {"max_abs": 1e-6, "psnr_db": 120.0},
                "latency_ms": {"p50": p50, "p99": 2 * p50, "stable": True},
            }
            for target, precision, p50 in rows
        ],
    }


def write(folder: Path, name: str, value: Any) -> Path:
    path = folder / name / "report.json"
    path.parent.mkdir()
    path.write_text(json.dumps(value))
    return path


def test_devices_stand_next_to_each_other(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("Alpha", ("onnx", "fp32", 10.0), ("openvino", "fp32", 5.0)))
    b = write(tmp_path, "b", report("Beta", ("openvino", "fp32", 7.0), ("onnx", "fp32", 30.0)))
    merged = merge([a, b.parent]).report
    rows = [(row["target"], row["device"]) for row in merged["artifacts"]]
    assert rows == [("onnx", "Alpha"), ("onnx", "Beta"), ("openvino", "Alpha"), ("openvino", "Beta")]
    (onnx, openvino) = merged["comparison"]
    assert onnx["devices"]["Alpha"]["p50_ms"] == 10.0 and onnx["devices"]["Beta"]["p50_ms"] == 30.0
    assert (
        openvino["devices"]["Beta"]["state"] == "verified" and openvino["devices"]["Beta"]["stable"] is True
    )
    assert merged["artifacts"][0]["path"] is None and merged["artifacts"][0]["path_there"] == "tiny-onnx"
    assert set(merged["machine"]["devices"]) == {"Alpha", "Beta"}
    assert merged["notes"] == ["Alpha: a remark", "Beta: a remark"]


def test_the_page_names_every_device_and_the_file_can_be_read_again(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    a = write(tmp_path, "a", report("<b>Alpha</b>", ("onnx", "fp32", 10.0)))
    b = write(tmp_path, "b", report("Beta", ("onnx", "fp32", 30.0)))
    out = tmp_path / "both"
    assert write_merged(merge([a, b]), out) == []
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "onnx fp32 · &lt;b&gt;Alpha" in page and "onnx fp32 · Beta" in page
    assert len(read_report(out)["artifacts"]) == 2
    with pytest.raises(OutputError):
        write_merged(merge([a, b]), out)
    write_merged(merge([a, b]), out, overwrite=True)


def test_equal_machines_are_told_apart(tmp_path: Path) -> None:
    paths = [write(tmp_path, name, report("Same", ("onnx", "fp32", 1.0))) for name in "abc"]
    assert list(merge(paths).report["machine"]["devices"]) == ["Same", "Same (2)", "Same (3)"]
    assert list(merge(paths[:2], ["desk", "lap"]).report["machine"]["devices"]) == ["desk", "lap"]
    nameless = write(tmp_path, "d", report(None, ("onnx", "fp32", 1.0)))
    assert list(merge([nameless, paths[0]]).report["machine"]["devices"]) == ["report", "Same"]


def test_different_weights_are_said(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("A", ("onnx", "fp32", 1.0)))
    b = write(tmp_path, "b", report("B", ("onnx", "fp32", 1.0), weights="b" * 64))
    assert "different weights" in merge([a, b]).report["notes"][0]


def test_values_of_the_wrong_kind_are_no_traceback(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("A", ("onnx", "fp32", 1.0)))
    odd = report("B", ("onnx", "fp32", 1.0), weights=["b" * 64])
    odd["artifacts"][0]["size"] = 7
    merged = merge([a, write(tmp_path, "b", {**odd, "model": None})]).report
    assert "different weights" in merged["notes"][0] and "None" not in merged["model"]


def test_bad_use_is_said(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("A", ("onnx", "fp32", 1.0)))
    with pytest.raises(BadInputError, match="two reports"):
        merge([a])
    with pytest.raises(BadInputError, match="one for each"):
        merge([a, a], ["x"])
    with pytest.raises(ReportError):
        merge([a, tmp_path / "none.json"])
    many = write(tmp_path, "many", report("M", *([("onnx", "fp32", 1.0)] * 600)))
    with pytest.raises(ReportError, match="more than"):
        merge([many, many])
