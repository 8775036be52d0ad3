"""The HTML report: complete, honest about what is missing, closed to what a hostile report says."""

from __future__ import annotations

import base64
import hashlib
import html as markup
import io
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("jinja2", reason="the report needs jinja2")

from fdikp_edge.benchmarks.accuracy import error_map
from fdikp_edge.benchmarks.accuracy.budgets import Budget
from fdikp_edge.benchmarks.report import charts as charts
from fdikp_edge.benchmarks.report.html import Pictures, ReportUnavailableError, render
from fdikp_edge.benchmarks.report.rows import budget_share
from fdikp_edge.runtime.errors import BadInputError, FdikpEdgeError
from fdikp_edge.runtime.samples import sample_photo
from report_data import HOSTILE, Page, hostile, joined, report


def rows(html: str) -> list[list[str]]:
    """The cells of the summary's body, as text."""
    table = html.split('<table class="summary"')[1].split("</table>")[0].split("<tbody")[1]
    plain = [re.split(r"</t[hd]>", line.split("</tr>")[0]) for line in table.split("<tr")[1:]]
    return [
        [" ".join(markup.unescape(re.sub(r"<[^>]*>|^[^<]*>", " ", cell)).split()) for cell in line[:-1]]
        for line in plain
    ]


def test_every_figure_of_a_row_is_shown() -> None:
    first, *_ = rows(render(report()))
    assert first == [
        *("onnx fp32", "✓ verified"),
        "9.4 % ✓ within largest difference 1.88e-06 (maximum 2e-05) PSNR 138.2 dB (minimum 100 dB) "
        "SSIM > 0.999999",
        "12.5 ms p90 13.2, p99 19",
        "4.00× faster PyTorch 50 ms",
        "2.00 MB",
    ]


def test_what_is_missing_is_said_and_not_invented() -> None:
    _, unavailable, failed = rows(render(report()))
    assert unavailable[1:] == [
        "– unavailable tensorrt is not installed",
        *("not measured", "not measured", "not measured", "not recorded"),
    ]
    assert failed[2].startswith(
        "share not recorded ✕ exceeded largest difference not measured PSNR not measured"
    )
    for section in ("bands", "latency"):
        part = render(report()).split(f'<h2 id="{section}">')[1].split("<section")[0]
        assert "Not measured: tensorrt fp16; openvino fp16." in part


@pytest.mark.parametrize(
    "artifact",
    [
        {},
        {"parity": {}, "latency_ms": {}, "size": None, "state": None, "plan": None, "files": None},
        {"parity": 3, "latency_ms": "x", "size": 7, "state": ["a"], "plan": "p", "files": [1], "notes": "n"},
        {"latency_ms": {"samples": [], "p50": 0, "eager_p50": 10**400}, "audit": [], "plan": [3, {}]},
        {"latency_ms": {"samples": [5.0]}, "parity": {"bands": [{"low": 0}, 4, {"error_db": "x"}]}},
        {
            "latency_ms": {"samples": [-1.0, 2.0]},
            "parity": {"psnr_db": float("inf"), "max_abs": float("nan")},
        },
        {"parity": {"bands": [{"low": 0, "high": 1, "error_db": float("-inf")}]}, "files": {"a": {}}},
    ],
)
def test_any_artifact_gives_a_page(artifact: dict[str, Any]) -> None:
    page = Page(render({"artifacts": [artifact]}))
    assert "not measured" in page.text
    assert "None" not in page.text and "Undefined" not in page.text


def test_nan_and_infinity_are_shown_as_such() -> None:
    parity = {"max_abs": float("nan"), "psnr_db": float("inf"), "ssim": 1.0}
    ((_, _, error, *_),) = rows(render({"artifacts": [{"parity": parity}]}))
    assert error == "share not recorded largest difference NaN PSNR ∞ SSIM 1.000000"


