"""Reports of several devices become one, in which nothing is lost and devices are told apart."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy import error_map
from fdikp_edge.benchmarks.report import files as report_files
from fdikp_edge.benchmarks.report.files import listed
from fdikp_edge.benchmarks.report.merge import merge, write_merged
from fdikp_edge.benchmarks.report.read import read_report
from fdikp_edge.benchmarks.report.rows import _SHOWN as _ALL
from fdikp_edge.runtime.errors import BadInputError, OutputError, ReportError
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo


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


def test_an_earlier_page_does_not_stay_beside_other_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    a = write(tmp_path, "a", report("Alpha", ("onnx", "fp32", 10.0)))
    b = write(tmp_path, "b", report("Beta", ("onnx", "fp32", 30.0)))
    write_merged(merge([a, b]), tmp_path / "both")
    assert (tmp_path / "both" / "report.html").exists()
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as where it is not installed
    (note,) = write_merged(merge([a, b], ["c", "d"]), tmp_path / "both", overwrite=True)
    assert "jinja2" in note
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["report.json"]


def pictured(folder: Path, name: str, cpu: str, grey: int, before: int = 0) -> Path:
    """A report of one artifact whose folder holds a photo, what was made of it, and a map of the error."""
    content = report(cpu, ("onnx", "fp32", 10.0))
    path = write(folder, name, content)
    for sub in ("deblurred", "errors"):
        (path.parent / sub).mkdir()
    for file, level in (("before", before), ("x", grey)):
        write_photo(path.parent / f"deblurred/{file}.png", flat(level))
    write_photo(path.parent / "errors/x-reference.png", flat(77))
    error_map.write_map(np.full((20, 30), 1e-3), path.parent / "errors/x.png")
    content |= {"photo": f"{before}.png", "before": "deblurred/before.png"}
    content["artifacts"][0] |= {
        "picture": "deblurred/x.png",
        "error_map": {"map": "errors/x.png", "reference": "errors/x-reference.png", "max": 1e-3},
    }
    names = ["deblurred/before.png", "deblurred/x.png", "errors/x.png", "errors/x-reference.png"]
    content["pictures"] = listed(path.parent, names)
    path.write_text(json.dumps(content))
    return path


def flat(level: int) -> Photo:
    return Photo(np.full((20, 30, 3), level, np.uint8))


def test_pictures_are_carried_and_those_on_one_photo_share_a_slider(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    a, b = pictured(tmp_path, "a", "Alpha", 100), pictured(tmp_path, "b", "Beta", 200)
    out = tmp_path / "both"
    assert write_merged(merge([a, b]), out) == []
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data-slider>") == 1 and page.count('class="map"') == 2
    assert "<option>onnx fp32 · Alpha</option><option>onnx fp32 · Beta</option>" in page
    assert "Photo: 0.png" in page and "largest 1.0e-03" in page
    kept = read_report(out)["artifacts"]
    assert all(row["picture"] is None and set(row["error_map"]) == {"max"} for row in kept), "left behind"
    c = pictured(tmp_path, "c", "Gamma", 100, before=9)
    write_merged(merge([a, c]), out, overwrite=True)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data-slider>") == 2 and "Photo: 9.png" in page


Change = Callable[[Path, dict[str, Any]], object]
X = "deblurred/x.png"


def recorded(value: Any) -> Change:
    return lambda folder, content: content["pictures"].update({X: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, content: write_photo(folder / X, flat(3)), "its hash differs"),
        (lambda folder, content: (folder / X).unlink(), "not next to the report"),
        (lambda folder, content: content["pictures"].pop(X), "does not record its hash"),
        (lambda folder, content: content["artifacts"][0].update(picture="../../etc/passwd"), "plain path"),
        (lambda folder, content: content["artifacts"][0].update(picture=["x"]), "expected text"),
        (lambda folder, content: content.update(pictures=[1]), "deploy again"),
        (recorded({"sha256": "0" * 63, "bytes": 1}), "64 hexadecimal digits"),
        (recorded({"sha256": "0" * 64, "bytes": -1}), "whole number"),
        (recorded({"sha256": "0" * 64, "bytes": 2**40}), "at most 256 MiB"),
        (recorded("0" * 64), "expected an object"),
    ],
)
def test_a_picture_that_is_not_the_one_is_named_and_left_out(
    change: Change, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2")
    a, b = pictured(tmp_path, "a", "Alpha", 100), pictured(tmp_path, "b", "Beta", 200)
    content = json.loads(b.read_text())
    change(b.parent, content)
    b.write_text(json.dumps(content))
    (note,) = write_merged(merge([a, b]), tmp_path / "both")
    assert note.startswith("Beta: ") and message in note
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "The result of onnx fp32 · Alpha" in page and "The result of onnx fp32 · Beta" not in page
    assert "Beta: " in page


def test_links_and_what_is_no_file_are_not_followed(tmp_path: Path) -> None:
    a, b = pictured(tmp_path, "a", "Alpha", 100), pictured(tmp_path, "b", "Beta", 200)
    file = b.parent / X
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    (missing,) = merge([a, b]).pictures[1].missing
    assert "not a plain file" in missing
    file.unlink()
    os.mkfifo(file)  # would wait for a writer for ever
    assert "not a plain file" in merge([a, b]).pictures[1].missing[0]


def test_a_file_with_the_right_hash_that_is_no_picture_is_said_in_the_page(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    a, b = pictured(tmp_path, "a", "Alpha", 100), pictured(tmp_path, "b", "Beta", 200)
    (b.parent / X).write_text("<script>alert(1)</script>")
    content = json.loads(b.read_text())
    content["pictures"] |= listed(b.parent, [X])
    b.write_text(json.dumps(content))
    write_merged(merge([a, b]), tmp_path / "both")
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "No picture for onnx fp32 · Beta" in page and "alert(1)" not in page


def test_a_page_of_too_many_pictures_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_files, "MAX_PICTURES", 2)
    a = pictured(tmp_path, "a", "Alpha", 100)
    (pictures, _) = merge([a, a]).pictures
    assert pictures.before is not None and len(pictures.after) == 1 and not pictures.errors
    assert "more than 2 pictures" in pictures.missing[0]


def test_equal_machines_are_told_apart(tmp_path: Path) -> None:
    paths = [write(tmp_path, name, report("Same", ("onnx", "fp32", 1.0))) for name in "abc"]
    assert list(merge(paths).report["machine"]["devices"]) == ["Same", "Same (2)", "Same (3)"]
    assert list(merge(paths[:2], ["desk", "lap"]).report["machine"]["devices"]) == ["desk", "lap"]
    assert list(merge(paths, ["x (2)", "x", "x"]).report["machine"]["devices"]) == ["x (2)", "x", "x (3)"]
    nameless = write(tmp_path, "d", report(None, ("onnx", "fp32", 1.0)))
    assert list(merge([nameless, paths[0]]).report["machine"]["devices"]) == ["report", "Same"]


def test_a_name_for_a_device_is_one_that_can_be_read_again(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("A", ("onnx", "fp32", 1.0)))
    write_merged(merge([a, a, a], ["\x1b[31mred", "b\n\ud800c", "\x07"]), tmp_path / "both")
    assert [row["device"] for row in read_report(tmp_path / "both")["artifacts"]] == [
        "[31mred",
        "b c",
        "device",
    ]


def test_a_report_is_not_replaced_by_what_was_made_of_it(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("A", ("onnx", "fp32", 1.0)))
    b = write(tmp_path, "b", report("B", ("onnx", "fp32", 1.0)))
    before = b.read_bytes()
    with pytest.raises(OutputError, match="one of the reports"):
        write_merged(merge([a, b]), tmp_path / "a" / ".." / "b", overwrite=True)
    assert b.read_bytes() == before


def test_whole_numbers_of_any_length_are_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    content = report("A", ("onnx", "fp32", 1.0))
    content["artifacts"][0]["parity"]["max_abs"] = 10**400
    merged = merge([write(tmp_path, "a", content), write(tmp_path, "b", content)])
    assert merged.report["comparison"][0]["devices"]["A"]["max_abs"] is None
    write_merged(merged, tmp_path / "both")


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
    with pytest.raises(BadInputError, match="one name per report"):
        merge([a, a], ["x"])
    with pytest.raises(ReportError):
        merge([a, tmp_path / "none.json"])
    many = write(tmp_path, "many", report("M", *([("onnx", "fp32", 1.0)] * 600)))
    with pytest.raises(ReportError, match="more than"):
        merge([many, many])


def test_one_machine_is_listed_once_where_its_reports_have_different_artifacts(tmp_path: Path) -> None:
    a = write(tmp_path, "a", report("Alpha", ("onnx", "fp32", 10.0)))
    b = write(tmp_path, "b", report("Alpha", ("openvino", "fp32", 7.0)))
    c = write(tmp_path, "c", report("Alpha", ("coreml", "fp32", 7.0)))
    busy = json.loads(b.read_text())
    busy["machine"]["load"] = 1.5
    b.write_text(json.dumps(busy))
    merged = merge([a, b, c]).report
    assert merged["machine"]["device"] == "Alpha" and set(merged["machine"]["devices"]) == {"Alpha"}
    assert merged["notes"] == ["Alpha: a remark"]
    again = merge([a, b, a]).report  # the same artifact twice: two runs to compare
    assert [row["device"] for row in again["artifacts"]] == ["Alpha", "Alpha (2)", "Alpha"]
    other = json.loads(c.read_text())
    other["machine"]["threads"] = 8
    c.write_text(json.dumps(other))
    assert set(merge([a, c]).report["machine"]["devices"]) == {"Alpha", "Alpha (2)"}
    named = merge([a, b], ["desk", "board"]).report
    assert set(named["machine"]["devices"]) == {"desk", "board"}, "names given are kept"


@pytest.mark.parametrize(
    "odd", [{"photos": [5], "x": {"y": [1]}}, {"photos": [{"a": 1}]}, [[{}]], ["x", 5], 7, "x"]
)
def test_every_field_of_a_foreign_report_may_be_of_the_wrong_kind(tmp_path: Path, odd: Any) -> None:
    (folder := tmp_path / "reports").mkdir()
    a = write(folder, "a", report("A", ("onnx", "fp32", 1.0)))
    entry = {key: odd for key in _ALL if key not in ("target", "precision", "state")}
    entry |= {"target": "onnx", "precision": "fp32", "state": "verified"}
    outer = dict.fromkeys(("version", "created", "model", "machine", "sbom", "command", "notes"), odd)
    b = write(folder, "b", {**outer, "artifacts": [entry]})
    write_merged(merge([a, b]), tmp_path / "out")
    assert read_report(tmp_path / "out")["artifacts"][1]["target"] == "onnx"
