"""Look up every pinned package among known vulnerabilities, and say plainly where that could not be done.

    make audit

`pip-audit` exits with 0 when a registry knows nothing about a package, so that a machine without access to
PyPI's advisories looks clean. Here what was not looked up is counted, and said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600


def look_up(file: Path) -> list[dict[str, Any]] | str:
    """Return what pip-audit says of each pinned package, or in words why it says nothing."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    try:
        entries: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return words[-1][:300]
    return entries


def judge(entries: Sequence[Mapping[str, Any]] | str) -> tuple[list[str], int]:
    """Return the lines to print, and the exit code: 0 clean or not reachable, 1 a known vulnerability."""
    if isinstance(entries, str):
        return [f"audit: not reachable: {entries}"], 0
    skipped = [entry for entry in entries if "skip_reason" in entry]
    checked = len(entries) - len(skipped)
    lines = [
        f"audit: {entry['name']} {entry['version']}: {fault['id']}, fixed in "
        f"{', '.join(fault['fix_versions']) or 'no release'}"
        for entry in entries
        for fault in entry.get("vulns", ())
    ]
    code = 1 if lines else 0
    if not checked:
        why = skipped[0]["skip_reason"] if skipped else "no package was named"
        return [f"audit: not reachable: none of {len(entries)} packages could be looked up ({why})"], 0
    if skipped:
        lines.append(f"audit: {len(skipped)} not looked up: {', '.join(entry['name'] for entry in skipped)}")
    return [*lines, f"audit: {checked} packages looked up, {len(lines) - bool(skipped)} known faults"], code


def main() -> int:
    """Print what is known of the packages in ``constraints.txt``, or of another file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "constraints.txt")
    lines, code = judge(look_up(parser.parse_args().file))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