@pytest.mark.parametrize("bad", [[], "x", {}, {"artifacts": {}}, {"artifacts": [1]}])
def test_what_is_no_report_is_refused(bad: Any) -> None:
    with pytest.raises(BadInputError, match="not a report"):
        render(bad)


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    pictures = Pictures(sample_photo(), {HOSTILE: sample_photo(), "gone": tmp_path / "<u>gone.png"})
    clean, attacked = render(report(), pictures=pictures), render(hostile(report()), pictures=pictures)
    attacked.encode("utf-8")
    page = Page(attacked)
    assert "alert(1)" in page.text
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert page.inline == Page(clean).inline
    assert not {"onerror", "onclick", "style"} & {name for _, attrs in page.elements for name in attrs}
    assert not page.all("u")
    assert not set("\u202e\x00") & set(attacked)


def test_nothing_is_loaded_from_anywhere() -> None:
    html = render(hostile(report()), pictures=Pictures(sample_photo(), {0: sample_photo("chelsea")}))
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "base", "form", "video", "audio", "source"}
        for name in {"src", "href", "srcset", "action", "poster", "data", "xlink:href"} & attributes.keys():
            assert attributes[name].startswith(("data:", "#")), f"{tag} {name}"
    assert not re.search(r"https?:|url\(|@import|//[a-z]", page.inline["style"] + page.inline["script"])


