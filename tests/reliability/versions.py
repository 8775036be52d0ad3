"""Record what a set of tests did in this environment; print the matrix of all environments on record.

    python tests/reliability/versions.py run NAME [TEST ...]   # write build/versions/NAME.json; nox does this
    python tests/reliability/versions.py                       # print build/versions as Markdown
    python tests/reliability/versions.py --json                # the same, as JSON

The tests import every module, open and run artifacts of every runtime, read and refuse hostile files, read an
ONNX file as a network, and take an example through export and verification for each target and precision.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "build" / "versions"
PACKAGES = (
    *("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime", "openvino", "coremltools", "numpy", "pillow"),
    *("safetensors", "typer", "rich", "jinja2", "cryptography"),
)
TESTS = (
    "tests/test_imports.py::test_every_module_can_be_imported",
    "tests/test_deploy_examples.py::test_every_artifact_is_within_its_budget[restore_with_noise_map]",
    "tests/runtime/test_sessions.py",
    "tests/runtime/test_artifact.py",
    "tests/runtime/test_images.py",
    "tests/runtime/test_bad_images.py",
    "tests/runtime/test_onnx_nodes.py",
    "tests/runtime/test_samples.py",
    "tests/runtime/device/test_program.py",
    "tests/reliability/test_running.py",
    "tests/reliability/test_weights.py",
    "tests/cli/test_inspect.py",
    "tests/cli/test_signature.py",
)


def record(name: str, tests: list[str]) -> dict[str, Any]:
    """Run tests in this environment and return what they did, with the versions of what was installed."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}", *tests]
        began = time.monotonic()
        code = subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode
        seconds = time.monotonic() - began
        cases = [*ElementTree.parse(results).getroot().iter("testcase")] if results.exists() else []
    outcomes: dict[str, list[str]] = {"passed": [], "skipped": [], "failed": []}
    for case in cases:
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[outcome].append(f"{case.get('classname')}::{case.get('name')}")
    return {
        "name": name,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in PACKAGES},
        "exit_code": code,
        **{outcome: len(names) for outcome, names in outcomes.items()},
        "failures": outcomes["failed"],
        "seconds": round(seconds),
        "tests": tests,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def markdown(records: list[dict[str, Any]]) -> str:
    """Return the matrix as a table: a column for each environment, a row for each package and count."""
    rows = [["", *(entry["name"] for entry in records)], ["---"] * (len(records) + 1)]
    rows.append(["Python", *(entry["python"] for entry in records)])
    for package in PACKAGES:
        rows.append([package, *(entry["packages"].get(package) or "none" for entry in records)])
    for key in ("passed", "skipped", "failed"):
        rows.append([f"tests {key}", *(str(entry[key]) for entry in records)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Record this environment, or print those recorded; exit 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="run NAME [TEST ...]", help="record this environment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.words:
        if options.words[0] != "run" or len(options.words) < 2:
            parser.error("expected: run NAME [TEST ...]")
        _, name, *tests = options.words
        entry = record(name, tests or list(TESTS))
        RECORDS.mkdir(parents=True, exist_ok=True)
        (RECORDS / f"{name}.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
        records = [entry]
    else:
        files = sorted(RECORDS.glob("*.json"), key=_order)
        records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        if not records:
            parser.error(f"{RECORDS} has no record; run nox first")
    print(json.dumps(records, indent=1) if options.json else markdown(records))
    return 1 if any(entry["exit_code"] for entry in records) else 0


def _order(file: Path) -> tuple[str, int]:
    """`oldest` after `newest` by name, and 3.9 before 3.10."""
    kind, _, version = file.stem.partition("-")
    return kind, int("".join(filter(str.isdigit, version)) or 0)


if __name__ == "__main__":
    sys.exit(main())
