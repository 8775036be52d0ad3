"""The command line of ``python model.bundle``, parsed with the standard library alone."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...benchmarks.timing.loadgen import SCENARIOS
from ...benchmarks.timing.protocol import SETTINGS, Protocol

_WHAT = {
    "info": "show the bundle's contents",
    "build": "build an engine for this device from each artifact",
    "verify": "check each artifact against its golden output and the budget of its precision",
    "bench": "measure the latency of each artifact",
    "profile": "measure latency on three clocks and read the device's sensors; writes JSON",
    "deblur": "deblur a photo (default: the one in the bundle)",
}
_EPILOG = """\
Runs the engine if it was built, otherwise the ONNX file in ONNX Runtime if that is installed.
Exit codes: 0 success, 1 a budget or check failed, 2 wrong usage, bad input, or a missing package."""


def parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of the device program; ``name`` is the bundle's."""
    top = argparse.ArgumentParser(
        prog=f"python {name}", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {word: commands.add_parser(word, help=text, description=text) for word, text in _WHAT.items()}
    for word, command in parsers.items():
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
        command.add_argument(
            "--engines", type=Path, metavar="DIR", help="folder of engines (default: next to the bundle)"
        )
        if word != "info":
            _common(command)
    _build(parsers["build"])
    _bench(parsers["bench"])
    _profile(parsers["profile"])
    parsers["deblur"].add_argument("photo", nargs="?", type=Path, help="your own photo (needs Pillow)")
    parsers["deblur"].add_argument("--out", type=Path, default=Path("deblurred.png"), help="output file")
    parsers["deblur"].add_argument("--overwrite", action="store_true", help="replace existing output")
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--artifact",
        action="append",
        default=[],
        metavar="NAME",
        help="only this artifact (see info); repeatable",
    )
    command.add_argument(
        "--precision", action="append", default=[], metavar="NAME", help="only this precision; repeatable"
    )
    command.add_argument("--threads", type=_COUNT, metavar="N", help="CPU threads (default: all)")


def _build(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--trtexec",
        action="store_true",
        help="print trtexec commands for TensorRT 10 and 11 without building",
    )
    command.add_argument(
        "--weak",
        choices=("fp16", "int8"),
        help="set precision by builder flags, from the float32 files (only before TensorRT 11)",
    )
    command.add_argument("--workspace", type=_COUNT, metavar="MIB", help="memory limit for one layer")
    command.add_argument("--overwrite", action="store_true", help="replace existing engines")
    command.add_argument("--log", type=Path, metavar="FILE", help="new file for all builder messages")


def _engine(command: argparse.ArgumentParser) -> None:
    """Add what decides how an engine is run; what is not asked for is the session's own choice."""
    command.add_argument(
        "--cuda-graph", action="store_true", default=None, help="launch the engine as one CUDA graph"
    )
    command.add_argument(
        "--wait",
        dest="waiting",
        choices=("spin", "yield", "blocking", "auto"),
        help="how to wait for the GPU (spin)",
    )
    command.add_argument(
        "--mapped",
        action=argparse.BooleanOptionalAction,
        help="work on host memory instead of copies (where the GPU shares it)",
    )


def _bench(command: argparse.ArgumentParser) -> None:
    _engine(command)
    command.add_argument(
        "--runs",
        "--samples",
        dest="samples",
        type=_COUNT,
        default=100,
        metavar="N",
        help="number of timed runs (100)",
    )
    command.add_argument(
        "--seconds", type=_within(0.05, 86_400), default=60.0, metavar="S", help="time limit (60)"
    )
    command.add_argument(
        "--loadgen",
        type=Path,
        metavar="DIR",
        help="measure with MLPerf's LoadGen too, at least --runs queries and --seconds; its logs go to DIR",
    )
    command.add_argument(
        "--scenario", choices=SCENARIOS, default=SCENARIOS[0], help=f"of LoadGen ({SCENARIOS[0]})"
    )


def _profile(command: argparse.ArgumentParser) -> None:
    _engine(command)
    add_profile_options(command.add_argument)
    command.add_argument("--out", type=Path, default=Path("profile.json"), help="output JSON file")
    command.add_argument("--overwrite", action="store_true", help="replace existing output")


def add_profile_options(add: Any) -> None:
    """Add what people can set about a profile."""
    usual = Protocol()
    for name, setting in SETTINGS.items():
        default = None if setting.follows else getattr(usual, name)
        add(
            f"--{setting.option}",
            dest=name,
            type=_within(setting.least, setting.most, whole=isinstance(default, int)),
            default=default,
            metavar=setting.metavar,
            help=f"{setting.help} ({setting.follows or format(default, 'g')})",
        )
        if setting.former:
            add(
                f"--{setting.former}",
                dest=name,
                type=_within(setting.least, setting.most),
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )
    add("--replay", type=Path, metavar="FILE", help="recorded tegrastats log to read instead of the sensors")
    add(
        "--no-layers",
        action="store_true",
        help="do not measure time per layer, nor where operators run",
    )
    add(
        "--allow-fallback",
        action="append",
        default=[],
        metavar="NAME",
        help="accept operators in this place although it was not asked for; repeatable",
    )
    add(
        "--power-modes",
        metavar="MODES",
        help="as root: profile in each power mode of the board (all, or names by comma), then set the one "
        "from before again",
    )


def _within(least: float, most: float, *, whole: bool = False) -> Callable[[str], float]:
    """Return what reads a number of an option, within its bounds."""

    def read(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise argparse.ArgumentTypeError(f"{text}: expected {kind} from {least:,} to {most:,}")
        return value

    return read


_COUNT = _within(1, 1_000_000, whole=True)