def test_the_policy_allows_this_style_and_this_script_only() -> None:
    page = Page(render(report()))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inline[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def jpeg(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_pictures_are_embedded_small_and_equal_ones_once(tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    Image.new("RGB", (1800, 600), (200, 40, 10)).save(wide)
    shutil.copy(wide, tmp_path / "same.png")
    other = tmp_path / "other.png"
    Image.new("RGB", (1800, 600), (10, 40, 200)).save(other)
    pictures = Pictures(wide.read_bytes(), {"onnx-fp32": wide, 1: tmp_path / "same.png", "2": other})
    html = render(report(), pictures=pictures)
    page = Page(html)
    images = [jpeg(image["src"]) for image in page.all("img")]
    assert [image.size for image in images] == [(1160, 387)] * 3
    assert [jpeg(image["data-detail"]).size for image in page.all("img")] == [(1160, 600)] * 3
    assert "After: onnx fp32, tensorrt fp16" in page.text
    assert "Shown 1160 pixels wide, 1800 in the photo" in page.text
    assert all(image["alt"] for image in page.all("img"))


def test_the_slider_needs_no_script_to_show_both_pictures() -> None:
    page = Page(render(report(), pictures=Pictures(sample_photo(), {0: sample_photo()})))
    (slider,) = page.all("input")
    assert slider["type"] == "range"
    (controls,) = [d for d in page.all("div") if d.get("class") == "controls"]
    assert "hidden" in controls, "controls that do nothing without a script"
    assert not [f for f in page.all("figure") if "hidden" in f]


def test_no_slider_where_it_would_not_line_up_or_a_picture_is_missing(tmp_path: Path) -> None:
    chelsea = sample_photo("chelsea")
    assert not Page(render(report(), pictures=Pictures(sample_photo(), {0: chelsea}))).all("input")
    page = Page(render(report(), pictures=Pictures(b"no photo", {0: chelsea, 1: tmp_path / "none.png"})))
    assert not page.all("input") and len(page.all("img")) == 1
    assert "No picture of the input" in page.text and "No picture for tensorrt" in page.text
    assert "This report has no photos" in Page(render(report())).text


def test_a_16_bit_and_a_grey_photo_are_embedded(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.new("I;16", (40, 30), 32768).save(grey)
    html = render(report(), pictures=Pictures(grey))
    (image,) = [jpeg(image["src"]) for image in Page(html).all("img")]
    assert image.getpixel((20, 15)) == pytest.approx((127, 127, 127), abs=2)


def test_the_plan_groups_equal_sites_and_equal_plans() -> None:
    data = report()
    data["artifacts"][2]["plan"] = data["artifacts"][0]["plan"]
    html = render(data)
    part = html.split('<h2 id="plan">')[1].split("<section")[0]
    assert part.count("<details>") == 1
    assert "onnx fp32, openvino fp16" in part
    assert "2: fft_rfft2, fft_rfft2_1" in part and "separable 141" in part


def test_what_the_audit_found_stands_beside_the_plan() -> None:
    data = report()
    assert "Error bound" not in Page(render(data)).text
    site = {"site": "fft_rfft2", "multiply_adds": 123456, "error_bound": 2.5e-6}
    data["artifacts"][0]["audit"] = {"sites": [site], "native_sites": 0, "operators": {"aten.mm": 7}}
    text = Page(render(data)).text
    for expected in ("123,456", "2.5e-06", "native_sites", "aten.mm 7"):
        assert expected in text


def test_what_was_not_done_says_why_beside_the_plan() -> None:
    data = report()
    full = data["artifacts"][0]
    full["plan"][0]["declined"] = {"window": "it reads <no> partition", "factored": 7}
    full["audit"] = {
        "fusions": [
            {"pattern": "window", "declined": None, "nodes": ["fft_rfft2_5"]},
            {"pattern": "map", "declined": "its parts are not only stacked", "nodes": ["fft_rfft2", "b"]},
            {"pattern": ["x"], "declined": {}, "nodes": 3},
            "nonsense",
        ]
    }
    text = Page(render(data)).text
    for expected in (
        "it reads <no> partition (fft_rfft2)",
        "replaced (1: fft_rfft2_5)",
        "left: its parts are not only stacked (2: fft_rfft2, b)",
    ):
        assert expected in text


def test_commands_are_quoted_and_none_is_invented() -> None:
    data = report()
    data["artifacts"][1]["path"] = "-a; rm -rf ~"
    text = Page(render(data)).text
    assert "fdikp-edge deploy --model tiny --target onnx --photo 'my cup.jpg'" in text
    assert "fdikp-edge verify onnx-fp32 --threads 2" in text
    assert "fdikp-edge verify './-a; rm -rf ~'" in text
    assert text.count("The command that built it: not recorded") == 2


@pytest.mark.parametrize(
    ("states", "tone", "says"),
    [
        ([], "off", "No artifacts in this report"),
        (["verified"], "good", "1 of 1 artifact matches PyTorch within budget"),
        (["verified"] * 3, "good", "3 of 3 artifacts match PyTorch within budget"),
        (["verified", "failed", "unavailable"], "bad", "1 of 3 artifacts failed"),
        (["verified", "unverified"], "unsure", "1 of 2 artifacts verified, 1 not"),
        (["unavailable", "unheard of"], "unsure", "2 artifacts not verified"),
    ],
)
def test_the_verdict_comes_first(states: list[str], tone: str, says: str) -> None:
    data = {"artifacts": [{"target": f"t{i}", "state": s, "reason": f"r{i}"} for i, s in enumerate(states)]}
    html = render(data)
    banner = html.split('<div class="verdict ')[1].split("</div>")[0]
    assert banner.startswith(f'{tone}">') and says in banner
    for i, state in enumerate(states):
        assert (f"t{i}: r{i}" in banner) == (state != "verified"), "what is not good says why"


def test_key_facts_name_the_best_of_the_verified_only() -> None:
    def row(target: str, state: str, p50: float, size: int, max_abs: float) -> dict[str, Any]:
        return {
            "target": target, "state": state, "latency_ms": {"p50": p50, "eager_p50": 20.0},
            "files": {"model": {"bytes": size}},
            "parity": {"max_abs": max_abs, "psnr_db": 90.0, "budget": {"max_abs": 0.02, "min_psnr_db": 60}},
        }  # fmt: skip

    verified = [
        row("quick", "verified", 5.0, 9_000_000, 0.01),
        row("small", "verified", 10.0, 3_000_000, 0.001),
    ]
    html = render({"artifacts": [*verified, row("broken", "failed", 1.0, 1_000_000, 1e-9)]})
    tiles = " ".join(re.sub(r"<[^>]*>", " ", html.split('<dl class="tiles">')[1].split("</dl>")[0]).split())
    assert "Fastest quick median 5 ms, 4.00× faster than PyTorch eager" in tiles
    assert "Smallest small 3.00 MB on disk" in tiles
    assert "budget" not in tiles
    assert "Smallest error small largest difference 1.00e-03" in tiles and "broken" not in tiles


def test_an_unstable_measurement_is_marked() -> None:
    data = report()
    assert "unstable" not in " ".join(cell for row in rows(render(data)) for cell in row)
    doubts = {"stable": False, "unstable_because": ["other processes used 1.4 processors"]}
    data["artifacts"][0]["latency_ms"] |= {**doubts, "conditions": {"governor": "powersave"}}
    html = render(data)
    assert rows(html)[0][3].startswith("12.5 ms ? unstable")
    assert "; unstable measurement" in html.split('<dl class="tiles">')[1].split("</dl>")[0]
    part = Page(html).text.split("Drift is")[1]
    assert "onnx fp32: unstable, other processes used 1.4 processors" in part and "powersave" in part


def test_a_ratio_of_an_unsteady_run_is_not_set_in_bold_and_few_calls_have_no_99th_percentile() -> None:
    data = report()
    latency = data["artifacts"][0]["latency_ms"]
    ratio, bold = "4.00× faster", "<b>4.00× faster"
    latency |= {"n": 100, "stable": True}
    steady = render(data)
    assert bold in steady and ", p99 19" in steady
    latency |= {"n": 99, "stable": False}
    unsteady = render(data)
    assert ratio in unsteady and bold not in unsteady and ", p99 19" not in unsteady


@given(
    max_abs=st.floats(0, 1e3), psnr=st.floats(-100, 200), most=st.floats(1e-6, 1), least=st.floats(20, 120)
)
def test_the_share_of_a_budget_agrees_with_the_budget(
    max_abs: float, psnr: float, most: float, least: float
) -> None:
    parity = {"max_abs": max_abs, "psnr_db": psnr, "budget": {"max_abs": most, "min_psnr_db": least}}
    share = budget_share(parity)
    assert share is not None
    assume(abs(share - 1) > 1e-9)
    assert (share < 1) == (not Budget(most, least).problems(max_abs, psnr))


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"max_abs": "Infinity", "budget": {"min_psnr_db": 60.0}}, "largest difference is ∞"),
        ({"max_abs": 10**400, "budget": {"min_psnr_db": 60.0}}, "largest difference is ∞"),
        ({"mean_abs": "nan"}, "mean difference is NaN"),
        ({"psnr_db": "-inf", "budget": {"max_abs": 0.1}}, "PSNR is −∞"),
        ({"measure": "tensor", "psnr_db": "nan"}, "SNR is NaN"),
        ({"ssim": "nan"}, "SSIM is NaN"),
        ({"within_budget": False}, "error is over the budget"),
        ({"max_abs": 0.5, "budget": {"max_abs": 0.1}}, "error is over the budget"),
        ({"psnr_db": 20.0, "budget": {"min_psnr_db": 60.0}}, "error is over the budget"),
    ],
)
def test_an_artifact_is_not_verified_because_the_report_says_so(figures: dict[str, Any], words: str) -> None:
    parity = {"max_abs": 1e-6, "psnr_db": 120.0, "within_budget": True, **figures}
    entry = {"target": "onnx", "precision": "fp32", "state": "verified", "parity": parity}
    page = Page(render({"artifacts": [entry]}))
    assert "The artifact failed" in page.text and f"listed as verified, but its {words}" in page.text
    entry["parity"] = {"max_abs": 0.0, "psnr_db": "inf", "within_budget": True}  # no difference at all
    assert "1 of 1 artifact matches PyTorch" in Page(render({"artifacts": [entry]})).text


