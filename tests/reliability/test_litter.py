"""What a killed process left half written is removed by the next one; what a living one writes stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fdikp_edge.cli import guard
from fdikp_edge.runtime import files
from fdikp_edge.runtime.artifact import ArtifactWriter
from fdikp_edge.runtime.buckets.write import writing_buckets
from fdikp_edge.runtime.errors import OutputError
from fdikp_edge.runtime.files import make_folder_beside, replacing

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="processes cannot be asked after here")

_WRITER = """
import sys, time
from pathlib import Path
from fdikp_edge.runtime.files import make_folder_beside, replacing
dest = Path(sys.argv[1])
(make_folder_beside(dest) / "model.onnx").write_bytes(b"half")
with replacing(dest.with_suffix(".json")) as beside:
    beside.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def partials(folder: Path) -> list[Path]:
    return sorted(folder.glob(".partial-*"))


def test_litter_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        assert len(partials(tmp_path)) == 2
        with replacing(tmp_path / "other") as beside:
            beside.write_bytes(b"whole")
        assert len(partials(tmp_path)) == 2, "a living process still writes there"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    (tmp_path / ".partial-of-somebody-else").touch()
    files._SWEPT.clear()
    with replacing(tmp_path / "other") as beside:
        beside.write_bytes(b"whole")
    assert [path.name for path in partials(tmp_path)] == [".partial-of-somebody-else"]
    assert (tmp_path / "other").read_bytes() == b"whole"


_REPLACER = """
import sys, time
from pathlib import Path
from fdikp_edge.runtime.files import make_folder_beside, move_folder
dest = Path(sys.argv[1])
new = make_folder_beside(dest)
(new / "model.onnx").write_bytes(b"new")
rename = Path.rename
def wait(path, target):
    if path == new:
        print("between", flush=True)
        time.sleep(60)
    return rename(path, target)
Path.rename = wait
move_folder(new, dest)
"""


def kill_between_renames(dest: Path, program: str) -> None:
    """Run a program that replaces ``dest``, and kill it where the old is away and the new not there yet."""
    replacer = subprocess.Popen([sys.executable, "-c", program, str(dest)], stdout=subprocess.PIPE, text=True)
    assert replacer.stdout is not None and replacer.stdout.readline() == "between\n"
    replacer.kill()
    replacer.wait()
    files._SWEPT.clear()


def test_a_folder_is_put_back_whose_replacement_was_killed(tmp_path: Path) -> None:
    dest = tmp_path / "a"
    dest.mkdir()
    (dest / "model.onnx").write_bytes(b"old")
    kill_between_renames(dest, _REPLACER)
    assert not dest.exists()
    with replacing(tmp_path / "other") as beside:
        beside.write_bytes(b"whole")
    assert (dest / "model.onnx").read_bytes() == b"old" and partials(tmp_path) == []


@pytest.mark.parametrize("writer", [ArtifactWriter, writing_buckets])
def test_what_is_put_back_is_not_replaced_unasked(
    tmp_path: Path, writer: Callable[[Path], contextlib.AbstractContextManager[object]]
) -> None:
    dest = tmp_path / "a"
    (dest / "32x32").mkdir(parents=True)
    (dest / "passport.json").write_text("{}")
    (dest / "32x32" / "passport.json").write_text("{}")
    kill_between_renames(dest, _REPLACER)
    with pytest.raises(OutputError), writer(dest):
        pass
    assert (dest / "passport.json").exists() and partials(tmp_path) == []


_PUBLISHER = """
import sys, time
from pathlib import Path
from fdikp_edge.benchmarks.staging import staged
dest = Path(sys.argv[1])
rename = Path.rename
def wait(path, target):
    if path.parent.name.startswith(".partial-"):
        print("between", flush=True)
        time.sleep(60)
    return rename(path, target)
with staged(dest.parent, overwrite=True) as stage:
    (stage.folder / dest.name).write_bytes(b"new")
    Path.rename = wait
    stage.publish()
"""


def test_what_a_killed_deploy_was_about_to_replace_is_put_back(tmp_path: Path) -> None:
    dest = tmp_path / "report.json"
    dest.write_bytes(b"old")
    kill_between_renames(dest, _PUBLISHER)
    assert not dest.exists()
    files.remove_litter(tmp_path)
    assert dest.read_bytes() == b"old" and partials(tmp_path) == []


def test_the_number_of_a_dead_process_may_be_used_again(tmp_path: Path) -> None:
    ours = make_folder_beside(tmp_path / "a")
    match = files._PARTIAL.fullmatch(ours.name)
    assert match is not None
    if match[2] == "0":
        pytest.skip("this system does not tell when a process began")
    earlier = ours.with_name(ours.name.replace(f".{match[2]}-", f".{int(match[2]) - 1}-"))
    earlier.mkdir()
    files._SWEPT.clear()
    files.remove_litter(tmp_path)
    assert partials(tmp_path) == [ours]


def test_a_living_process_that_cannot_be_asked_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = make_folder_beside(tmp_path / "a")
    monkeypatch.setattr(files, "_beginning", lambda process: "0")  # as where /proc shows only one's own
    files._SWEPT.clear()
    files.remove_litter(tmp_path)
    assert theirs.exists()


def test_another_machine_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f".partial-{'0' * 8}-999999999.1-{'0' * 16}"
    theirs.mkdir()
    files.remove_litter(tmp_path)
    assert theirs.exists()


_SWALLOWS = """
import contextlib, signal
from fdikp_edge.cli import guard
def command():
    with contextlib.suppress(BaseException):  # as a callback from C does
        signal.raise_signal(signal.SIGTERM)
    return 0
guard.exit_on_terminate()
try:
    guard.guarded(command)()
except BaseException as leaving:
    print(leaving.exit_code)
"""


def test_a_termination_that_a_library_swallows_still_counts() -> None:
    # In a process of its own: a signal here would be one to the process that runs the tests.
    done = subprocess.run([sys.executable, "-c", _SWALLOWS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == guard.TERMINATED
