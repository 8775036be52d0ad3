"""The file for the cuFFT plugin: TensorRT's own parser must look for the plugin, under its namespace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.tensorrt import plugin_file
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError, OutputError
from torch import nn

PLUGINS = Path(plugin_file.__file__).with_name("plugins")


@pytest.fixture(scope="module")
def artifact(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    lowered = lower_model(network, (16, 32), name="fourier-net", plan={"*": "custom-op"})
    return build_artifact(lowered, "onnx", "fp32", tmp_path_factory.mktemp("custom") / "artifact")


def searched(data: bytes) -> tuple[bool, list[str]]:
    """Whether TensorRT-RTX parsed a file, and the namespaces of node attributes that it looked under."""
    trt: Any = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    texts: list[str] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            texts.append(text)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parsed = trt.OnnxParser(network, log).parse(data)
    pattern = re.compile(r"node attribute namespace: .*pluginNamespace: (\S*)")
    return parsed, [match[1] for text in texts if (match := pattern.search(text))]


def test_the_parser_looks_for_the_plugin_and_not_at_a_function(artifact: Artifact, tmp_path: Path) -> None:
    assert searched(artifact.read("model.onnx")) == (True, []), "functions win over plugins"
    out = tmp_path / "plugin.onnx"
    command = [sys.executable, "-m", "fdikp_edge.export.tensorrt.plugin_file", artifact.path, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "2 plugin nodes" in done.stdout, done.stderr
    parsed, namespaces = searched(out.read_bytes())
    assert not parsed and set(namespaces) == {"fdikp_edge"}, "the plugin is not loaded here"
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2 and "exists" in again.stderr and "Traceback" not in again.stderr


def test_name_and_version_are_those_of_the_creators(artifact: Artifact, tmp_path: Path) -> None:
    assert plugin_file.write(artifact, tmp_path / "p.onnx") == 2
    model = onnx.load(tmp_path / "p.onnx")
    nodes = [node for node in model.graph.node if node.domain == "fdikp_edge"]
    source = (PLUGINS / "fft_plugin.cpp").read_text(encoding="utf-8")
    namespace, version = (
        re.search(rf'k{name} = "([^"]*)"', source)[1]  # type: ignore[index]
        for name in ("NAMESPACE", "VERSION")
    )
    assert len(nodes) == 2 and not model.functions
    for node in nodes:
        texts = {entry.name: entry.s.decode() for entry in node.attribute if entry.type == entry.STRING}
        assert texts == {"plugin_namespace": namespace, "plugin_version": version}
    with pytest.raises(OutputError):
        plugin_file.write(artifact, tmp_path / "p.onnx")


def test_an_artifact_without_such_operators_is_refused(network: nn.Module, tmp_path: Path) -> None:
    plain = build_artifact(lower_model(network, (16, 32)), "onnx", "fp32", tmp_path / "plain")
    with pytest.raises(BadInputError, match="no operator of the plugin"):
        plugin_file.write(plain, tmp_path / "p.onnx")
