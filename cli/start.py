"""Where ``fdikp-edge`` starts: Ctrl-C is answered from the first import on, before there are commands.

Nothing but the standard library is imported at the top, so that little time is left in which it is not.
"""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def run() -> None:
    """Run the command line; the entry point of ``fdikp-edge``.

    Raises:
        SystemExit: the exit code of the command; 130 after Ctrl-C.
    """
    try:
        from .main import run as run_commands

        run_commands()
    except KeyboardInterrupt:
        # A running command reports this itself and cleans up; here no work has begun.
        os.write(2, b"fdikp-edge: interrupted: stopped before any work began\n")
        sys.exit(INTERRUPTED)
