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
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("jinja2", reason="the report needs jinja2")

from fdikp_edge.benchmarks import report_charts as charts
from fdikp_edge.benchmarks.report_html import Pictures, ReportUnavailableError, render
from fdikp_edge.runtime.errors import BadInputError, FdikpEdgeError
from fdikp_edge.runtime.samples import sample_photo

_VOID = {"meta", "link", "img", "input", "br"}
_HOSTILE = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\u202e\x00\ud800"


class Page(HTMLParser):
    """Reads a page, refuses tags that do not match, and keeps elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.inline: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.inline[self.open[-1]] = self.inline.get(self.open[-1], "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report() -> dict[str, Any]:
    """A report with one row of each kind."""
    site = {
        "site": "fft_rfft2",
        "module": "model.dikp",
        "operator": "aten.fft_rfft2.default",
        "lengths": [8, 8],
        "input_shape": [1, 96, 8, 8],
        "strategy": "flat",
        "predicted_us": {"flat": 59.3, "separable": 140.8},
    }
    full = {
        "target": "onnx",
        "precision": "fp32",
        "size": [256, 192],
        "path": "onnx-fp32",
        "state": "verified",
        "reason": "",
        "parity": {
            "max_abs": 1.875e-6,
            "mean_abs": 1.2e-7,
            "psnr_db": 138.25,
            "ssim": 0.99999999,
            "within_budget": True,
            "bands": [
                {"low": 0.0, "high": 0.5, "rel_error_db": -130.0},
                {"low": 0.5, "high": 1.0, "rel_error_db": -98.0},
            ],
            "worst_photo": "chelsea.png",
        },
        "latency_ms": {
            "p50": 12.5,
            "p90": 13.25,
            "p99": 19.0,
            "min": 12.0,
            "n": 100,
            "eager_p50": 50.0,
            "samples": [12.0] * 50 + [13.0] * 49 + [19.0],
        },
        "plan": [site, {**site, "site": "fft_rfft2_1"}],
        "files": {
            "model.onnx": {"sha256": "ab" * 32, "bytes": 2_000_000},
            "golden_input.npy": {"sha256": "cd" * 32, "bytes": 786_560},
        },
        "reproduce": "fdikp-edge deploy --model tiny --target onnx",
    }
    missing = {
        "target": "tensorrt",
        "precision": "fp16",
        "size": [256, 192],
        "path": None,
        "state": "unavailable",
        "reason": "tensorrt is not installed",
        "parity": None,
        "latency_ms": None,
    }
    failed = {**missing, "target": "openvino", "state": "failed", "parity": {"within_budget": False}}
    return {
        "version": "0.1.0",
        "model": "tiny",
        "machine": {"cpu": "A CPU", "threads": 2, "versions": {"torch": "2.13.0"}},
        "artifacts": [full, missing, failed],
    }


def rows(html: str) -> list[list[str]]:
    """The cells of the summary's body, as text."""
    table = html.split('<table class="summary">')[1].split("</table>")[0].split("<tbody>")[1]
    plain = [re.split(r"</t[hd]>", line.split("</tr>")[0]) for line in table.split("<tr")[1:]]
    return [
        [" ".join(markup.unescape(re.sub(r"<[^>]*>|^[^<]*>", " ", cell)).split()) for cell in line[:-1]]
        for line in plain
    ]


def test_every_figure_of_a_row_is_shown() -> None:
    first, *_ = rows(render(report()))
    assert first == [
        *("onnx", "fp32", "256×192", "✓ verified"),
        *("1.88e-06", "138.2 dB", "> 0.999999", "✓ within"),
        *("12.5", "13.2", "19", "50", "4.00× faster", "2.00 MB"),
    ]


def test_what_is_missing_is_said_and_not_invented() -> None:
    _, unavailable, failed = rows(render(report()))
    assert unavailable[3:] == [
        "– unavailable tensorrt is not installed",
        *("not measured", "not measured", "not measured"),
    ]
    assert failed[4:8] == ["not measured", "not measured", "not measured", "✕ exceeded"]
    for section in ("bands", "latency"):
        part = render(report()).split(f'<h2 id="{section}">')[1].split("<section")[0]
        assert 'tensorrt fp16 256×192: <span class="none">not measured</span>' in part


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
    ((*_, max_abs, psnr, ssim, budget, _latency, _size),) = rows(render({"artifacts": [{"parity": parity}]}))
    assert (max_abs, psnr, ssim, budget) == ("NaN", "∞", "1.000000", "not measured")


