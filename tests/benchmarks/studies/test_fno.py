"""The study of pruned spectra, on one small network with one round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.studies import fno
from fdikp_edge.benchmarks.timing.latency import Latency

pytest.importorskip("torch")


def test_measures_whole_and_pruned_beside_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    out = tmp_path / "fno.json"
    size = ["--size", "16x20", "--modes", "4x3", "--width", "4", "--blocks", "1"]
    monkeypatch.setattr("sys.argv", ["fno", *size, "--rounds", "1", "--threads", "1", "--json", str(out)])

    fno.main()

    (result,) = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [fno.EAGER, *(f"{t}, {f}" for t in fno.RUNTIMES for f in ("whole", "pruned"))]
    for target in fno.RUNTIMES:
        whole, pruned = rows[f"{target}, whole"], rows[f"{target}, pruned"]
        assert pruned["multiply_adds"] < whole["multiply_adds"] / 2
        assert pruned["matrix_bytes"] < whole["matrix_bytes"] / 2
        # Two real parts of each matrix, there and back: one axis of the signal by one of the kept modes, or,
        # of a signal this small, both axes at once.
        by_axis, at_once = 4 * 2 * 2 * (20 * 3 + 16 * 4), 4 * 2 * 2 * (20 * 16) * (3 * 4)
        assert pruned["matrix_bytes"] in (by_axis, at_once)
        assert whole["times_whole"] is None and pruned["times_whole"] > 0
    assert all(row["max_relative_error"] < 1e-5 for row in result["rows"])
    printed = capsys.readouterr().out
    assert "16x20, 4x3 modes, 4 channels, 1 blocks" in printed
    assert all(name in printed for name in rows)


def test_the_ratio_is_the_median_over_pairs() -> None:
    assert fno._paired(Latency((10.0, 40.0, 12.0), True), Latency((5.0, 10.0, 3.0), True)) == 4.0


@pytest.mark.parametrize("modes", ["3x2", "18x2", "4x11", "0x2"])
def test_modes_that_the_spectrum_does_not_have(modes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fno", "--size", "16x20", "--modes", modes])
    with pytest.raises(SystemExit):
        fno.main()
