"""Run the whole long part, one part after the other, and print its tables and the time of each part.

    python tests/reliability/soak.py

Exits with 1 where a part saw a fault; the parts after it run all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PARTS = {
    "bad places": ("places.py",),
    "kills": ("kills.py", "--kills", "40"),
    "a folder killed and resumed": ("resume.py",),
    "long run": ("long_run.py",),
    "damaged files and command lines": ("harness.py", "--cases", "300"),
}


def main() -> int:
    """Run every part; exit 1 where one failed."""
    rows = ["| part | command | minutes | processor minutes | result |", "|---|---|---|---|---|"]
    failed = False
    for title, (script, *words) in PARTS.items():
        print(f"\n## {title}\n", flush=True)
        began, used = time.monotonic(), _processor_seconds()
        command = [sys.executable, str(FOLDER / script), *words]
        code = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode
        minutes = (time.monotonic() - began) / 60, (_processor_seconds() - used) / 60
        result = "no fault" if code == 0 else f"FAULTS (exit {code})"
        failed = failed or code != 0
        line = " ".join((script, *words))
        rows.append(f"| {title} | `{line}` | {minutes[0]:.1f} | {minutes[1]:.1f} | {result} |")
    print("\n## Time\n\n" + "\n".join(rows), flush=True)
    return 1 if failed else 0


def _processor_seconds() -> float:
    """Return what the ended children of this process took of the processor, those of their own included."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
