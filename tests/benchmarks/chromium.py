"""A real headless browser for tests: Chromium, driven through its DevTools protocol over two pipes.

No package is needed for that: messages are JSON, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-extensions", "--disable-sync", "--mute-audio", "--remote-debugging-pipe"),
)
PATIENCE = 60.0
"""Seconds to wait for an answer, on a machine that is busy with other things."""


def find_browser() -> str | None:
    """Return the program, or ``None`` where none is installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. ``events`` holds whatever the browser told by itself since the page was opened."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._numbers = itertools.count(1)
        self._rest = b""
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda message: message.get("id") == number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path, *, width: int = 1280, height: int = 800, scripts: bool = True) -> None:
        """Open a file and wait until it is there."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.media()
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def media(self, kind: str = "", scheme: str = "light") -> None:
        """Show the page as on ``print``, or in the ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move (``Moved``), press or release the left button at a point of the window."""
        self.call(
            "Input.dispatchMouseEvent",
            type=f"mouse{kind}", x=x, y=y, button="left", buttons=int(kind != "Released"), clickCount=1,
        )  # fmt: skip

    def key(self, name: str) -> None:
        """Press and release a key that has no letter."""
        code = {"ArrowLeft": 37, "ArrowRight": 39, "Tab": 9}[name]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def picture(self, box: dict[str, float] | None = None) -> bytes:
        """Return a screenshot of the whole page, or of a box of it, as a PNG."""
        clip = {} if box is None else {"clip": {**box, "scale": 1}}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, **clip)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def complaints(self) -> list[str]:
        """Return every error, warning and dialog the page caused."""
        complaints = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                complaints.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                complaints.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                complaints.append(params["entry"]["text"])
            elif event["method"] == "Page.javascriptDialogOpening":
                complaints.append(f"a dialog: {params['message']}")
        return complaints

    def requests(self) -> list[str]:
        """Return every address the page asked for."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self._rest:
                text, _, self._rest = self._rest.partition(b"\0")
                message = json.loads(text)
                if "method" in message:
                    self.events.append(message)
                if message.get("method") == "Page.javascriptDialogOpening":
                    answer = {"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                    os.write(self._send, json.dumps({**answer, "sessionId": self.session}).encode() + b"\0")
                if wanted(message):
                    return message
            if not select.select([self._receive], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE:.0f} s")
            part = os.read(self._receive, 1 << 16)
            if not part:
                raise RuntimeError("the browser ended")
            self._rest += part


@contextlib.contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it and all it started."""
    theirs, tell = os.pipe()
    listen, their_answer = os.pipe()
    # The browser reads from descriptor 3 and writes to 4; from 10 on they are in nobody's way until then.
    hear, speak = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, their_answer))
    os.close(theirs)
    os.close(their_answer)
    shell = f'exec "$0" "$@" 3<&{hear} 4>&{speak} {hear}<&- {speak}>&-'
    words = [program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    with (profile / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", shell, *words],
            pass_fds=(hear, speak),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.close(hear)
    os.close(speak)
    try:
        tab = Browser(tell, listen)
        yield tab
        tab.session = None
        with contextlib.suppress(RuntimeError, TimeoutError, OSError):
            tab.call("Browser.close")
    finally:
        os.close(tell)
        os.close(listen)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
