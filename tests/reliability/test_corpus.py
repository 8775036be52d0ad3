"""Damaged files for every reader, a few of each: typed errors or right results, in bounds of time and memory.

`make soak` runs the same harness for longer. A case that once failed stays here by its number.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import harness
import readers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")

CASES = 25
FAILED_ONCE = {
    "baseline": [2030, 2471],  # a memory limit that is no number was read as none
    "mlpackage": [2458],  # a manifest that names its model by a list
    "openvino artifact": [2145],  # a message of 5,000 bytes
    "onnx source": [2231],  # a name that is not UTF-8
    "error map": [24],  # an IndexError of Pillow
    "report": [10229],  # a latency beyond what an axis can hold
    "bundle": [23],  # a message of thousands of bytes
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Worker]:
    with harness.Worker(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.mark.parametrize("name", sorted(readers.readers().keys() - {"command lines, long"}))
def test_damaged_files(name: str, worker: harness.Worker) -> None:
    outcomes = list(worker.run(name, 1000, CASES))
    for case in FAILED_ONCE.get(name, ()):
        outcomes += worker.run(name, case, 1)
    faults = [str(outcome) for outcome in outcomes if outcome.kind in harness.FAULTS]
    assert not faults, "\n".join(faults)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["refused"], "the damage is never noticed: does it reach the file?"
