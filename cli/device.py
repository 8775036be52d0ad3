"""``python fdikp.bundle COMMAND``: what a bundle does on a device. Parses with the standard library alone."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..benchmarks.timing.protocol import SETTINGS, Protocol
from ..runtime.device.bundle import Bundle
from ..runtime.errors import CheckFailedError
from ..runtime.program import run as run_program
from .device_work import COMMANDS

_WHAT = {
    "info": "what is in the bundle",
    "build": "build an engine for this device from each artifact",
    "verify": "hold each artifact against its golden output, within the budget of its precision",
    "bench": "time each artifact",
    "profile": "time one artifact by three clocks with the device's sensors beside it; writes JSON",
    "deblur": "deblur a photo, the one in the bundle if none is given",
}
_EPILOG = """\
Where an engine was built it is what runs; else ONNX Runtime, where it is installed.
Exit codes: 0 good, 1 a budget or check failed, 2 bad use, bad input, or something is missing here."""


def run(folder: Path, bundle: Path) -> None:
    """Run one command of an unpacked bundle; the entry script of the bundle calls this.

    Raises:
        SystemExit: always, with the exit code.
    """
    options = parser(bundle.name).parse_args()

    def main() -> None:
        opened = Bundle.unpacked(folder, bundle)
        if not COMMANDS[options.command](opened, options):
            raise CheckFailedError("not everything passed")

    run_program(main, interrupted="stopped; nothing half written is left behind")
    raise SystemExit(0)


def parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of the device program; ``name`` is the bundle's."""
    top = argparse.ArgumentParser(
        prog=f"python {name}", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {word: commands.add_parser(word, help=text, description=text) for word, text in _WHAT.items()}
    for word, command in made.items():
        command.add_argument("--json", action="store_true", help="print JSON instead of lines")
        if word != "info":
            _common(command)
    _build(made["build"])
    _bench(made["bench"])
    _profile(made["profile"])
    made["deblur"].add_argument(
        "photo", nargs="?", type=Path, help="a photo of yours; reading it takes Pillow"
    )
    made["deblur"].add_argument("--out", type=Path, default=Path("deblurred.png"), help="where to write")
    made["deblur"].add_argument("--overwrite", action="store_true", help="replace what is there")
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--artifact", action="append", default=[], metavar="NAME", help="only this one (see info); repeatable"
    )
    command.add_argument(
        "--precision", action="append", default=[], metavar="NAME", help="only at this precision; repeatable"
    )
    command.add_argument(
        "--engines", type=Path, metavar="DIR", help="where engines are (default: beside the bundle)"
    )
    command.add_argument("--threads", type=_COUNT, metavar="N", help="processor threads (default: all)")


def _build(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--trtexec", action="store_true", help="print trtexec lines for TensorRT 10 and 11, and build nothing"
    )
    command.add_argument(
        "--weak",
        choices=("fp16", "int8"),
        help="choose types by builder flags, from the float32 files (TensorRT before 11 only)",
    )
    command.add_argument("--workspace", type=_COUNT, metavar="MIB", help="most memory for one layer")
    command.add_argument("--overwrite", action="store_true", help="replace engines that are there")


def _bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("--samples", type=_COUNT, default=100, metavar="N", help="runs to time (100)")
    command.add_argument(
        "--seconds", type=_within(0.05, 86_400), default=60.0, metavar="S", help="stop after this (60)"
    )


def _profile(command: argparse.ArgumentParser) -> None:
    add_profile_options(command.add_argument)
    command.add_argument("--out", type=Path, default=Path("profile.json"), help="where to write the JSON")
    command.add_argument("--overwrite", action="store_true", help="replace what is there")


def add_profile_options(add: Any) -> None:
    """Add what people can set about a profile."""
    usual = Protocol()
    for name, setting in SETTINGS.items():
        default = getattr(usual, name)
        add(
            f"--{setting.option}",
            dest=name,
            type=_within(setting.least, setting.most, whole=isinstance(default, int)),
            default=default,
            metavar=setting.metavar,
            help=f"{setting.help} ({default:g})",
        )
    add("--replay", type=Path, metavar="FILE", help="recorded tegrastats in place of sensors")
    add("--no-layers", action="store_true", help="leave out the times per layer")


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


if __name__ == "__main__":  # from an installed package: python -m fdikp_edge.cli.device BUNDLE COMMAND
    _opened = Bundle.open(Path(sys.argv.pop(1)))
    run(_opened.folder, _opened.path)
