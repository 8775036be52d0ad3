"""The page in a real browser, used as a visitor does: a photo in, the same result as Python's out."""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.deblurrer import Deblurrer
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.sessions import open_session
from PIL import Image

PATIENCE = 120_000
"""Milliseconds, on a machine that is busy with other things."""


@pytest.fixture(scope="module")
def plain(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same network for ONNX Runtime in Python."""
    return build_artifact(lowered, "onnx", "fp32", tmp_path_factory.mktemp("plain") / "a")


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


_FINISHED = """() => {
  const status = document.getElementById("status").textContent;
  return /^(Done|Cancelled)/.test(status) || !document.getElementById("error").hidden;
}"""


def photo_file(folder: Path, pixels: np.ndarray, name: str = "photo.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def give(page: Any, file: Path) -> str:
    """Choose a photo and wait until the page has finished; return what it says."""
    page.set_input_files("#file", file)
    page.wait_for_function(_FINISHED, timeout=PATIENCE)
    return str(page.inner_text("#status") or page.inner_text("#error"))


def saved(page: Any) -> np.ndarray:
    with page.expect_download(timeout=PATIENCE) as download:
        page.click("#save")
    return np.array(Image.open(download.value.path()))


def expected(plain: Artifact, file: Path) -> np.ndarray:
    with open_session(plain, threads=1) as session:
        return Deblurrer(session).photo(read_photo(file)).pixels


@pytest.mark.parametrize(("height", "width"), [(2, 3), (24, 40), (70, 131)])
def test_a_photo_is_that_of_python_within_one_level(
    page: Any, plain: Artifact, tmp_path: Path, height: int, width: int
) -> None:
    file = photo_file(tmp_path, noise(height, width))
    assert give(page, file).startswith("Done")
    result = saved(page)
    assert result.shape == (height, width, 4)
    assert (result[..., 3] == 255).all()
    reference = expected(plain, file).astype(int)
    assert np.abs(result[..., :3] - reference).max() <= 1
    if min(height, width) > 20:
        assert np.abs(reference - read_photo(file).pixels).max() > 1, "the network changes something"


def test_transparency_and_grey_stay(page: Any, plain: Artifact, tmp_path: Path) -> None:
    grey = np.repeat(noise(30, 50, 1), 3, axis=2)
    file = photo_file(tmp_path, grey[..., 0], "grey.png")
    assert give(page, file).startswith("Done")
    result = saved(page)[..., :3].astype(int)
    assert (result == result[..., :1]).all()
    assert np.abs(result - expected(plain, file)).max() <= 1
    alpha = np.dstack([noise(30, 50), np.full((30, 50), 255, np.uint8)])
    alpha[:, :7, 3] = 0
    assert give(page, photo_file(tmp_path, alpha, "alpha.png")).startswith("Done")
    assert (saved(page)[..., 3] == alpha[..., 3]).all()


def test_what_the_page_says_of_a_run(page: Any, tmp_path: Path) -> None:
    give(page, photo_file(tmp_path, noise(24, 40)))
    facts = page.inner_text("#list")
    assert re.search(r"WebAssembly, \d+ threads?", facts)
    assert "ONNX Runtime Web 1.30.0" in facts
    assert re.search(r"[\d.]+ m?s \(median of 1\)", facts)
    assert "This browser has no WebGPU." in facts or "WebGPU has no adapter here." in facts


def test_bad_input_is_named_and_the_page_goes_on(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    for name, words in {
        "notes.txt": "notes.txt is not a picture",
        "empty.png": "empty.png is not a picture",
        "huge.png": "huge.png has 10000 x 10000 pixels. The page takes up to 64 megapixels",
        "dot.png": "dot.png has 1 x 1 pixels: too small",
    }.items():
        assert words in give(page, tmp_path / name)
    assert give(page, photo_file(tmp_path, noise(24, 40))).startswith("Done: 1 tile")


def test_a_run_can_be_cancelled_half_way_and_the_next_is_whole(
    page: Any, plain: Artifact, tmp_path: Path
) -> None:
    page.set_input_files("#file", photo_file(tmp_path, noise(900, 900)))
    page.wait_for_function("() => document.getElementById('progress').value > 3", timeout=PATIENCE)
    page.keyboard.press("Escape")
    page.wait_for_function(_FINISHED, timeout=PATIENCE)
    assert page.inner_text("#status").startswith("Cancelled")
    assert page.is_disabled("#save")
    file = photo_file(tmp_path, noise(40, 60), "next.png")
    assert give(page, file).startswith("Done")
    assert np.abs(saved(page)[..., :3].astype(int) - expected(plain, file)).max() <= 1


def test_the_divider_and_the_zoom_are_used_by_keyboard(page: Any, tmp_path: Path) -> None:
    give(page, photo_file(tmp_path, noise(24, 40)))
    page.focus("#slider")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    clip = "() => document.getElementById('after').style.clipPath"
    assert page.evaluate(clip) in ("inset(0px 0px 0px 60%)", "inset(0 0 0 60%)")
    page.focus("#zoom")
    page.keyboard.press("Enter")
    assert page.get_attribute("#zoom", "aria-pressed") == "true"
    assert page.evaluate("() => document.getElementById('before').getBoundingClientRect().width") == 40


def test_the_divider_follows_the_pointer_and_a_tap(page: Any, tmp_path: Path) -> None:
    give(page, photo_file(tmp_path, noise(60, 200)))
    box = page.locator("#stage").bounding_box()
    middle = box["y"] + box["height"] / 2

    def share() -> float:
        return float(page.evaluate("() => Number(document.getElementById('slider').value)"))

    page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    assert share() == 50, "no button is held"
    page.mouse.down()
    assert share() == pytest.approx(25, abs=1)
    page.mouse.move(box["x"] + 0.8 * box["width"], middle)
    assert share() == pytest.approx(80, abs=1)
    page.mouse.move(box["x"] + 3 * box["width"], middle + 500)
    assert share() == 100, "beyond the edge"
    page.mouse.up()


_DROP = """(text) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
}"""


def test_a_photo_can_be_dropped(page: Any, plain: Artifact, tmp_path: Path) -> None:
    file = photo_file(tmp_path, noise(24, 40))
    page.evaluate(_DROP, base64.b64encode(file.read_bytes()).decode())
    page.wait_for_function(_FINISHED, timeout=PATIENCE)
    assert page.inner_text("#status").startswith("Done: 1 tile")
    assert np.abs(saved(page)[..., :3].astype(int) - expected(plain, file)).max() <= 1


def test_while_it_runs_the_page_says_how_far_it_is_and_how_long_it_takes(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#file", photo_file(tmp_path, noise(900, 900)))
    page.wait_for_function("() => document.getElementById('progress').value > 3", timeout=PATIENCE)
    done, all_tiles = page.evaluate(
        "() => { const p = document.getElementById('progress'); return [p.value, p.max]; }"
    )
    assert 3 < done < all_tiles
    assert re.fullmatch(rf"\d+ of {all_tiles:.0f}, \d+ (s|min) left", page.inner_text("#left"))
    page.click("#cancel")
    page.wait_for_function(_FINISHED, timeout=PATIENCE)
    assert page.inner_text("#status").startswith("Cancelled")
    assert page.inner_text("#left") == ""


def test_the_page_asks_for_nothing_elsewhere(chromium: Any, address: str, tmp_path: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.click("#sample")
    page.wait_for_function("() => document.getElementById('progress').value > 0", timeout=PATIENCE)
    page.keyboard.press("Escape")
    page.wait_for_function(_FINISHED, timeout=PATIENCE)
    assert any(url.endswith("model.onnx") for url in asked)
    assert all(url.startswith((address, f"blob:{address}", "data:,")) for url in asked)
    refused = page.evaluate("() => fetch('https://example.com/').then(() => 'sent', () => 'refused')")
    context.close()
    assert refused == "refused"


def test_the_browser_of_a_session_knows_no_other_address(chromium: Any) -> None:
    page = chromium.new_page()
    for address in ("http://192.0.2.1/", "http://localhost:8123/", "https://example.com/"):
        with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
            page.goto(address, timeout=20_000)
    page.close()


@pytest.fixture
def any_server(built: Artifact, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A copy of the artifact on a plain static server, which sends no header of ours."""
    folder = tmp_path / "copy"
    shutil.copytree(built.path, folder)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", folder
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_without_isolation_it_runs_on_one_thread_and_says_why(
    page: Any, any_server: tuple[str, Path], tmp_path: Path
) -> None:
    page.goto(any_server[0])
    assert give(page, photo_file(tmp_path, noise(24, 40))).startswith("Done")
    facts = page.inner_text("#list")
    assert "WebAssembly, 1 thread" in facts
    if page.evaluate("() => navigator.hardwareConcurrency") > 1:
        assert "not cross-origin isolated" in facts


def test_an_altered_model_is_refused(page: Any, any_server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = any_server
    model = bytearray((folder / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "model.onnx").write_bytes(model)
    page.goto(address)
    assert "model.onnx was altered" in give(page, photo_file(tmp_path, noise(24, 40)))


def test_a_page_for_webgpu_alone_says_that_there_is_none(
    page: Any, any_server: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = any_server
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    (folder / "settings.json").write_text(json.dumps({**settings, "provider": "webgpu"}), encoding="utf-8")
    page.goto(address)
    assert "WebGPU was asked for, and this browser offers no adapter" in give(
        page, photo_file(tmp_path, noise(24, 40))
    )


def test_every_file_of_the_page_is_small_enough_to_read(built: Artifact) -> None:
    ours = [name for name in built.passport.files if name.endswith((".js", ".css", ".html"))]
    assert len(ours) == 7
    for name in ours:
        text = (built.path / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, name
        assert max(map(len, text.splitlines())) <= 260, name
