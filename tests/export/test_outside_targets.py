"""A target that another installed package provides goes through every command; a broken one stops no other.

The package is `tests/toy_target`, installed into a folder of its own, which is on the path of the programs
that the tests start. Nothing in this tree names it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("setuptools", reason="building the package needs setuptools")
TOY = Path(__file__).resolve().parent.parent / "toy_target"
NETWORK = '''
import torch
from torch import nn


class Network(nn.Module):
    """Raises high frequencies: small, so that the commands are what takes time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gain = nn.Parameter(torch.rand(3, 64, 49))

    def forward(self, image):
        spectrum = torch.fft.rfft2(image, norm="ortho")
        return image + 0.1 * torch.fft.irfft2(spectrum * self.gain, s=image.shape[-2:], norm="ortho")


def network():
    from fdikp_edge.models.sources import NetworkSource, TensorSpec

    image = TensorSpec("image", (1, 3, 64, 96), layout="NCHW", color="RGB")
    return NetworkSource(name="net", spec="net.py:network", load=lambda: Network().eval(), inputs=(image,))
'''
MODEL = ("--model", "net.py:network")
SMALL = (*MODEL, "--precision", "fp32", "--size", "64x96", "--threads", 1)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def install(source: Path, site: Path) -> None:
    """Install a package from a copy of its source, so that no build folder appears in the tree."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    done = subprocess.run(
        [*command, "--target", str(site), str(source)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def fdikp_edge(folder: Path, site: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run `fdikp-edge ARGS` in ``folder`` as a program of its own, with ``site`` on its path."""
    return subprocess.run(
        [sys.executable, "-m", "fdikp_edge.cli", *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the toy is installed in."""
    folder = tmp_path_factory.mktemp("toy")
    install(shutil.copytree(TOY, folder / "source"), folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def deployed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `deploy` made for the toy, in `out`."""
    pytest.importorskip("onnxscript", reason="building needs the export extra")
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "net.py").write_text(NETWORK, encoding="utf-8")
    deploy = ("deploy", *SMALL, "--target", "toy", "--runs", 3, "--seconds", 1, "--out", "out", "--json")
    done = fdikp_edge(folder, toy, *deploy)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(toy: Path, deployed: Path) -> Run:
    """Run a command beside the deployed artifact."""

    def command(*args: object) -> Any:
        done = fdikp_edge(deployed, toy, *args)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return command


ARTIFACT = "out/net-toy-fp32-64x96"


def test_deploy_builds_verifies_times_and_deblurs(deployed: Path) -> None:
    (row,) = json.loads((deployed / "out/report.json").read_text(encoding="utf-8"))["artifacts"]
    assert (row["target"], row["state"]) == ("toy", "verified"), row["reason"]
    assert row["session"]["runtime"] == "Toy Runtime"
    assert row["parity"]["psnr_db"] > 100 and row["latency_ms"]["p50"] > 0
    assert (deployed / ARTIFACT / "network.toy").stat().st_size > 1000
    assert (deployed / "out/results/net-toy-fp32-64x96.png").exists()


def test_the_report_is_written_and_merged(deployed: Path, run: Run) -> None:
    assert "toy" in (deployed / "out/report.html").read_text(encoding="utf-8")
    done = run("report", "merge", "out", "out", "--name", "a", "--name", "b", "--out", "merged", "--json")
    assert done.returncode == 0, done.stderr
    assert {group["target"] for group in json.loads(done.stdout)["comparison"]} == {"toy"}


def test_inspect(run: Run) -> None:
    done = run("inspect", ARTIFACT, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    passport = shown.get("passport", shown)
    assert passport["target"] == "toy" and "built by a toy" in passport["notes"]


def test_verify(run: Run) -> None:
    done = run("verify", ARTIFACT, *MODEL, "--threads", 1, "--no-save")
    assert done.returncode == 0, done.stdout + done.stderr


def test_bench(run: Run) -> None:
    done = run("bench", ARTIFACT, *MODEL, "--runs", 3, "--seconds", 1, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert "Toy Runtime" in done.stdout


def test_gate(run: Run) -> None:
    baseline = ("gate", "out", "--baseline", "baseline.json")
    done = run(*baseline, "--update", "--reason", "first", "--threads", 1)
    assert done.returncode == 0, done.stderr
    done = run(*baseline, "--threads", 1, "--seconds", 2, "--clock", "cpu", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {check["name"]: check["outcome"] for check in json.loads(done.stdout)["checks"]}
    assert outcomes["picture"] == "passed" and outcomes["memory"] == "passed", outcomes


def test_what_cannot_be_done_with_it_is_said(run: Run) -> None:
    done = run("bundle", ARTIFACT, "--out", "toy.bundle")
    assert done.returncode == 2 and "is for target toy" in done.stderr
    done = run("bisect", ARTIFACT, *MODEL)
    assert done.returncode == 2 and "toy: its models cannot be cut into parts" in done.stderr


def test_a_machine_without_the_package_says_so(deployed: Path) -> None:
    empty = deployed / "empty"
    empty.mkdir(exist_ok=True)
    done = fdikp_edge(deployed, empty, "verify", ARTIFACT, "--no-save")
    assert done.returncode == 2 and "nothing installed here runs the target 'toy'" in done.stderr
    done = fdikp_edge(deployed, empty, "inspect", ARTIFACT)
    assert done.returncode == 0, done.stderr


def test_doctor_lists_it_with_its_packages(toy: Path, tmp_path: Path) -> None:
    done = fdikp_edge(tmp_path, toy, "doctor", "--json")
    facts = json.loads(done.stdout)
    (row,) = (target for target in facts["targets"] if target["name"] == "toy")
    assert row["can_run"] and row["run_remark"] == "by a toy"
    assert {"name": "toy-target", "version": "1.2.3", "extra": "", "for": "the toy runtime"} in facts[
        "packages"
    ]
    assert facts["problems"] == []


def test_an_unknown_name_lists_it_without_importing_it(toy: Path, tmp_path: Path) -> None:
    done = fdikp_edge(tmp_path, toy, "export", "--target", "tyo", "--out", "out")
    assert done.returncode == 2 and done.stderr.rstrip().endswith(", toy")
    code = (
        "import sys; from fdikp_edge.export.targets import get_target, all_targets; get_target('onnx')\n"
        "print('toy_target' in sys.modules); print(list(all_targets())[-1]); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(toy)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["False", "toy", "False"], done.stderr


BROKEN: Mapping[str, tuple[str, str, str]] = {
    "the import fails": ("bad", "import no_such_library\nROW = None", "ModuleNotFoundError"),
    "no such name": ("bad", "", "AttributeError"),
    "another type": ("bad", "ROW = 'a row'", "type str, not Target"),
    "a name in use": (
        "onnx",
        "from toy_target.target import TOY as ROW",
        "a target of fdikp-edge has this name",
    ),
    "another name": ("bad", "from toy_target.target import TOY as ROW", "the name 'toy'"),
    "provided twice": ("toy", "from toy_target.target import TOY as ROW", "uninstall all but one"),
    "a bad row": (
        "bad",
        "import dataclasses\nfrom toy_target.target import TOY\n"
        "ROW = dataclasses.replace(TOY, name='bad', precisions=('fp8',))",
        "no precision is called fp8",
    ),
    "a profile in use": (
        "bad",
        "import dataclasses\nfrom toy_target.target import TOY\n"
        "ROW = dataclasses.replace(TOY, name='bad', costs=dataclasses.replace(TOY.costs, name='onnx'))",
        "cost profile is called 'onnx'",
    ),
}


@pytest.fixture
def broken(toy: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of the toy's folder with a package beside it that is broken in the way asked for."""

    def make(case: str) -> Path:
        name, code, _ = BROKEN[case]
        site = shutil.copytree(toy, tmp_path / "site")
        (site / "broken_target.py").write_text(code, encoding="utf-8")
        facts = site / "broken_target-0.1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-target\nVersion: 0.1\n")
        (facts / "entry_points.txt").write_text(f"[fdikp_edge.targets]\n{name} = broken_target:ROW\n")
        return site

    return make


LOOK = """
import json, sys, warnings
from fdikp_edge.export.targets import get_target, read_targets, select
from fdikp_edge.runtime.errors import FdikpEdgeError
rows, problems = read_targets()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    pairs = select(["all"], ["fp32"])
try:
    asked = get_target(sys.argv[1]).builder
except FdikpEdgeError as error:
    asked = f"{type(error).__name__}: {error}"
print(json.dumps({
    "rows": list(rows), "problems": problems, "pairs": [target.name for target, _ in pairs],
    "warnings": [f"{w.category.__name__}: {w.message}" for w in seen], "asked": asked,
}))
"""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_named_and_stops_no_other_target(
    case: str, broken: Callable[[str], Path]
) -> None:
    name, _, reason = BROKEN[case]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, name],
        env={**os.environ, "PYTHONPATH": str(broken(case))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (problem,), (warning,) = answer["problems"], answer["warnings"]
    assert "broken-target 0.1" in problem and reason in problem
    assert warning == f"ExtensionWarning: {problem}"
    assert "onnx" in answer["rows"] and ("toy" in answer["rows"]) is (name != "toy")
    assert "bad" not in answer["rows"] and answer["pairs"] == answer["rows"]
    # The project's own target is built, whoever takes its name.
    assert answer["asked"] == (".onnx.build:build" if name == "onnx" else f"ExtensionError: {problem}")


def test_a_broken_package_is_shown(broken: Callable[[str], Path], tmp_path: Path) -> None:
    site = broken("the import fails")
    done = fdikp_edge(tmp_path, site, "doctor")
    assert done.returncode == 0, done.stderr
    assert "broken-target 0.1" in " ".join(done.stdout.split()) and "no_such_library" in done.stdout
    done = fdikp_edge(tmp_path, site, "export", "--target", "bad", "--out", "out")
    assert done.returncode == 2 and "broken-target 0.1" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [site]
