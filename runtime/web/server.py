"""A server for one artifact on this machine alone, with the headers that a browser asks for.

Nothing is looked up by what a request says: a path is a key among the files that the passport lists, and what
is sent was hashed again. Only requests for a name of the loopback are answered, so that no page of another
site can read the artifact by pointing its own name here.
"""

from __future__ import annotations

import contextlib
import http
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError
from ..fields import PASSPORT_NAME
from ..outside.files import read_bounded
from ..passport import MAX_PASSPORT_BYTES

PAGE = "index.html"
"""What a browser opens; an artifact without it has no page to serve."""
LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost", "[::1]")

HEADERS: Mapping[str, str] = {
    # Threads of WebAssembly share memory, which browsers allow in isolated pages alone.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "connect-src 'self'; img-src 'self' blob: data:; style-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Sent with every answer. They also bind the workers, which the policy in the page itself does not."""

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".jpg": "image/jpeg",
    ".txt": "text/plain; charset=utf-8",
}


class ArtifactServer:
    """Serves an opened artifact on the loopback while the ``with`` block runs."""

    def __init__(self, artifact: Artifact, port: int = 0) -> None:
        """Listen on ``port``; on any that is free for 0.

        Raises:
            BadInputError: the artifact has no page, or the port is taken.
        """
        if PAGE not in artifact.passport.files:
            raise BadInputError(
                f"{artifact.path}: is for the target {artifact.passport.target} and holds no page; build one "
                "with --target web"
            )
        handler = type("Handler", (_Handler,), {"artifact": artifact})
        try:
            self._server = _Server((LOOPBACK, port), handler)
        except (OSError, OverflowError) as error:
            raise BadInputError(f"port {port}: cannot be listened on: {error}") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="artifact-server", daemon=True
        )

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self.port}/"

    def __enter__(self) -> ArtifactServer:
        """Answer requests from now on."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and free the port."""
        self.close()

    def wait(self) -> None:
        """Serve until the process is told to end."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def close(self) -> None:
        """Stop, and free the port; twice is fine."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing where a connection broke; a browser breaks them off at will."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    artifact: Artifact
    protocol_version = "HTTP/1.1"
    server_version = "fdikp-edge"
    sys_version = ""
    timeout = 60
    # What a request says does not come back as a page.
    error_content_type = TYPES[".txt"]
    error_message_format = "%(code)d %(explain)s\n"

    def do_GET(self) -> None:
        """Answer with a listed file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with what a GET would say of the file."""
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body is not read, and must not be taken for the next request
        status, kind, data = self._content()
        with contextlib.suppress(ConnectionError, TimeoutError):  # whoever asked has left
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if with_body:
                self.wfile.write(data)

    def _content(self) -> tuple[http.HTTPStatus, str, bytes]:
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in HOSTS:
            return _refusal(http.HTTPStatus.MISDIRECTED_REQUEST, "This server answers to 127.0.0.1 alone.")
        site, mode = (self.headers.get(f"Sec-Fetch-{key}", "") for key in ("Site", "Mode"))
        if site in ("cross-site", "same-site") and mode != "navigate":  # a link to the page is fine
            return _refusal(http.HTTPStatus.FORBIDDEN, "Other sites get nothing.")
        try:
            name = unquote(urlsplit(self.path).path).removeprefix("/") or PAGE
        except ValueError:  # brackets that are no IPv6 address
            return _refusal(http.HTTPStatus.BAD_REQUEST, "This is no address.")
        try:
            if name == PASSPORT_NAME:  # measured figures are added to it while it is served
                data = read_bounded(
                    self.artifact.path / name, MAX_PASSPORT_BYTES, ArtifactError, follow_links=False
                )
            elif name in self.artifact.passport.files:
                data = self.artifact.read(name)
            else:
                return _refusal(http.HTTPStatus.NOT_FOUND, "The artifact holds no such file.")
        except ArtifactError as error:
            return _refusal(http.HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        suffix = name[name.rfind(".") :] if "." in name else ""
        return http.HTTPStatus.OK, TYPES.get(suffix, "application/octet-stream"), data

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: requests are no news."""


def _refusal(status: http.HTTPStatus, why: str) -> tuple[http.HTTPStatus, str, bytes]:
    return status, TYPES[".txt"], f"{why}\n".encode()
