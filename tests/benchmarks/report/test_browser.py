"""The report in a real browser: nothing complained of, nothing fetched, and it can be used on any screen."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser, browser, find_browser
from fdikp_edge.benchmarks.accuracy import error_map
from fdikp_edge.benchmarks.report.html import Pictures, render
from fdikp_edge.runtime.samples import sample_photo
from PIL import Image
from report_data import hostile, joined, report

pytest.importorskip("jinja2", reason="the report needs jinja2")

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium or Chrome is installed here")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """A black photo that two artifacts made white and grey, and a map of the error for each."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, level in (("before", 0), ("white", 255), ("grey", 128)):
        Image.new("RGB", (600, 400), (level,) * 3).save(folder / f"{name}.png")
    error_map.write_map(np.geomspace(1e-9, 1, 300 * 200).reshape(200, 300), folder / "map.png")
    return Pictures(
        folder / "before.png",
        {0: folder / "white.png", 2: folder / "grey.png"},
        {i: (folder / "map.png", sample_photo("chelsea")) for i in (0, 2)},
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> dict[str, Path]:
    """The report; the same with an attack for every string; several machines; and nothing in it at all."""
    one = report()
    reports = {
        "report": one,
        "attack": hostile(one),
        "joined": joined("NVIDIA Jetson Orin NX 16GB", "AMD EPYC 9654 96-Core", "M3"),
        "empty": {"artifacts": []},
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, data in reports.items():
        html = render(data, pictures=None if name == "empty" else pictures)
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    other = folder / "other.png"  # two devices on two photos, the second of them white
    Image.new("RGB", (600, 400), (255,) * 3).save(other)
    devices = [
        Pictures(pictures.before, {0: pictures.after[0]}, {0: pictures.errors[0]}, "black.png"),
        Pictures(other, {1: pictures.after[2]}, {1: pictures.errors[2]}, "white.png", ["B: no picture x"]),
    ]
    merged = render(joined("A", "B"), pictures=devices)
    (folder / "merged.html").write_text(merged, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in (*reports, "merged")}


def look(tab: Browser, selector: str) -> np.ndarray[Any, Any]:
    """Return the brightness of an element's pixels as the browser draws it, height x width."""
    box = tab.ask(
        f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
        " return {x: b.left + scrollX, y: b.top + scrollY, width: b.width, height: b.height}; })()"
    )
    with Image.open(io.BytesIO(tab.picture(box))) as shot:
        return np.asarray(shot.convert("L"))


def split(pixels: np.ndarray[Any, Any]) -> float:
    """Where, from 0 to 1, a picture turns from the black photo to the white result, in its upper third."""
    line = pixels[pixels.shape[0] // 3]
    return float((line < 64).mean())


@pytest.mark.parametrize(
    ("name", "width"),
    [
        *(("report", width) for width in (390, 768, 1101, 1280)),
        *(("attack", width) for width in (390, 1280)),
        *(("joined", width) for width in (390, 1101)),
        *(("merged", width) for width in (390, 1280)),
        ("empty", 390),
    ],
)
def test_a_page_is_quiet_alone_and_fits(tab: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    tab.open(pages[name], width=width)
    assert tab.ask("document.documentElement.scrollWidth") <= width, "it can be scrolled sideways"
    outside = tab.ask(
        "[...document.querySelectorAll('main *, header *')]"
        ".filter((e) => !e.closest('.scroll, svg, .summary thead') &&"
        f" e.getBoundingClientRect().right > {width} + 0.5).map((e) => e.tagName + '.' + e.className)"
    )
    assert outside == []
    if name != "attack":
        tallest = "Math.max(0, ...[...document.querySelectorAll('.badge')].map((b) => b.offsetHeight))"
        assert tab.ask(tallest) < 30, "a state is broken into pieces"
    assert tab.complaints() == []
    fetched = [address for address in tab.requests() if not address.startswith("data:image/")]
    assert fetched == [pages[name].as_uri()]


def test_the_verdict_and_the_photos_are_what_one_sees_first(tab: Browser, pages: dict[str, Path]) -> None:
    for width, height in ((390, 844), (1280, 800)):
        tab.open(pages["report"], width=width, height=height)
        bottom = tab.ask("document.querySelector('.verdict').getBoundingClientRect().bottom")
        assert bottom < height / 2
    assert tab.ask("document.querySelector('.stage').getBoundingClientRect().top") < 800
    top = "document.querySelector({!r}).getBoundingClientRect().top"
    assert tab.ask(top.format(".stage")) < tab.ask(top.format("table"))


def test_photos_have_the_width_of_the_page_and_their_own_at_one_to_one(
    tab: Browser, pages: dict[str, Path]
) -> None:
    width = "Math.round(document.querySelector('.stage .before img').getBoundingClientRect().width)"
    press = "document.querySelector('.zoom').click()"
    for screen, page in ((1280, 1112), (390, 362)):
        tab.open(pages["report"], width=screen)
        assert tab.ask(width) == page
        tab.ask(press)
        assert tab.ask(width) == 600
        assert tab.ask("document.documentElement.scrollWidth") <= screen
        assert tab.ask("document.querySelector('.zoom').getAttribute('aria-pressed')") == "true"
        tab.ask(press)
        assert tab.ask(width) == page


def test_a_photo_larger_than_the_page_shows_its_middle_at_one_to_one(tab: Browser, tmp_path: Path) -> None:
    pixels = np.zeros((1000, 2400, 3), np.uint8)
    pixels[::2] = 255  # stripes of one pixel, which no reduced picture has
    Image.fromarray(pixels).save(tmp_path / "large.png")
    page = tmp_path / "page.html"
    large = tmp_path / "large.png"
    page.write_text(render(report(), pictures=Pictures(large, {0: large})), encoding="utf-8")
    tab.open(page)
    tab.ask("document.querySelector('.zoom').click()")
    tab.ask("document.querySelector('.before img').decode()")
    seen = look(tab, ".stage")[200:300, 700:800]
    assert abs(seen[::2].mean() - seen[1::2].mean()) > 200


def test_labels_of_the_scale_stand_free(tab: Browser, tmp_path: Path, pictures: Pictures) -> None:
    for budgets in ((2e-5,), (2e-5, 2e-2), (2e-2, 2e-1), (2e-5, 2e-2, 2e-1)):
        data = report()
        data["artifacts"] = [
            {
                **data["artifacts"][0],
                "precision": f"p{i}",
                "parity": {"max_abs": 1e-7, "budget": {"max_abs": most}},
            }
            for i, most in enumerate(budgets)
        ]
        page = tmp_path / "page.html"
        page.write_text(render(data, pictures=pictures), encoding="utf-8")
        for width in (390, 1280):
            tab.open(page, width=width)
            assert tab.ask(_CROSSINGS) == [], (budgets, width)


_CROSSINGS = """(() => {
  const box = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; };
  const names = [...document.querySelectorAll(".scale .said")];
  const lines = [...document.querySelectorAll(".scale .mark")];
  const page = document.querySelector(".scale").getBoundingClientRect();
  const cross = (a, b) => a[0] < b[1] && b[0] < a[1] && a[2] + 3 < b[3] && b[2] + 3 < a[3];
  return names.flatMap((name, i) => [
    ...lines.filter((line, j) => j !== i && cross(box(name), box(line))).map(() => name.textContent),
    ...names.filter((other, j) => j > i && cross(box(name), box(other))).map(() => name.textContent),
    ...(box(name)[1] > page.right + 1 || box(name)[0] < page.left - 1 ? ["outside"] : []),
  ]);
})()"""


def test_the_slider_follows_its_range_a_key_and_a_finger(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["report"])
    clip = "getComputedStyle(document.querySelector('.before')).clipPath"
    start = tab.ask(clip)
    assert split(look(tab, ".stage")) == pytest.approx(0.5, abs=0.02)

    tab.ask("(() => { const r = document.querySelector('#divider'); r.value = 20;"
            " r.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip
    assert tab.ask(clip) != start
    assert split(look(tab, ".stage")) == pytest.approx(0.2, abs=0.02)

    tab.ask("document.querySelector('#divider').focus()")
    for _ in range(5):
        tab.key("ArrowRight")
    assert split(look(tab, ".stage")) == pytest.approx(0.25, abs=0.02)
    assert "25 percent" in tab.ask("document.querySelector('#divider').getAttribute('aria-valuetext')")

    tab.ask("document.querySelector('.stage').scrollIntoView()")
    left, top, width = tab.ask("(({left, top, width}) => [left, top, width])"
                               "(document.querySelector('.stage').getBoundingClientRect())")  # fmt: skip
    tab.mouse("Pressed", left + 0.3 * width, top + 40)
    tab.mouse("Moved", left + 0.8 * width, top + 60)
    tab.mouse("Released", left + 0.8 * width, top + 60)
    assert split(look(tab, ".stage")) == pytest.approx(0.8, abs=0.02)
    tab.mouse("Moved", left + 0.1 * width, top + 60)
    assert split(look(tab, ".stage")) == pytest.approx(0.8, abs=0.02), "nobody holds it any more"


def test_each_photo_of_a_merged_report_has_a_slider_of_its_own(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["merged"])
    assert tab.ask("document.querySelectorAll('.stage.live').length") == 2
    tab.ask("(() => { const r = document.querySelectorAll('.divider')[1]; r.value = 80;"
            " r.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip
    first, second = (look(tab, f".viewer:nth-of-type({n}) .stage") for n in (1, 2))
    assert split(first) == pytest.approx(0.5, abs=0.02), "it stays where it was"
    line = second[second.shape[0] // 3]
    assert float((line > 200).mean()) == pytest.approx(0.8, abs=0.02), "white before, grey after"
    text = tab.ask("document.querySelector('#pictures').parentElement.innerText")
    assert "Photo: black.png" in text and "Photo: white.png" in text and "B: no picture x" in text
    maps = tab.ask("[...document.querySelectorAll('.map')].map((m) => m.complete && m.naturalWidth > 0)")
    assert maps == [True, True]
    assert tab.complaints() == []


def test_choosing_an_artifact_shows_its_picture(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["report"])
    tab.ask("(() => { document.querySelector('#divider').value = 0;"
            " document.querySelector('#divider').dispatchEvent(new Event('input')); })()")  # fmt: skip
    for index, level in ((1, 128), (0, 255)):
        tab.ask(f"(() => {{ const c = document.querySelector('#choice'); c.selectedIndex = {index};"
                " c.dispatchEvent(new Event('change')); })()")  # fmt: skip
        pixels = look(tab, ".stage")
        assert abs(int(pixels[pixels.shape[0] // 3, pixels.shape[1] // 2]) - level) < 4


def test_without_scripts_both_pictures_are_there(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["report"], scripts=False)
    text = tab.call("DOM.getDocument", depth=-1)  # scripts are off, so the page cannot be asked
    shown = tab.call("DOM.getOuterHTML", nodeId=text["root"]["nodeId"])["outerHTML"]
    assert 'class="stage live"' not in shown and 'class="controls" hidden' in shown
    assert tab.complaints() == []


def test_the_map_is_drawn_in_the_colours_of_its_scale(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["report"])
    pixels = look(tab, ".map")
    assert pixels.shape[0] > 100
    cells = tab.ask("[...document.querySelectorAll('.scale rect')].map((r) => r.getAttribute('fill'))")
    assert cells == ["#{:02x}{:02x}{:02x}".format(*colour) for colour in error_map.palette()]


def test_paper_shows_all_that_is_folded_and_nothing_to_press(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["report"], scripts=False)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    tab.media("print")
    assert tab.ask("document.querySelectorAll('details:not([open])').length") > 0
    for folded in ("details .hash", "details code"):
        assert look(tab, folded).min() < 128, "no ink, where no script unfolds it"
    pressed = "[...document.querySelectorAll('button, input, select')].filter((e) => e.checkVisibility())"
    assert tab.ask(f"{pressed}.length") == 0
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page[^s]", pdf)) <= 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(tab: Browser, pages: dict[str, Path], scheme: str) -> None:
    """Contrast of at least 4.5, as WCAG 2.2 asks of text (success criterion 1.4.3)."""
    tab.open(pages["report"])
    tab.media(scheme=scheme)
    faint = tab.ask(
        """(() => {
        const light = (c) => [0, 1, 2].map((i) => c[i] / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
        const read = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
        const behind = (e) => {
            for (; e; e = e.parentElement) {
                const c = read(getComputedStyle(e).backgroundColor);
                if (c.length < 4 || c[3] > 0.5) return c;
            }
            return [255, 255, 255];
        };
        return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() &&
            !e.closest('.stage, svg, option') &&
            [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
            .map((e) => [e, light(read(getComputedStyle(e).color)), light(behind(e))])
            .filter(([, a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5)
            .map(([e]) => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`);
        })()"""
    )
    assert faint == []