def test_the_gain_is_shown_where_the_sharp_photo_is_known() -> None:
    data = report()
    data["artifacts"][0]["gain"] = {"before_db": 24.9, "after_db": 27.94}
    data["artifacts"][1]["gain"] = {"before_db": 24.9, "after_db": None}
    photo = Pictures(sample_photo(), {0: sample_photo()})
    text = " ".join(Page(render(data, pictures=photo)).text.split())
    assert "+3.0 dB towards the sharp photo (PSNR 24.9 dB before, 27.9 dB after)" in text
    assert text.count("towards the sharp photo") == 1
    assert "towards the sharp photo" not in Page(render(report(), pictures=photo)).text


def test_why_a_timing_is_unstable_stands_beside_it() -> None:
    data = report()
    data["artifacts"][0]["latency_ms"] |= {
        "stable": False, "unstable_because": ["other processes used 1.6 processors"], "eager_p50": 20.0
    }  # fmt: skip
    html = render(data)
    row = html.split('id="artifact-0"')[1].split("</tr>")[0]
    assert "other processes used 1.6 processors" in row
    assert "<b>" not in row.split('data-label="Relative to PyTorch"')[1].split("</td>")[0]


def test_the_table_of_the_machine_is_folded() -> None:
    section = render(report()).split('id="environment"')[1]
    assert section.index("<details>") < section.index("<table")


