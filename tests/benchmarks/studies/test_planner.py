"""The planner's benchmark, on one tiny site with one round."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.studies import planner


@pytest.mark.parametrize("target", planner.TARGETS)
def test_measures_every_strategy_of_a_tiny_site(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime" if target == "onnx" else "openvino")
    out = tmp_path / "planner.json"
    arguments = ["planner", "--target", target, "--site", "3x8x8", "--rounds", "1", "--json", str(out)]
    monkeypatch.setattr("sys.argv", arguments)

    planner.main()

    result = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["site"], row["kind"]) for row in result["rows"]] == [
        ("3x[8]x[8]", "r2c"),
        ("3x[8]x[8]", "c2r"),
    ]
    for row in result["rows"]:
        figures = row["strategies"]
        assert set(figures) == {"flat", "separable"}  # too short to factor
        assert all(f["predicted_us"] > 0 and f["measured_us"] > 0 for f in figures.values())
        assert row["chosen"] == min(figures, key=lambda name: figures[name]["predicted_us"])
        assert row["fastest"] == min(figures, key=lambda name: figures[name]["measured_us"])
        assert row["regret"] == figures[row["chosen"]]["measured_us"] / figures[row["fastest"]]["measured_us"]
    regrets = [row["regret"] for row in result["rows"]]
    assert math.isclose(result["regret"], math.prod(regrets) ** (1 / len(regrets)))
    printed = capsys.readouterr().out
    assert f"in {result['right']} of 2 cases" in printed


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (planner.Case((64, 128), (-1,)), "64x[128]"),
        (planner.Case((1, 96, 160, 16), (1, 2)), "1x[96]x[160]x16"),
    ],
)
def test_names_say_which_axes_are_transformed(case: planner.Case, name: str) -> None:
    assert case.name == name


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("case", planner.CASES, ids=lambda case: case.name)
def test_every_case_is_one_site_of_the_kind_it_says(case: planner.Case, inverse: bool) -> None:
    torch = pytest.importorskip("torch")
    module, x = planner._module(case, inverse)
    with torch.device("meta"):
        result = module(torch.empty(x.shape))
    half = list(case.shape)
    half[case.dims[-1]] = half[case.dims[-1]] // 2 + 1
    assert tuple(result.shape) == (case.shape if inverse else tuple(half))
