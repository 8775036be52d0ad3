"""Every call of the classic path against NVIDIA's Python API as type stubs (``tensorrt-stubs``).

The code takes the module as a value of any type, since two products share it, so mypy sees nothing of it.
Here copies of the files name TensorRT's own types, and mypy reads those. The stubs must not be importable
where TensorRT is looked for, so they lie in a folder of their own:

    pip install --no-deps --target STUBS tensorrt-stubs==10.13.0.35.1
    FDIKP_EDGE_TENSORRT_STUBS=STUBS pytest tests/runtime/tensorrt/test_stubs.py
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[3] / "runtime"
STUBS = os.environ.get("FDIKP_EDGE_TENSORRT_STUBS", "")

pytestmark = pytest.mark.skipif(
    not STUBS, reason="FDIKP_EDGE_TENSORRT_STUBS names no folder with tensorrt-stubs"
)

TYPED = {
    r"\btrt: Any\b": "_trt: Any",
    r"\bnetwork: Any\b": "network: trt.INetworkDefinition",
    r"\bconfig: Any\b": "config: trt.IBuilderConfig",
    r"\bengine: Any\b": "engine: trt.ICudaEngine",
    r"_engine: Any = None": "_engine: trt.ICudaEngine",
    r"_context: Any = None": "_context: trt.IExecutionContext",
    r"\bself\._trt\.": "trt.",
    r"from \.\.(?=\w)": "from fdikp_edge.runtime.",
    r"from \.(?=\w)": "from fdikp_edge.runtime.device.",
    r"from \.\. import": "from fdikp_edge.runtime import",
    r"  # type: ignore\[.*?\]": "",
}
"""What the copies say instead."""

FILES = ("device/build.py", "device/build_log.py", "sessions/tensorrt_session.py")

OTHER_PRODUCT = {
    "num_compute_capabilities",
    "set_compute_capability",
    "ComputeCapability",
    "create_runtime_cache",
    "set_runtime_cache",
    "get_engine_validity",
    "engine_header_size",
    "EngineValidity",
}
"""Names of TensorRT-RTX alone, behind a feature."""

KNOWN = {
    'argument type "Dims"': "a sequence, which lists are made of; its stub does not say so",
    'of "get_batch"': "None ends the calibration, by NVIDIA's documentation of it",
}
"""Part of a line -> why it stays."""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stubs, with any arguments for the functions whose signature there is no Python."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("tensorrt", "tensorrt_bindings"):
        shutil.copytree(Path(STUBS) / name, folder / name)
    file = folder / "tensorrt_bindings" / "tensorrt.pyi"
    lines = [_mended(line) for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("\n".join(lines), encoding="utf-8")
    return folder


def _mended(line: str) -> str:
    match = re.match(r"(\s*def \w+)\(.*:$", line)
    if match is None:
        return line
    try:
        ast.parse(f"{line.strip()} ...")
    except SyntaxError:
        return f"{match[1]}(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:"
    return line


def problems(stubs: Path, folder: Path, *, mistake: tuple[str, str] = ("", "")) -> list[str]:
    """What mypy says of the calls of TensorRT in copies of the files."""
    for name in FILES:
        text = (RUNTIME / name).read_text(encoding="utf-8")
        for pattern, replacement in TYPED.items():
            text = re.sub(pattern, replacement, text)
        if mistake[0]:
            text = text.replace(*mistake)
        text = text.replace("import annotations\n", "import annotations\n\nimport tensorrt as trt\n", 1)
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--ignore-missing-imports"]
    command += [
        "--follow-imports=silent",
        "--check-untyped-defs",
        "--no-error-summary",
        "--no-warn-no-return",
    ]
    done = subprocess.run(
        [*command, *(Path(name).name for name in FILES)],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.stderr, done.stderr
    ours = tuple(f"{Path(name).name}:" for name in FILES)  # what the stubs are at fault for is left out
    lines = [line for line in done.stdout.splitlines() if ": error: " in line and line.startswith(ours)]
    lines = [line for line in lines if not any(part in line for part in KNOWN)]
    return [line for line in lines if not OTHER_PRODUCT & set(re.findall(r'"(\w+)"', line))]


def test_every_call_is_one_that_tensorrt_has(stubs: Path, tmp_path: Path) -> None:
    assert problems(stubs, tmp_path) == []


@pytest.mark.parametrize(
    ("mistake", "word"),
    [
        (("config.clear_flag(", "config.clear_flags("), "clear_flags"),
        (("MemoryPoolType.WORKSPACE,", "DataType.FLOAT,"), "incompatible type"),
        (("builder.create_network(flags)", "builder.create_network(flags, 1)"), "Too many arguments"),
        (("engine.get_tensor_name(i)", "engine.get_binding_name(i)"), "get_binding_name"),
    ],
)
def test_a_wrong_call_is_noticed(mistake: tuple[str, str], word: str, stubs: Path, tmp_path: Path) -> None:
    assert any(word in line for line in problems(stubs, tmp_path, mistake=mistake))
