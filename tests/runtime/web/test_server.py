"""The local server: listed files with their headers, and nothing else, whatever a request says."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.web.server import HEADERS, ArtifactServer
from runtime_networks import passport

FILES = {"index.html": b"<p>page</p>", "page.js": b"1", "ort/a.wasm": b"\0asm", "model.onnx": b"model"}


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    with ArtifactWriter(tmp_path / "web") as writer:
        (writer.folder / "ort").mkdir()
        for name, data in FILES.items():
            (writer.folder / name).write_bytes(data)
        return writer.commit(passport())


@pytest.fixture
def server(artifact: Artifact) -> Iterator[ArtifactServer]:
    with ArtifactServer(artifact) as running:
        yield running


def ask(
    server: ArtifactServer, path: str, method: str = "GET", host: str = ""
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.port}")
    connection.endheaders()
    answer = connection.getresponse()
    result = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return result


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html?x=1", "index.html", "text/html; charset=utf-8"),
        ("/page.js", "page.js", "text/javascript; charset=utf-8"),
        ("/ort/a.wasm", "ort/a.wasm", "application/wasm"),
        ("/model.onnx", "model.onnx", "application/octet-stream"),
    ],
)
def test_a_listed_file_comes_with_every_header(
    server: ArtifactServer, path: str, name: str, kind: str
) -> None:
    status, headers, data = ask(server, path)
    assert (status, headers["Content-Type"], data) == (200, kind, FILES[name])
    assert HEADERS.items() <= headers.items()
    assert ask(server, path, "HEAD")[2] == b""


def test_the_passport_is_served(server: ArtifactServer, artifact: Artifact) -> None:
    assert ask(server, "/passport.json")[2] == (artifact.path / "passport.json").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/ort/../../secret.txt",
        "//secret.txt",
        "/ort",
        "/ort/",
        "/page.js%00",
        "/signature.json",
        "/unlisted.js",
        "http://127.0.0.1/../secret.txt",
    ],
)
def test_nothing_else_is_served(server: ArtifactServer, artifact: Artifact, path: str) -> None:
    (artifact.path.parent / "secret.txt").write_text("secret")
    (artifact.path / "unlisted.js").write_text("secret")
    status, _, data = ask(server, path)
    assert status == 404
    assert b"secret" not in data


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_other_names_for_this_machine_get_nothing(server: ArtifactServer, host: str) -> None:
    status, _, data = ask(server, "/model.onnx", host=host or " ")
    assert status == 421
    assert data != FILES["model.onnx"]


def raw(server: ArtifactServer, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b" 400 "),
        (b"GET //[::1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b" 404 "),
        (b"GET /\xff%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b" 404 "),
        (b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", b" 421 "),
        (b"GET / HTTP/9.9\r\n\r\n", b"505 "),
        (b"<script>alert(1)</script> / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b" 501 "),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b" 431 "),
    ],
)
def test_requests_that_are_none_are_answered(
    server: ArtifactServer, request_: bytes, status: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = raw(server, request_)
    assert status in answer.splitlines()[0]
    assert b"text/html" not in answer and b"<script>" not in answer.partition(b"\r\n\r\n")[2]
    assert capsys.readouterr().err == "", "no traceback on the terminal"


def test_a_body_is_not_taken_for_a_request(server: ArtifactServer) -> None:
    inner = b"GET /model.onnx HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for length in (b"Content-Length: %d" % len(inner), b"Transfer-Encoding: chunked"):
        answer = raw(server, head + length + b"\r\n\r\n" + inner)
        assert answer.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in answer


def test_a_connection_that_breaks_is_no_news(
    server: ArtifactServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for request in (b"", b"GET / HT", b"GET /model.onnx HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
        connection = socket.create_connection(("127.0.0.1", server.port), 10)
        connection.sendall(request)
        # Zero seconds to linger: closing resets the connection.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert ask(server, "/page.js")[0] == 200
    threads = [one for one in threading.enumerate() if "process_request_thread" in one.name]
    for one in threads:
        one.join(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
def test_pages_of_other_sites_cost_nothing(server: ArtifactServer, site: str, mode: str, status: int) -> None:
    head = f"GET /model.onnx HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}"
    answer = raw(server, f"{head}\r\nConnection: close\r\n\r\n".encode())
    assert f" {status} ".encode() in answer.splitlines()[0]


def test_other_methods_are_refused(server: ArtifactServer) -> None:
    assert ask(server, "/", "POST")[0] == 501


def test_a_file_altered_meanwhile_is_not_sent(server: ArtifactServer, artifact: Artifact) -> None:
    (artifact.path / "page.js").write_bytes(b"2")
    status, _, data = ask(server, "/page.js")
    assert status == 500
    assert b"was altered" in data


def test_a_taken_port_and_an_artifact_without_a_page_are_refused(
    server: ArtifactServer, artifact: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=rf"port {server.port}: cannot be listened on"):
        ArtifactServer(artifact, server.port)
    with ArtifactWriter(tmp_path / "other") as writer:
        (writer.folder / "model.onnx").write_bytes(b"model")
        other = writer.commit(passport())
    with pytest.raises(BadInputError, match="target onnx and holds no page"):
        ArtifactServer(other)


def test_closing_frees_the_port_and_may_be_done_twice(artifact: Artifact) -> None:
    server = ArtifactServer(artifact)
    with server:
        pass
    server.close()
    with ArtifactServer(artifact, server.port) as again:
        assert ask(again, "/page.js")[2] == b"1"
