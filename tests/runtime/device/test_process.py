"""The builder in a process of its own: its end by a signal, its memory, and the end of its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device import entry, process
from fdikp_edge.runtime.device.build import Settings
from fdikp_edge.runtime.device.engine_artifact import build_artifact
from fdikp_edge.runtime.device.memory import oom_kills, peak_mb, restart_peak
from fdikp_edge.runtime.device.process import how_it_ended
from fdikp_edge.runtime.errors import CheckFailedError, OutputError

RUNTIME = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("sign", "kills", "expected"),
    [
        ("SIGKILL", (3, 4), r"was killed \(SIGKILL\), by the kernel, because memory ran out: .*--workspace"),
        ("SIGKILL", (3, 3), r"was killed \(SIGKILL\), by another program"),
        ("SIGKILL", (None, None), r"was killed \(SIGKILL\), most likely by the kernel"),
        ("SIGSEGV", (3, 3), r"crashed \(SIGSEGV\)"),
    ],
)
def test_a_builder_that_a_signal_ends_is_an_error_with_its_last_messages(
    sign: str,
    kills: tuple[int | None, int | None],
    expected: str,
    classic: Callable[[str], Any],
    fp32_artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process is real and ends itself; only the kernel's counter is this test's."""
    counts = iter(kills)
    monkeypatch.setattr(process, "oom_kills", lambda: next(counts))
    classic("10.3.0")
    monkeypatch.setenv("FAKE_TENSORRT_FAILS", sign)
    with pytest.raises(CheckFailedError, match=expected) as failed:
        build_artifact(fp32_artifact, tmp_path / "out" / "engine")
    message = str(failed.value)
    log = tmp_path / "out" / "engine.build.log"
    assert "Tactic 0x0000000000009c3f" in message and "native code prints this" in message
    assert list((tmp_path / "out").iterdir()) == [log] and message.endswith(f"log: {log}")
    assert "[V] Tactic 0x0000000000009c3f" in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_stops_before_anything_is_built(
    classic: Callable[[str], Any], fp32_artifact: Artifact, tmp_path: Path
) -> None:
    classic("10.3.0")
    with pytest.raises(OutputError, match="cannot be written"):
        build_artifact(fp32_artifact, tmp_path / "engine", Settings(log=tmp_path / "no" / "log"))
    assert not (tmp_path / "engine").exists()


def test_the_most_memory_that_the_builder_held_is_in_the_notes(
    classic: Callable[[str], Any], fp32_artifact: Artifact, tmp_path: Path
) -> None:
    classic("10.3.0")
    built = build_artifact(fp32_artifact, tmp_path / "engine")
    (note,) = [note for note in built.passport.notes if "the builder held at most" in note]
    held = float(note.removeprefix("the builder held at most ").removesuffix(" MB of memory"))
    assert 10 < held < 2000  # a Python with NumPy and onnx


def test_ends_without_a_signal_are_told_too() -> None:
    assert how_it_ended(3) == "ended with exit code 3 and left no result"
    assert how_it_ended(-77) == "crashed (signal 77)"


def test_a_bundle_builds_with_its_own_program_and_its_folder_stays_as_it_was(
    classic: Callable[[str], Any], small_bundle: Path, tmp_path: Path
) -> None:
    """The builder's process imports from the unpacked bundle, which is checked at each start, and finds the
    same modules as its parent."""
    classic("10.3.0")
    env = {
        **os.environ,
        entry.CACHE_VARIABLE: str(tmp_path / "cache"),
        "PYTHONPATH": str(RUNTIME / "fake_tensorrt"),
        "FAKE_TENSORRT_LISTS": "1",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(small_bundle), *words, "--engines", str(tmp_path / "engines")]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    done = run("build", "--artifact", "half-onnx-fp32", "--log", "all.log")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "cache").iterdir()
    assert f"[I] built by {folder / 'site' / 'fdikp_edge'}" in (tmp_path / "all.log").read_text()
    assert not list(folder.rglob("*.pyc"))
    assert "unverified (half-onnx-fp32)" in run("info").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's request is Linux's")
def test_the_builder_ends_with_its_parent() -> None:
    child = (
        "import os, time; from fdikp_edge.runtime.device.builder import die_with_parent; "
        "die_with_parent(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        number = int(started.stdout.readline())
        started.kill()
        started.wait()
        until = time.monotonic() + 10
        while _runs(number) and time.monotonic() < until:
            time.sleep(0.05)
        assert not _runs(number)


def _runs(number: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


def test_the_peak_and_the_kills_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "status").write_text("Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t1000 kB\n")
    assert peak_mb(tmp_path) == 2.048 and oom_kills(tmp_path) is None
    (tmp_path / "proc" / "vmstat").write_text("pgfault 9\noom_kill 12\noom_kill_x 4\n")
    assert oom_kills(tmp_path) == 12
    assert restart_peak(tmp_path) and (tmp_path / "proc" / "self" / "clear_refs").read_text() == "5"
    assert not restart_peak(tmp_path / "nowhere")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the file is Linux's")
def test_the_peak_can_be_started_anew() -> None:
    """In a process of its own: one that freed gigabytes may keep their pages, and hold the block in them."""
    program = (
        "import os\n"
        "from fdikp_edge.runtime.device.memory import peak_mb, restart_peak\n"
        "block = bytearray(os.urandom(1) * 60_000_000)\n"
        "before = peak_mb()\n"
        "del block\n"
        "print(restart_peak(), before, peak_mb())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    works, before, after = done.stdout.split()
    if works == "False":
        pytest.skip("this system does not let a process reset its peak")
    assert float(after) < float(before) - 30
