"""``python model.bundle COMMAND``: parse, call, and exit with the right code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ...runtime.device.bundle import Bundle
from ...runtime.errors import CheckFailedError
from ...runtime.program import run as run_program
from .building import build, info
from .common import Options
from .deblurring import deblur
from .measuring import bench, profile_all, verify
from .parser import parser

COMMANDS: dict[str, Callable[[Bundle, Options], bool]] = {
    "info": info,
    "build": build,
    "verify": verify,
    "bench": bench,
    "profile": profile_all,
    "deblur": deblur,
}


def run(folder: Path, bundle: Path) -> None:
    """Run one command of an unpacked bundle; the entry script of the bundle calls this.

    Raises:
        SystemExit: always, with the exit code.
    """
    options = parser(bundle.name).parse_args()

    def main() -> None:
        opened = Bundle.unpacked(folder, bundle)
        if not COMMANDS[options.command](opened, options):
            raise CheckFailedError("at least one check failed")

    run_program(main, interrupted="stopped; no partial output is left")
    raise SystemExit(0)


# From an installed package: python -m fdikp_edge.cli.device.program BUNDLE COMMAND
if __name__ == "__main__":
    _opened = Bundle.open(Path(sys.argv.pop(1)))
    run(_opened.folder, _opened.path)