def test_names_say_size_and_device_only_where_they_differ() -> None:
    one = Page(render(report())).text
    assert "onnx fp32 · " not in one and one.count("A CPU · 2 threads") == 1
    html = render(joined("desk", "board"))
    text = Page(html).text
    assert "onnx fp32 · desk" in text and "onnx fp32 · board" in text
    assert "board · CPU of board · 2 threads" in text
    assert [row[0] for row in rows(html)][:2] == ["onnx fp32 desk", "onnx fp32 board"]
    for key, first, second in (("size", [8, 8], [8, 16]), ("model", "tiny", "base")):
        two = {"artifacts": [{"target": "a", key: first}, {"target": "a", key: second}]}
        text = Page(render(two)).text
        for value in (first, second):
            shown = f"a {'×'.join(map(str, value))}" if isinstance(value, list) else f"{value} a"
            assert shown in text


def test_devices_are_compared_artifact_by_artifact() -> None:
    assert "Comparison of devices" not in Page(render(report())).text
    data = joined("desk", "board")
    data["artifacts"][1]["latency_ms"] = {"p50": 10.0}
    del data["artifacts"][3]
    part = render(data).split('<h2 id="comparison">')[1].split("</section>")[0]
    plain = [markup.unescape(re.sub(r"<[^>]*>", " ", line)) for line in part.split("<tr>")[1:]]
    lines = [" ".join(line.split()) for line in plain]
    assert lines[0] == "Artifact desk board"
    assert lines[1].startswith("onnx fp32 ✓ verified 12.5 ms 4.00× faster error budget used: 9.4 %")
    assert lines[1].endswith("✓ verified 10 ms fastest error budget used: 9.4 %")
    assert lines[2] == "tensorrt fp16 – unavailable not measured not in its report"


def test_a_search_for_a_mixture_is_a_section_where_there_was_one() -> None:
    html = render(report())
    part = html.split('<h2 id="mixture">')[1].split("</section>")[0]
    assert part.count("<circle") == 2 and "one layer back in floats" in part and "51.0 dB" in part
    assert 'href="#mixture"' in html
    assert "mixture" not in render({"artifacts": []}).split("<body>")[1]


def test_what_an_artifact_computes_in_is_shown() -> None:
    part = render(report()).split('<h2 id="precision">')[1].split("<section")[0]
    widths = [float(w) for w in re.findall(r'<rect class="[a-z]+" x="[\d.]+%" width="([\d.]+)%"', part)]
    assert widths == [75.0, 25.0], "layers are no operators"
    text = " ".join(re.sub(r"<[^>]*>", " ", part).split())
    assert "30 float 10 float16 7 int8 layers Computed here in float32. fp32: everything is float32." in text
    assert "kept: one layer, for a reason" in text


