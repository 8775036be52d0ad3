"""What a machine lacks is said, with what to install; nothing else stops working."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `fdikp-edge ARGS` in a Python that cannot import the modules named."""

    def run(modules: list[str], *args: object) -> subprocess.CompletedProcess[str]:
        script = (
            f"import sys; sys.modules.update(dict.fromkeys({modules!r}));"
            "from fdikp_edge.cli.main import run; run()"
        )
        command = [sys.executable, "-c", script, *map(str, args)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def test_tables(cli: Any) -> None:
    done = cli("doctor")
    assert done.returncode == 0, done.stderr
    for text in ("This machine", "Targets", "Packages", "onnxruntime", "OpenVINO IR"):
        assert text in done.stdout


def test_json(cli: Any) -> None:
    facts = json.loads(cli("doctor", "--json").stdout)
    assert facts["machine"]["threads"] >= 1
    onnx = next(target for target in facts["targets"] if target["name"] == "onnx")
    assert onnx["can_run"] is True and "fp32" in onnx["precisions"]
    coreml = next(target for target in facts["targets"] if target["name"] == "coreml")
    assert "reference interpreter" in coreml["run_remark"]


def test_a_bare_device(without: Any) -> None:
    facts = json.loads(without(["torch", "onnx", "openvino", "jinja2"], "doctor", "--json").stdout)
    targets = {target["name"]: target for target in facts["targets"]}
    assert targets["onnx"]["can_run"] is True and targets["onnx"]["can_build"] is False
    assert "torch is not installed" in targets["onnx"]["reason"]
    assert targets["openvino"]["can_run"] is False
    advice = " ".join(facts["advice"])
    assert "fdikp-edge[export]" in advice and "fdikp-edge[openvino]" in advice


def test_a_reason_that_several_targets_have_is_written_once(without: Any) -> None:
    shown = without(["torch", "onnx", "openvino", "jinja2"], "doctor").stdout
    targets = shown[shown.index("Targets") : shown.index("Packages")]
    for package in ("torch", "onnx"):
        assert targets.count(f"{package} is not installed") == 1
    assert targets.count("see (1)") >= 2 and "\n(1) torch is not installed" in targets


def test_a_bare_device_runs_artifacts(without: Any, make_artifact: Callable[..., Path]) -> None:
    from fdikp_edge.runtime.samples import sample_photo

    artifact = make_artifact(golden=0.5)
    bare = ["torch", "onnx", "onnxscript", "openvino", "jinja2", "safetensors"]
    for args in (
        ["deblur", sample_photo("chelsea"), "--artifact", artifact],
        ["inspect", artifact],
        ["verify", artifact],
        ["bench", artifact, "--runs", 3],
    ):
        done = without(bare, *args)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["deploy", "export"])
def test_building_without_torch_says_what_to_install(command: str, without: Any, tmp_path: Path) -> None:
    done = without(["torch"], command, "--out", "out")
    assert done.returncode == 2
    assert "torch" in done.stderr and 'pip install "fdikp-edge[export]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_target_alone_that_cannot_be_built(without: Any, tmp_path: Path) -> None:
    done = without(["openvino"], "export", "--target", "openvino", "--out", "out")
    assert done.returncode == 2
    assert 'pip install "fdikp-edge[openvino]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"flags": "sse2 avx2"}, ["no 8-bit dot product (VNNI)", "--target openvino:weights=7bit"]),
        ({"Features": "asimd"}, ["no 8-bit dot product (asimddp)"]),
        ({"flags": "sse2 avx2 avx_vnni"}, []),
        ({}, []),
    ],
)
def test_a_processor_without_an_8_bit_dot_product_is_named(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], words: list[str]
) -> None:
    from fdikp_edge.cli.commands.doctor import examine
    from fdikp_edge.runtime import processor

    monkeypatch.setattr(processor, "facts", lambda: facts)
    advice = [line for line in examine()["advice"] if "8-bit dot product" in line]
    assert len(advice) == bool(words)
    assert all(word in advice[0] for word in words)
