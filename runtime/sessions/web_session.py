"""The ``web`` target: the artifact's own page in a headless Chromium, through Playwright.

What runs here is what a visitor runs: the same server, the same worker, the same runtime. The page's time is
the page's own: copies between this process and the browser do not count.
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from .. import strict_json
from ..artifact import Artifact
from ..errors import ArtifactError, FdikpEdgeError, RunError, TargetUnavailableError
from ..photo import Array
from ..tensors import TensorContract
from ..web.browser import SECONDS, launch, patience
from ..web.server import ArtifactServer
from .base import (
    Arrays,
    Milliseconds,
    Port,
    Session,
    check_ports,
    check_suffix,
    import_runtime,
    reason,
    refused,
)

SETTINGS = "settings.json"
MAX_SETTINGS_BYTES = 64 * 1024
PATIENCE_MS = 600_000
"""A browser that does not show a page for so long has hung."""
TOO_LONG = "no answer within"

_Result = TypeVar("_Result")

PROVIDERS = ("auto", "wasm", "webgpu")

_HAS_ADAPTER = "async () => Boolean(await navigator.gpu?.requestAdapter())"

_OPEN = """async ({provider, threads, seconds}) => {
  const { Engine } = await import("./engine.js");
  globalThis.engine = new Engine();
  globalThis.ask = (what, details, seconds) => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), 1000 * seconds);
    globalThis.engine.ask(what, details).then(resolve, reject).finally(() => clearTimeout(late));
  });
  return await globalThis.ask("open", { provider, threads }, seconds);
}"""

_RUN = """async ({encoded, seconds}) => {
  const arrays = {};
  for (const [name, text] of Object.entries(encoded)) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    arrays[name] = bytes.buffer;
  }
  const { arrays: given, ms } = await globalThis.ask("run", { arrays }, seconds);
  const results = {};
  for (const [name, buffer] of Object.entries(given)) {
    results[name] = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.readAsDataURL(new Blob([buffer]));
    });
  }
  return { results, ms };
}"""


class WebSession(Session):
    """``model.onnx`` on ONNX Runtime Web, with the provider that the artifact names.

    Playwright serves only the thread that opened it, and a photo is run from several: everything of it stays
    in one thread of its own.
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Serve the artifact, start the browser, open the page and let it load the model.

        Raises:
            TargetUnavailableError: Playwright or a browser is missing, or the browser has no WebGPU and the
                artifact asks for it.
            ArtifactError: the page refuses the model, or it is not what the passport says.
        """
        super().__init__(artifact, threads)
        self._api: Any = import_runtime(
            "playwright.sync_api", "web", 'pip install "fdikp-edge[web]"'
        ).sync_playwright
        check_suffix(artifact, ".onnx")
        self._provider = _provider(artifact)
        self._seconds = patience()
        self._server = ArtifactServer(artifact)
        self._thread = ThreadPoolExecutor(1, "browser")
        self._playwright: Any = None
        self._browser: Any = None
        self._page: Any = None
        self.milliseconds = 0.0
        """Of the last run, by the page's clock."""
        try:
            self._server.__enter__()
            self._facts = self._in_thread(self._open)
            check_ports(artifact, self._facts["inputs"], self._facts["outputs"])
        except BaseException:
            self.close()
            raise
        if self._facts["software"]:
            self.caveat = f"software adapter of WebGPU ({self._facts['adapter']}), correctness only"

    def _open(self) -> dict[str, Any]:
        self._playwright = self._api().start()
        webgpu = self._provider != "wasm"
        self._start(webgpu, software=False)
        if self._provider == "webgpu" and not self._page.evaluate(_HAS_ADAPTER):
            self._browser.close()
            self._start(webgpu, software=True)
        try:
            facts: dict[str, Any] = self._page.evaluate(
                _OPEN, {"provider": self._provider, "threads": self.threads, "seconds": self._seconds}
            )
        except Exception as error:  # Playwright's errors, with the page's own message in them
            message = reason(RuntimeError(_message(error)))
            if TOO_LONG in message:
                raise RunError(
                    f"{self.artifact.path}: the page did not load the model: {_late(message)}"
                ) from error
            if "WebGPU" in message:
                raise TargetUnavailableError(f"target web: {message}") from error
            raise refused(self.artifact, "ONNX Runtime Web", RuntimeError(message)) from error
        facts = _checked(self.artifact, facts)
        facts["browser"] = f"{self._browser.browser_type.name.capitalize()} {self._browser.version}"
        return facts

    def _start(self, webgpu: bool, *, software: bool) -> None:
        self._browser = launch(self._playwright, webgpu=webgpu, software=software)
        self._page = self._browser.new_page()
        self._page.set_default_timeout(PATIENCE_MS)
        self._page.goto(self._server.url)

    def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return self._thread.submit(work).result()

    def _run(self, arrays: Arrays) -> Arrays:
        encoded = {name: base64.b64encode(x.tobytes()).decode() for name, x in arrays.items()}
        asked = {"encoded": encoded, "seconds": self._seconds}
        try:
            answer = self._in_thread(lambda: self._page.evaluate(_RUN, asked))
        except FdikpEdgeError:
            raise
        except Exception as error:
            raise RunError(f"{self.artifact.path}: the page failed: {_late(_message(error))}") from error
        try:
            self.milliseconds = float(answer["ms"])
            if not 0 <= self.milliseconds < math.inf:
                raise ValueError(f"{self.milliseconds} ms")
            return {end.name: _array(answer["results"][end.name], end) for end in self.outputs}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RunError(
                f"{self.artifact.path}: the page gave no result as the passport says: {reason(error)}"
            ) from error

    def timed(self, x: Array | Mapping[str, Array]) -> Milliseconds:
        """Run once and return the time of the run in the page."""
        self.run(x)
        return Milliseconds(self.milliseconds)

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        facts = self._facts
        where = f"WebGPU, {facts['adapter']}" if facts["provider"] == "webgpu" else "WebAssembly"
        where += ", some operators on the processor" if facts["mixed"] else ""
        half = facts["provider"] == "webgpu" and self.artifact.passport.precision == "fp16"
        return {
            "runtime": "ONNX Runtime Web",
            "version": str(facts["version"]),
            "device": f"{where}, in {self._facts['browser']}",
            "threads": int(facts["threads"]),
            "arithmetic": self._arithmetic("float16 and float32" if half else "float32"),
        }

    def close(self) -> None:
        """End the browser and the server."""
        with contextlib.suppress(RuntimeError):  # it was closed before
            self._in_thread(self._close_browser)
        self._thread.shutdown()
        self._server.close()

    def _close_browser(self) -> None:
        """End both, also where one of them has ended by itself, as after Ctrl-C in a terminal."""
        for end in (self._browser and self._browser.close, self._playwright and self._playwright.stop):
            if end is not None:
                with contextlib.suppress(Exception):
                    end()
        self._page = self._browser = self._playwright = None


