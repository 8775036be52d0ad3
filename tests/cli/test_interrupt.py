"""Ctrl-C and termination in the middle of the work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image


def stopped_while(step: str, sent: signal.Signals, folder: Path, *args: object) -> tuple[int, str]:
    """Start `fdikp-edge ARGS`, send a signal as soon as it reports ``step``; return exit code and stderr."""
    # A shell starts what runs in the background deaf to Ctrl-C, and that is inherited, also by this test.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from fdikp_edge.cli.start import run; run()"
    )
    command = [sys.executable, "-c", script, *map(str, args)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    printed = ""
    try:
        for line in process.stderr:
            printed += line
            if step in line:
                process.send_signal(sent)
                break
        printed += process.communicate(timeout=120)[1]
    finally:
        process.kill()
    return process.returncode, printed


def test_during_the_first_imports(tmp_path: Path) -> None:
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Stop:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from fdikp_edge.cli.start import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "fdikp-edge: interrupted: stopped before any work began\n"


def test_export_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="building needs torch")
    returned, printed = stopped_while("lowering", signal.SIGINT, tmp_path, "export", "--out", "new/out")
    assert returned == 130, printed
    assert "interrupted" in printed and "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_deblur_leaves_nothing_behind(
    sent: signal.Signals, code: int, artifact: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (4000, 3000)).save(tmp_path / "large.png")
    args = ("deblur", "large.png", "--artifact", artifact, "--out", "new/out.png")
    returned, printed = stopped_while("large.png", sent, tmp_path, *args)
    assert returned == code, printed
    assert "Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["large.png"]