@pytest.mark.parametrize("bad", [[], "x", {}, {"artifacts": {}}, {"artifacts": [1]}])
def test_what_is_no_report_is_refused(bad: Any) -> None:
    with pytest.raises(BadInputError, match="not a report"):
        render(bad)


def hostile(value: Any) -> Any:
    """The same report with every string, keys of free tables included, replaced by an attack."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()} | {_HOSTILE: _HOSTILE}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return _HOSTILE if isinstance(value, str) else value


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    pictures = Pictures(sample_photo(), {_HOSTILE: sample_photo(), "gone": tmp_path / "<b>gone.png"})
    clean, attacked = render(report(), pictures=pictures), render(hostile(report()), pictures=pictures)
    attacked.encode("utf-8")
    page = Page(attacked)
    assert "alert(1)" in page.text
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert page.inline == Page(clean).inline
    assert not {"onerror", "onclick", "style"} & {name for _, attrs in page.elements for name in attrs}
    assert not page.all("b")
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
    assert [image.size for image in images] == [(900, 300)] * 3
    assert "After: onnx fp32 256×192, tensorrt fp16 256×192" in page.text
    assert "Shown 900 pixels wide, 1800 in the photo" in page.text
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
    assert "No photo was deblurred" in Page(render(report())).text


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
    assert "onnx fp32 256×192, openvino fp16 256×192" in part
    assert "2: fft_rfft2, fft_rfft2_1" in part and "separable 141" in part


def test_what_the_audit_found_stands_beside_the_plan() -> None:
    data = report()
    assert "Error bound" not in Page(render(data)).text
    site = {"site": "fft_rfft2", "multiply_adds": 123456, "error_bound": 2.5e-6}
    data["artifacts"][0]["audit"] = {"sites": [site], "native_sites": 0, "operators": {"aten.mm": 7}}
    text = Page(render(data)).text
    for expected in ("123,456", "2.5e-06", "native_sites", "operators.aten.mm"):
        assert expected in text


def test_commands_are_recorded_or_quoted() -> None:
    data = report()
    data["artifacts"][1]["target"] = "a; rm -rf ~"
    text = Page(render(data)).text
    assert "fdikp-edge deploy --model tiny --target onnx" in text
    assert "--target 'a; rm -rf ~' --precision fp16 --size 256x192" in text


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


def test_all_samples_are_in_the_histogram() -> None:
    samples = [10.0] * 97 + [11.0, 12.0, 500.0]
    chart = charts.latency(samples, [("p50", 10.0)])
    assert chart is not None and chart.logarithmic
    counts = [int(bar.text.split()[0]) for bar in chart.bars]
    assert sum(counts) == 100 and chart.bars[-1].x > charts.RIGHT - 60
    heights = {round(bar.height / count, 6) for bar, count in zip(chart.bars, counts, strict=True)}
    assert len(heights) == 1, "the height of a bar is not proportional to its count"


def test_bars_of_bands_are_comparable() -> None:
    axis = charts.decibel_axis([-131.0, -98.0])
    assert axis == (-160, 0)
    loud, soft, none = charts.bands([(0, 0.5, -98.0), (0.5, 1, -131.0), (1, 1.4, float("-inf"))], axis).bars
    assert loud.height == pytest.approx(soft.height * (160 - 98) / (160 - 131))
    assert none.height == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (0.01234, "0.0123"), (1234.5, "1234"), (1e-7, "1.00e-07"), (50.0, "50")],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert charts.short(value) == text


def test_without_jinja2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ReportUnavailableError, match=r'pip install "fdikp-edge\[report\]"') as caught:
        render(report())
    assert isinstance(caught.value, FdikpEdgeError)


def test_importing_the_report_loads_nothing_heavy() -> None:
    program = (
        "import sys, fdikp_edge.benchmarks.report_html as r;"
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
    layer = {"module": _HOSTILE, "node": "conv2d", "psnr_db": 60.0, "float_ms": 2.0, "int8_ms": 1.0}
    mixture = {"summary": _HOSTILE, "points": points, "chosen": 1, "ranking": [layer]}
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
