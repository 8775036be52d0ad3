"""Command lines: right words with one of them replaced, left out or added, run in this process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import seeds
import small_bundle

_NETWORK = "--model net.py:Net --input x=1x3x8x8"
_EXPORT = f"export {_NETWORK} --target onnx --out output --precision fp32"
LIGHT = {
    "inspect": "inspect art --json",
    "run": "run p.png --artifact art --out output --threads 1",
    "gate": "gate report.json --baseline base.json --no-latency --no-memory",
    "merge": "report merge report.json other.json --out output",
    "bundle": "bundle art --out output/x.bundle --table table.json",
    "lower": "lower x.onnx --out output/y.onnx",
}
"""Commands that end within a second."""
HEAVY = {
    "export": _EXPORT,
    "deploy": f"deploy {_NETWORK} --target onnx --out output --precision fp32 --samples samples",
    "calibrate": f"calibrate {_NETWORK} --samples samples --out output/t.json",
    "verify": f"verify net {_NETWORK} --samples samples",
    "bench": "bench art --no-eager --runs 10 --threads 1",
    "profile": "profile art --replay x.log --queries 4 --seconds 0.1 --threads 1",
    "bisect": f"bisect net {_NETWORK} --samples samples",
}
WORDS = (
    *("", " ", "-", "--", "-1", "0", "1", "00", "0x10", "1e3", "1e999", "nan", "-inf", "9" * 30, "9" * 5000),
    *("²", "٣", "\uff11", "１x８", "\u202e", "\x1b[31mred\x1b[0m", "\x07", "a\nb", "\udcff", "x" * 5000),
    *("../x", ".", "..", "loop", "link", "p.png/x", "art/passport.json", "samples/", "./art/", "missing/a/b"),
    *("0x0", "1x", "x1", "-8x8", "65536x65536", "8x8x8x8", "99999999999x1", "p.png", "art", "report.json"),
    *(
        "{}",
        "[",
        "null",
        "a=b",
        "=",
        "x=1x1x8x8:float99",
        "x=0x0",
        "x=1x1x8x8:9..1",
        "*",
        "%s",
        "$(id)",
        "`id`",
    ),
    *("os:system", "net.py:", ":Net", "net.py:Net.x", "net.py:os", "missing.py:Net", "spandrel:", "x.onnx:a"),
    *(
        "onnx",
        "all",
        "fp32",
        "int8",
        "onnx:weights=7bit",
        "onnx:",
        "toaster",
        ".png",
        "png",
        "samples",
        "x.log",
    ),
)
NET = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=(8, 8))
"""


@functools.cache
def _options(command: str) -> tuple[tuple[str, bool], ...]:
    """Return the options of a command, and whether each takes a value."""
    from fdikp_edge.cli.main import app
    from typer.main import get_command

    node: Any = get_command(app)
    for word in command.split():
        node = getattr(node, "commands", {}).get(word) or node
    return tuple(
        (name, not getattr(option, "is_flag", False))
        for option in node.params
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("-") and name not in ("--help", "-h")
    )


def arena(folder: Path) -> Path:
    """Write what the commands name."""
    place = folder / "arena"
    place.mkdir()
    small_bundle.make(place / "built").rename(place / "art")
    for name, seed in (
        ("x.onnx", seeds.onnx),
        ("x.log", seeds.recording),
        ("x.png", seeds.pillow(".png", "RGB")),
    ):
        seed(place)
        assert (place / name).exists()
    (place / "x.png").rename(place / "p.png")
    seeds.baseline(place).rename(place / "base.json")
    seeds.table(place).rename(place / "table.json")
    seeds.report(place)
    shutil.copyfile(place / "report.json", place / "other.json")
    (place / "samples").mkdir()
    seeds.npy(place / "samples")
    (place / "net.py").write_text(NET)
    (place / "loop").symlink_to("loop")
    (place / "link").symlink_to("art")
    (place / "words.json").write_text(json.dumps(_EXPORT.split()))
    run(place)
    (artifact,) = (place / "output").iterdir()
    artifact.rename(place / "net")
    (place / "words.json").write_text(json.dumps(LIGHT["inspect"].split()))
    for name in ("built", "output"):
        shutil.rmtree(place / name, ignore_errors=True)
    return place


def changed(rng: random.Random, commands: dict[str, str]) -> list[str]:
    """Return the words of one command with one or two changes."""
    text = rng.choice(list(commands.values()))
    words = text.split()
    fixed = 2 if words[0] == "report" else 1
    options = _options(text)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(fixed, len(words) + 1)
        action = rng.randrange(8)
        if action < 4 and at < len(words):
            words[at] = rng.choice(WORDS)
        elif action < 7:
            name, takes = rng.choice(options)
            value = rng.choice(WORDS)
            words += ([f"{name}={value}"] if rng.random() < 0.5 else [name, value]) if takes else [name]
        elif at < len(words):
            del words[at]
        else:
            words.append(rng.choice(WORDS))
    return words


def run(place: Path) -> tuple[int, str, str]:
    """Run the words in ``words.json`` as a shell would in ``place``; a refusal is raised as a typed error.

    Returns:
        The exit code, and what was printed on stdout and stderr.
    """
    from fdikp_edge.cli.start import run as start
    from fdikp_edge.runtime.errors import BadInputError

    words = json.loads((place / "words.json").read_bytes())
    kept, here = sys.argv, Path.cwd()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            sys.argv = ["fdikp-edge", *words]
            os.chdir(place)
            with _streams(out.fileno(), err.fileno()):
                try:
                    start()
                    code: Any = 0
                except SystemExit as leaving:
                    code = leaving.code
        finally:
            sys.argv = kept
            os.chdir(here)
            for name in [name for name in sys.modules if name == "net"]:
                del sys.modules[name]
        printed = []
        for stream in (out, err):
            stream.seek(0)
            printed.append(stream.read().decode("utf-8", errors="surrogateescape"))
    why = judge_output(code, *printed)
    if code == 2 and not why:
        raise BadInputError(printed[1])
    return code, *printed


@contextlib.contextmanager
def _streams(out: int, err: int) -> Iterator[None]:
    """Send what this process prints, native libraries included, elsewhere."""
    kept = os.dup(1), os.dup(2)
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def judge_output(code: Any, out: str, err: str) -> str:
    """Return what is wrong with what a command printed."""
    if code not in (0, 1, 2):
        return f"exit code {code!r}: {err[-500:]}"
    if "Traceback (most recent" in out + err:
        return err[-1500:]
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", out + err):
        return f"control characters: {out[-300:]!r} {err[-300:]!r}"
    if code == 2 and not err.strip():
        return "refused without a word"
    return f"{len(err)} characters on stderr" if len(err) > 6000 else ""


def judge(place: Path, result: Any) -> str:
    """Return what is wrong with a command that was not refused."""
    why = judge_output(*result)
    return why and f"{json.loads((place / 'words.json').read_bytes())!r:.400}: {why}"