def _provider(artifact: Artifact) -> str:
    """Return what the artifact asks for: ``auto``, ``wasm`` or ``webgpu``.

    Raises:
        ArtifactError: the file that says so is missing or is something else.
    """
    try:
        settings = strict_json.parse(artifact.read(SETTINGS, MAX_SETTINGS_BYTES))
    except ValueError as error:
        raise ArtifactError(f"{artifact.path}: {SETTINGS}: {error}. Export the artifact again") from error
    provider = settings.get("provider") if isinstance(settings, dict) else None
    if provider not in PROVIDERS:
        raise ArtifactError(
            f"{artifact.path}: {SETTINGS}: provider: expected one of {', '.join(PROVIDERS)}. Export the "
            "artifact again"
        )
    return str(provider)


_FACTS = {
    **{"provider": str, "adapter": str, "software": bool, "mixed": bool, "threads": int},
    **{"version": str, "inputs": list, "outputs": list},
}
"""What the page says when it has loaded the model."""


def _checked(artifact: Artifact, facts: Any) -> dict[str, Any]:
    """Return what the page says of itself, with its ports as :data:`.base.Port`.

    Raises:
        ArtifactError: it is another page than the one that was built, whatever its hash.
    """
    try:
        wrong = [name for name, kind in _FACTS.items() if not isinstance(facts[name], kind)]
        if wrong:
            raise TypeError(", ".join(wrong))
        return {
            **{name: facts[name] for name in _FACTS},
            **{key: [_port(port) for port in facts[key]] for key in ("inputs", "outputs")},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{artifact.path}: its page does not answer as a page of fdikp-edge does ({reason(error)}). "
            "Export the artifact again"
        ) from error


def _port(port: Any) -> Port:
    return str(port["name"]), list(port["shape"]), str(port["type"])


def _array(text: Any, contract: TensorContract) -> Array:
    """Return the array of a result; raises ``ValueError`` or ``TypeError`` if it is not the contract's."""
    size = math.prod(contract.shape) * np.dtype(contract.dtype).itemsize
    if len(text) != 4 * math.ceil(size / 3):
        raise ValueError(f"{contract.name}: {len(text) * 3 // 4} bytes, not {size}")
    data = base64.b64decode(text, validate=True)
    array: Array = np.frombuffer(data, contract.dtype).reshape(contract.shape).copy()
    return array


def _late(message: str) -> str:
    """Add to a message about the limit how it is raised."""
    return f"{message}; {SECONDS} sets another limit" if TOO_LONG in message else message


def _message(error: Exception) -> str:
    """Return what the page threw, without the stack that Playwright puts behind it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("Page.evaluate: ").removeprefix("Error: ")
