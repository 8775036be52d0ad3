"""Weights from a server: one that the test serves, asked through the real client."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.checkpoint import MAX_FILE_BYTES, read_tensors
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.errors import CheckpointError, SourceError

FLOOD = 400 * 2**20
COMMIT, OLDER = "1" * 40, "2" * 40
TINY = (zoo.WEIGHTS / "tiny.safetensors").read_bytes()
CODE = b"raise SystemExit('code of a repository ran')"
REPOSITORIES: dict[str, dict[str, bytes]] = {
    "org/tiny": {"model.safetensors": TINY, "config.json": b"{}", "modeling.py": CODE, "setup.py": CODE},
    "org/two": {"a.safetensors": TINY, "b.safetensors": TINY},
    "org/none": {"pytorch_model.bin": b"pickle", "README.md": b""},
    "org/broken": {"model.safetensors": TINY[:1000]},
    "org/large": {"model.safetensors": b"listed with another size"},
    "org/hostile": {"../../model.safetensors": TINY, "/etc/model.safetensors": TINY},
    "org/pickle": {"weights.pth": b"cos\nsystem\n(S'true'\ntR."},
}


class Server(BaseHTTPRequestHandler):
    """The three requests that the client makes; ``asked`` collects them."""

    asked: list[str]
    lies: Mapping[str, str] = {}
    """Headers of files that are not what they should be."""
    sha = ""
    """The commit that the server answers with, whatever is asked."""
    flood = ""
    """Part of the path of a GET that is answered without end, up to :data:`FLOOD` bytes."""
    sent = 0
    """Bytes of that."""

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _flood(self) -> None:
        """Answer without a length, as long as anyone listens."""
        self.send_response(200)
        for name, value in self.lies.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while type(self).sent < FLOOD:
                self.wfile.write(bytes(1 << 16))
                type(self).sent += 1 << 16

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if self.flood and self.flood in path and self.command == "GET":
            return self._flood()
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            if name not in REPOSITORIES:
                return self._answer(b"{}", 404, X_Error_Code="RepoNotFound")
            if revision not in ("", "main", "old", COMMIT, OLDER):
                return self._answer(b"{}", 404, X_Error_Code="RevisionNotFound")
            siblings = [
                {"rfilename": file, "size": MAX_FILE_BYTES + 1 if name == "org/large" else len(content)}
                for file, content in REPOSITORIES[name].items()
            ]
            commit = self.sha or (OLDER if revision in ("old", OLDER) else COMMIT)
            return self._answer(json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode())
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        commit = OLDER if revision in ("old", OLDER) else COMMIT
        content = REPOSITORIES.get(name, {}).get(file)
        if content is None:
            return self._answer(b"", 404, X_Error_Code="EntryNotFound")
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": tag, "X_Repo_Commit": commit, "Accept_Ranges": "none", **self.lies}
        return self._answer(content, **headers)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    pytest.importorskip("huggingface_hub", reason="the extra 'hf' is not installed")
    Server.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Server.asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_network_is_loaded_pinned_and_only_its_weights_are_fetched(asked: list[str]) -> None:
    source = find("hf:org/tiny@old")
    assert source.spec == f"hf:org/tiny@{OLDER}" and source.name == "tiny"
    assert f"hf:org/tiny@{OLDER}" in source.note
    assert zoo.weights_sha256(source.load()) == zoo.weights_sha256(find("tiny").load())
    fetched = {line.rpartition("/")[2] for line in asked if "/resolve/" in line}
    assert fetched == {"model.safetensors"}


def test_a_commit_in_the_cache_needs_no_server(asked: list[str]) -> None:
    find("hf:org/tiny@" + COMMIT)
    del asked[:]
    assert find("hf:org/tiny@" + COMMIT).spec == f"hf:org/tiny@{COMMIT}"
    assert asked == []


def test_offline_uses_the_cache_and_says_what_is_missing(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    find("hf:org/tiny@main")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    del asked[:]
    assert find("hf:org/tiny@main").spec == f"hf:org/tiny@{COMMIT}"
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set"):
        find("hf:org/two")
    assert asked == []
    # What the client keeps can be copied and given as a folder.
    (folder,) = (tmp_path / "cache").glob("models--*tiny")
    assert len(read_tensors(folder).tensors) == len(zoo.load("tiny").state_dict())


def test_weights_of_a_users_own_network(asked: list[str], tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text("from fdikp_edge.models.fdikp.fdikp import FDIKP\n"
                    "from fdikp_edge.models.fdikp.variants import TINY\n"
                    "def net():\n    return FDIKP(TINY)\n")  # fmt: skip
    source = find(f"{code}:net", weights=Path("hf:org/two/b.safetensors"))
    assert source.note.endswith(f"hf:org/two/b.safetensors@{COMMIT}")
    assert torch.equal(source.load().state_dict()["stem.weight"], zoo.load("tiny").stem.weight)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("hf:org/two", r"several files of weights \(a.safetensors, b.safetensors\); name one"),
        ("hf:org/none", "expected model.safetensors"),
        ("hf:org/hostile", "expected model.safetensors"),
        ("hf:org/missing", "no such repository"),
        ("hf:org/tiny@gone", "no such revision"),
        ("hf:org/tiny/other.safetensors", "no file other.safetensors"),
        ("hf:org/large", "bytes; at most"),
        ("hf:tiny", "write hf:ORG/NAME"),
        ("hf:org/..", "write hf:ORG/NAME"),
        ("hf:org/tiny/../../x.safetensors", "write hf:ORG/NAME"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(asked: list[str], spec: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        find(spec)
    assert "\n" not in str(caught.value) and spec in str(caught.value)
    assert not any("/resolve/" in line for line in asked)


@pytest.mark.parametrize("name", ["broken", "pickle"])
def test_a_fetched_file_is_as_little_trusted_as_any(asked: list[str], name: str) -> None:
    with pytest.raises(CheckpointError):
        find(f"hf:org/{name}")


def test_a_server_that_is_not_there(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"could not be downloaded .*; check the connection") as caught:
        find("hf:org/tiny")
    assert "\n" not in str(caught.value)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SourceError, match=r'pip install "fdikp-edge\[hf\]"'):
        find("hf:org/tiny")


def test_a_spec_is_refused_beside_other_weights(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--weights means nothing"):
        find("hf:org/tiny", weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("spec", "lies", "words"),
    [
        ("hf:org/tiny@" + COMMIT, {"ETag": '"../../../../../owned"'}, "which is no hash"),
        ("hf:org/tiny", {"ETag": '"/tmp/owned"'}, "which is no hash"),
        ("hf:org/tiny@" + COMMIT, {"X_Repo_Commit": "3" * 40}, "of commit '3333"),
        ("hf:org/tiny", {"X_Repo_Commit": "../../owned"}, "of commit '../../owned'"),
    ],
)
def test_a_server_that_lies_writes_nothing(
    asked: list[str],
    spec: str,
    lies: dict[str, str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Server, "lies", lies)
    with pytest.raises(SourceError, match=words):
        find(spec)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and "owned" in file.name]
    assert not [line for line in asked if line.startswith("GET") and "/resolve/" in line], (
        "nothing was fetched"
    )


def test_a_server_that_answers_with_another_commit(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for sha in ("3" * 40, "../../owned"):
        monkeypatch.setattr(Server, "sha", sha)
        with pytest.raises(SourceError, match="which was not asked for"):
            find("hf:org/tiny@" + COMMIT)
    assert not [line for line in asked if "/resolve/" in line], "nothing was fetched"


@pytest.mark.parametrize(("part", "most"), [("/resolve/", 2 * len(TINY)), ("/api/", 16 * 2**20)])
def test_a_server_that_sends_more_than_it_announced(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str, most: int
) -> None:
    monkeypatch.setattr(Server, "flood", part)
    monkeypatch.setattr(Server, "sent", 0)
    with pytest.raises(SourceError, match=r"sends more than the [0-9]+ bytes expected"):
        find("hf:org/tiny")
    assert Server.sent < most + 32 * 2**20, "what the sockets and the client hold, and no more"
    kept = [file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert max(kept, default=0) <= most + 2**20


def test_a_server_that_compresses_what_it_sends(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(REPOSITORIES, "org/bomb", {"model.safetensors": gzip.compress(bytes(300 * 2**20), 1)})
    monkeypatch.setattr(Server, "lies", {"Content_Encoding": "gzip"})
    with pytest.raises(SourceError, match=r"compresses what it sends \(gzip\)"):
        find("hf:org/bomb")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_the_client_is_left_as_it_was(asked: list[str]) -> None:
    import huggingface_hub

    client, before = huggingface_hub.get_session(), huggingface_hub.constants.HF_HUB_DISABLE_XET
    hooks = client.event_hooks
    find("hf:org/tiny")
    with pytest.raises(SourceError):
        find("hf:org/missing")
    assert client.event_hooks == hooks and before == huggingface_hub.constants.HF_HUB_DISABLE_XET
