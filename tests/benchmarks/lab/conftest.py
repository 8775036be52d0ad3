"""Two boards that are SSH servers on this machine, and what lets SSH in."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Boot = Callable[..., int]
WAIT_S = 60.0


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> str:
    last = time.monotonic() + WAIT_S
    while not file.exists():
        assert process.poll() is None and time.monotonic() < last, f"{file.name} never came"
        time.sleep(0.02)
    return file.read_text()


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[Boot]:
    """Start a board by name and return its port; one that died can be started again."""
    asyncssh = pytest.importorskip("asyncssh", reason="the boards are asyncssh's servers")
    if shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client is not installed")
    processes: list[subprocess.Popen[bytes]] = []
    for name in ("host_key", "user_key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(tmp_path / name))
        key.write_public_key(str(tmp_path / f"{name}.pub"))
        (tmp_path / name).chmod(0o600)
    # The hosts' key counts at every port: ssh looks names up without it too.
    public = (tmp_path / "host_key.pub").read_text().split()[:2]
    (tmp_path / "known_hosts").write_text(f"board {' '.join(public)}\n")
    (tmp_path / "ssh_config").write_text(
        f"Host *\n  IdentityFile {tmp_path}/user_key\n  IdentitiesOnly yes\n  HostKeyAlias board\n"
        f"  UserKnownHostsFile {tmp_path}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
    (tmp_path / "ssh_config").chmod(0o600)

    def boot(name: str, *, port: int = 0, dies_at: str = "") -> int:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        (home / "port").unlink(missing_ok=True)
        command = [sys.executable, str(HERE / "ssh_board.py"), str(home), str(port), dies_at]
        processes.append(subprocess.Popen(command))
        return int(wait_for(home / "port", processes[-1]))

    yield boot
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def labgrid(tmp_path: Path) -> Iterator[Callable[[dict[str, tuple[int, str]]], str]]:
    """Start labgrid's coordinator and exporter for boards (port, tag board), and return its address."""
    if importlib.util.find_spec("labgrid") is None:
        pytest.skip("labgrid is not installed (extra lab)")
    processes: list[subprocess.Popen[bytes]] = []
    folder = tmp_path / "labgrid"
    folder.mkdir()

    def start(places: dict[str, tuple[int, str]]) -> str:
        address = f"127.0.0.1:{free_port()}"
        resources = "".join(
            f"{name}:\n  NetworkService:\n    address: 127.0.0.1\n    username: root\n    port: {port}\n"
            for name, (port, _) in places.items()
        )
        (folder / "exporter.yaml").write_text(resources)
        for words in (
            ("coordinator", "-l", address),
            ("exporter", "-c", address, "-n", "here", "exporter.yaml"),
        ):
            module = [sys.executable, "-m", f"labgrid.remote.{words[0]}", *words[1:]]
            processes.append(subprocess.Popen(module, cwd=folder))
            time.sleep(2)
        for name, (_, tag) in places.items():
            for words in (
                ("create",),
                ("add-match", f"here/{name}/NetworkService"),
                ("set-tags", f"board={tag}"),
            ):
                client(address, "-p", name, *words)
        return address

    yield start
    for process in reversed(processes):
        process.kill()
        process.wait()


def client(address: str, *words: str) -> str:
    """Run labgrid's own client."""
    command = [sys.executable, "-m", "labgrid.remote.client", "-x", address, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
