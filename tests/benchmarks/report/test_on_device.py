"""Placement and power modes of a profile on the page, and a page that survives what is not there."""

from __future__ import annotations

from typing import Any

import pytest
from fdikp_edge.benchmarks.report.html import render
from fdikp_edge.benchmarks.report.on_device import device_view

pytest.importorskip("jinja2")


def mode(name: str, watts: float, p50: float, *, was_set: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "was_set": was_set,
        "clocks": {"result": {"p50": p50, "p99": p50 * 1.5}},
        "power": {"total": {"mean_mw": watts * 1000}},
        "energy_per_frame_mj": {"gross": watts * p50, "net": None},
        "drift": {"ratio": 1.01, "flagged": False},
        "throttle": {"flagged": name == "MAXN", "reasons": []},
        "protocol": {"problems": ["20 queries, fewer than 1024"]},
    }


PROFILE: dict[str, Any] = {
    "power_modes": [
        mode("MAXN", 22.0, 10.0),
        mode("15W", 11.0, 18.0, was_set=True),
        {"name": "7W", "problem": "7W needs a restart of the board"},
    ],
    "placement": {
        "source": "a runtime's profile",
        "places": [
            {"name": "GPU", "operators": 300, "share": 0.93, "fallback": False, "examples": ["Conv"]},
            {"name": "<b>", "operators": 4, "share": 0.07, "fallback": True, "examples": ["Concat"]},
        ],
        "problems": ["4 operators ran on <b>, which was not asked for"],
    },
}


def test_modes_lie_over_their_power_and_the_one_from_before_is_marked() -> None:
    view = device_view(PROFILE)
    assert view is not None
    charts = dict(view["modes"]["charts"])
    dots = charts["p50"].dots
    assert [dot.chosen for dot in dots] == [True, False], "15W first: it draws less"
    assert dots[0].x < dots[1].x and dots[0].y < dots[1].y, "more power, less time (y goes down)"
    assert dots[0].text == "15W: 18.00 ms at 11.00 W"
    assert charts["p99"].dots[0].text == "15W: 27.00 ms at 11.00 W"
    rows = view["modes"]["rows"]
    assert [row["gross"] for row in rows] == ["220.0 mJ", "198.0 mJ", None]
    assert rows[0]["throttled"] and rows[2]["problem"] == "7W needs a restart of the board"


def test_the_page_shows_and_escapes_them() -> None:
    page = render({"artifacts": [{"target": "tensorrt", "precision": "bf16", "profile": PROFILE}]})
    assert "On the device" in page and "p50 over power" in page and "7W needs a restart" in page
    assert "&lt;b&gt;" in page and "<b>, which" not in page
    assert "93.0%" in page and "not asked for" in page


@pytest.mark.parametrize(
    "profile", [None, {}, {"power_modes": 3, "placement": [1]}, {"power_modes": [], "placement": {}}]
)
def test_without_them_there_is_no_section(profile: Any) -> None:
    assert device_view(profile) is None
    assert "On the device" not in render({"artifacts": [{"target": "onnx", "profile": profile}]})


def test_values_of_other_types_are_not_measured() -> None:
    view = device_view(
        {"power_modes": [{"name": 3, "clocks": 1, "power": "x"}], "placement_absent": "no tool"}
    )
    assert view is not None and view["placement"]["absent"] == "no tool"
    assert view["modes"]["rows"][0]["p50"] is None and view["modes"]["charts"][0][1] is None
