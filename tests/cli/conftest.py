"""The command line as a user runs it, and a small artifact that needs neither torch nor time."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.cli.main import app
from fdikp_edge.runtime.artifact import ArtifactWriter
from fdikp_edge.runtime.passport import Passport, TensorContract

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run `fdikp-edge ARGS` in an empty folder, inside this process: libraries are then loaded once."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        words = [str(arg) for arg in args]
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            app(words, prog_name="fdikp-edge")
        shown = capfd.readouterr()
        code = leaving.value.code
        return subprocess.CompletedProcess(words, code if isinstance(code, int) else 0, shown.out, shown.err)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Cli:
    """Run `fdikp-edge ARGS` in an empty folder as a program of its own."""

    def run(
        *args: object, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fdikp_edge.cli", *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def make_artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make an artifact whose network halves its input; `golden` is the factor its passport claims."""
    onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")
    from onnx import TensorProto, helper

    def make(golden: float | None = None, size: tuple[int, int] = (64, 64)) -> Path:
        shape = (1, 3, *size)
        graph = helper.make_graph(
            [helper.make_node("Mul", ["image", "half"], ["deblurred"])],
            "half",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("deblurred", TensorProto.FLOAT, shape)],
            [helper.make_tensor("half", TensorProto.FLOAT, (), [0.5])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        ports = [
            TensorContract(
                name=name, shape=shape, dtype="float32", layout="NCHW", value_range=(0, 1), color_space="sRGB"
            )
            for name in ("image", "deblurred")
        ]
        with ArtifactWriter(tmp_path_factory.mktemp("artifacts") / "half") as writer:
            onnx.save(model, writer.folder / "model.onnx")
            names = None
            if golden is not None:
                image = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
                names = {"inputs": ["in.npy"], "outputs": ["out.npy"]}
                np.save(writer.folder / "in.npy", image)
                np.save(writer.folder / "out.npy", image * np.float32(golden))
            artifact = writer.commit(
                Passport(
                    model="half",
                    weights_sha256="a" * 64,
                    program_sha256="b" * 64,
                    target="onnx",
                    precision="fp32",
                    plan=[
                        {
                            "site": "body.fft",
                            "lengths": [8, 8],
                            "predicted_us": {"flat": 1.5},
                            "declined": {"window": "a window of 300 points"},
                        }
                    ],
                    inputs=(ports[0],),
                    outputs=(ports[1],),
                    model_file="model.onnx",
                    golden=names,
                    reason="not verified yet",
                )
            )
        return artifact.path

    return make


@pytest.fixture(scope="session")
def artifact(make_artifact: Callable[..., Path]) -> Path:
    """An artifact that halves its input, without a recorded photograph."""
    return make_artifact()