def test_maps_of_the_error_share_a_reference_and_a_scale(tmp_path: Path) -> None:
    error = np.zeros((30, 40))
    error[3, 4] = 0.5
    photo = sample_photo("chelsea")
    for name in ("a.png", "b.png"):
        error_map.write_map(error, tmp_path / name)
    (tmp_path / "bad.png").write_bytes(photo.read_bytes())
    errors = {i: (tmp_path / name, photo) for i, name in enumerate(("a.png", "b.png", "bad.png"))}
    html = render(report(), pictures=Pictures(errors=errors))
    page = Page(html)
    assert [(i["alt"], i["src"][:16]) for i in page.all("img")] == [
        ("PyTorch's result for the photo", "data:image/jpeg;"),
        ("Error map of onnx fp32", "data:image/png;b"),
        ("Error map of tensorrt fp16", "data:image/png;b"),
    ]
    assert "No map for openvino fp16" in page.text
    assert "largest 1.9e-06, median 2.0e-08; none of the pixels above half an 8-bit step" in page.text
    assert "half an 8-bit step" in page.text and "budget of fp32" in page.text
    assert "This report has no photos" in page.text


def test_headings_do_not_skip_a_level_and_ids_are_unique() -> None:
    page = Page(render(report(), pictures=Pictures(sample_photo(), {0: sample_photo()})))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in {"aria-labelledby", "for"} & attributes.keys():
            assert attributes[name] in ids


def test_without_jinja2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ReportUnavailableError, match=r'pip install "fdikp-edge\[report\]"') as caught:
        render(report())
    assert isinstance(caught.value, FdikpEdgeError)


def test_importing_the_report_loads_nothing_heavy() -> None:
    program = (
        "import sys, fdikp_edge.benchmarks.report.html as r;"
        "print([m for m in ('jinja2', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_curve_of_a_mixture_is_drawn_and_what_is_no_number_is_left_out() -> None:
    points = [
        {"in_floats": 0, "saved_ms": 40.0, "drop_db": 0.3},
        {"in_floats": 5, "saved_ms": 30.0, "drop_db": 0.1},
        {"in_floats": "many", "saved_ms": "NaN", "drop_db": None},
    ]
    layer = {"module": HOSTILE, "node": "conv2d", "psnr_db": 60.0, "float_ms": 2.0, "int8_ms": 1.0}
    mixture = {"summary": HOSTILE, "points": points, "chosen": 1, "ranking": [layer]}
    row = {"target": "openvino", "precision": "int8", "size": [8, 8], "state": "verified"}
    page = Page(render({"artifacts": [{**row, "mixture": mixture}]}))
    dots = page.all("circle")
    assert [dot["class"] for dot in dots] == ["dot", "dot chosen"]
    assert float(dots[0]["cx"]) > float(dots[1]["cx"]) and float(dots[0]["cy"]) < float(dots[1]["cy"])
    assert len(page.all("polyline")) == 1 and "Mixed precision" in page.text
    assert [tag for tag, _ in page.elements].count("script") == 1
    for odd in (
        {},
        {"points": 3, "ranking": "x", "chosen": "y"},
        [],
        "text",
        {"points": [[]], "ranking": [1]},
    ):
        render({"artifacts": [{**row, "mixture": odd}]})
    assert "Mixed precision" not in Page(render({"artifacts": [row]})).text


def test_a_curve_without_a_span_has_axes_all_the_same() -> None:
    assert charts.curve([], -1) is None
    for points in ([(0.0, 0.0, "")], [(-2.0, -0.1, "")], [(5.0, 0.2, ""), (5.0, 0.2, "")]):
        chart = charts.curve(points, 0)
        assert chart is not None and chart.x_ticks
        for dot in chart.dots:
            assert charts.LEFT <= dot.x <= charts.RIGHT and charts.BANDS_TOP <= dot.y <= charts.BOTTOM
