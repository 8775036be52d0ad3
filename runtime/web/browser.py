"""The Chromium that runs ``web`` artifacts on this machine, through Playwright."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ..errors import BadInputError, TargetUnavailableError

VARIABLE = "FDIKP_EDGE_BROWSER"
"""Environment variable that names the browser's program."""
SECONDS = "FDIKP_EDGE_BROWSER_SECONDS"
"""Environment variable for the time that the page may take to load a model, and for each run of it."""
DEFAULT_SECONDS = 600
MOST_SECONDS = 86_400
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
"""Where browsers lie that are not on the search path."""
INSTALL = "playwright install chromium"
SOFTWARE = ("--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader")
LOCAL = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)
"""No address but this machine's own exists for the browser, whatever an artifact's scripts ask for."""
WEBGPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")


def browser_problem() -> str | None:
    """Say why no browser can be started here, or ``None``."""
    named = os.environ.get(VARIABLE)
    if named and shutil.which(named) is None:
        return f"{VARIABLE} names {named!r}, which is not a program"
    if find_browser() is None and not _has_own_browser():
        return f"no Chromium or Chrome was found; install one, or run: {INSTALL}"
    return None


def patience() -> int:
    """Return how many seconds the page may take for one answer.

    Raises:
        BadInputError: the environment variable holds something else than whole seconds up to a day.
    """
    text = os.environ.get(SECONDS) or str(DEFAULT_SECONDS)
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MOST_SECONDS):
        raise BadInputError(f"{SECONDS}: expected whole seconds from 1 to {MOST_SECONDS}, got {text[:40]!r}")
    return int(text)


def find_browser() -> str | None:
    """Return the program of an installed browser; ``None`` leaves the choice to Playwright."""
    if named := os.environ.get(VARIABLE):
        return shutil.which(named)
    installed = (shutil.which(name) for name in (*NAMES, *PLACES))
    return next((program for program in installed if program), None)


def _has_own_browser() -> bool:
    """Whether Playwright has downloaded a browser of its own."""
    roots = [Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")]
    roots += [Path.home() / "Library/Caches/ms-playwright", Path.home() / "AppData/Local/ms-playwright"]
    return any(next(root.glob("chromium*"), None) is not None for root in roots if root.is_dir())


def launch(playwright: Any, *, webgpu: bool = False, software: bool = False) -> Any:
    """Start a headless browser.

    Args:
        playwright: an opened ``sync_playwright``.
        webgpu: offer WebGPU, which headless browsers on Linux do not without being asked.
        software: with a software adapter, where there is no graphics processor.

    Raises:
        TargetUnavailableError: none is installed, or it does not start.
    """
    options = [*LOCAL, *(WEBGPU if webgpu else ()), *(SOFTWARE if webgpu and software else ())]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium's sandbox refuses root; only files of the artifact are run
    try:
        return playwright.chromium.launch(
            executable_path=find_browser(), args=options, headless=True, handle_sigint=False
        )
    except Exception as error:  # its errors share no public base class with the driver's own
        line = str(error).strip().splitlines()[0]
        raise TargetUnavailableError(f"target web: the browser does not start: {line:.300}") from error
