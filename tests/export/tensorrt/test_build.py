"""Engines: TensorRT-RTX's own builder, and the classic one against the names of three releases."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.onnx.byte_ports import floats_inside
from fdikp_edge.export.targets import BuildResult, get_target
from fdikp_edge.export.tensorrt import build as tensorrt
from fdikp_edge.export.tensorrt.log import KEPT_BYTES, condensed, out_of_memory, warnings_in
from fdikp_edge.export.tensorrt.worker import Request
from fdikp_edge.runtime.errors import BadInputError, LoweringError, TargetUnavailableError
from fdikp_edge.runtime.tensorrt import cuda_library
from fdikp_edge.runtime.tensorrt.cuda import open_cuda
from fdikp_edge.runtime.tensorrt.engines import EngineFacts
from onnx import TensorProto, helper
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "runtime" / "helpers"))

from fake_cuda import fake_cudart

pytest.importorskip("polygraphy", reason="building engines needs polygraphy")
RUNTIME = Path(__file__).parents[2] / "runtime"
SHAPES = {path.stem: path for path in (RUNTIME / "tensorrt_api").glob("*.json")}


@pytest.fixture(scope="module")
def table(lowered: LoweredModel) -> CalibrationTable:
    return calibrate(lowered)


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def built(
    request: pytest.FixtureRequest,
    lowered: LoweredModel,
    table: CalibrationTable,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, BuildResult]:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    folder = tmp_path_factory.mktemp("rtx")
    row = get_target("tensorrt-rtx:capabilities=8.9")
    return request.param, folder, row.build(lowered.lowered, request.param, folder, table=table)


@pytest.fixture(scope="module")
def transforms(network: nn.Module) -> LoweredModel:
    """A program whose transforms are left to the runtime."""
    return lower_model(network, (16, 32), name="fourier-net", plan={"*": "native"})


class TestRtx:
    """The real builder, for one compute capability: some seconds each."""

    def test_files(self, built: tuple[str, Path, BuildResult]) -> None:
        precision, folder, result = built
        layers = [] if precision == "fp32" else ["layers.json"]
        assert sorted(entry.name for entry in folder.iterdir()) == [
            "build.log",
            "engine.json",
            *layers,
            "model.engine",
            "model.onnx",
        ]
        assert (folder / "model.engine").read_bytes()[:4] == b"vtrt"
        facts = EngineFacts.from_json((folder / "engine.json").read_bytes())
        assert (facts.product, facts.capabilities, facts.typing) == ("tensorrt-rtx", ((8, 9),), "strong")
        assert result.toolchain["tensorrt-rtx"] == facts.version
        log = (folder / "build.log").read_text(encoding="utf-8")
        assert "STRONGLY_TYPED" in log and "TF32" not in log
        assert str(folder) not in log and "site-packages" not in log
        assert "Profiling Verbosity    | ProfilingVerbosity.DETAILED" in log and "LayerType" not in log

    def test_notes_name_the_layers_in_float_and_why(self, built: tuple[str, Path, BuildResult]) -> None:
        precision, folder, result = built
        notes = [note for note in result.notes if note.startswith("engine: ")]
        if precision == "fp32":
            assert notes == []
            return
        layers = json.loads((folder / "layers.json").read_bytes())["layers"]
        narrow = [layer for layer in layers if layer["narrow"]]
        assert notes[0].startswith(f"engine: {len(narrow)} of {len(layers)} layers compute in {precision}, ")
        assert all(bool(layer["reason"]) != layer["narrow"] for layer in layers)
        assert {reason for layer in layers if (reason := layer["reason"])} == {
            note.partition("): ")[2] for note in notes[1:]
        }

    def test_the_file_beside_is_in_the_precision_of_the_engine(
        self, built: tuple[str, Path, BuildResult]
    ) -> None:
        precision, folder, _ = built
        graph = onnx.load(folder / "model.onnx").graph
        kinds = {tensor.data_type for tensor in graph.initializer}
        operators = {node.op_type for node in graph.node}
        assert (TensorProto.FLOAT16 in kinds) == (precision != "fp32")
        assert ("QuantizeLinear" in operators) == (precision == "int8")
        zeros = [t for t in graph.initializer if t.name.endswith("_zero")]
        assert all(not any(onnx.numpy_helper.to_array(t).reshape(-1)) for t in zeros)


def test_bytes_in_and_out(lowered_bytes: LoweredModel, network: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    get_target("tensorrt-rtx:capabilities=8.9").build(lowered_bytes.lowered, "fp32", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    touching = [n.op_type for n in model.graph.node if {"image", "output"} & {*n.input, *n.output}]
    assert touching == ["Cast", "Cast"], "TensorRT computes nothing else on bytes"
    x = np.random.default_rng(3).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": x})
    with torch.no_grad():
        pixels = torch.from_numpy(x).permute(0, 3, 1, 2) / 255
        expected = (network(pixels)[-1] * 255).clamp(0, 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(output.astype(int) - expected).max() <= 1
    assert output.dtype == np.uint8 and not floats_inside(model), "nothing is left to move"


class TestRefusals:
    """What goes wrong in the builder, by the real one where it can be made to."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
        save(tmp_path, "Neg", "model.head")
        return tmp_path

    def run(self, folder: Path, **changes: Any) -> Any:
        asked = {"capabilities": ((8, 6),), **changes}
        return tensorrt._run(Request("tensorrt-rtx", "", "", "fp32", **asked), folder, {})

    def test_a_refused_operator_is_named_with_its_module(self, folder: Path) -> None:
        save(folder, "Bernoulli", "model.body.2.noise")
        with pytest.raises(
            LoweringError, match=r"parser refused Bernoulli one in model\.body\.2\.noise: UNSUPPORTED_NODE"
        ):
            self.run(folder)
        assert not (folder / "model.engine").exists()

    def test_a_processor_that_it_does_not_build_for(self, folder: Path) -> None:
        with pytest.raises(BadInputError, match=r"9\.0 .*not supported"):
            self.run(folder, capabilities=((9, 0),))

    def test_weak_typing_is_not_there(self, folder: Path) -> None:
        with pytest.raises(TargetUnavailableError, match="has no weak typing"):
            self.run(folder, weak=True)

    def test_a_place_that_cannot_hold_the_engine(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        limited(monkeypatch, "ulimit -f 64")
        with pytest.raises(OSError, match=r"File too large.*model\.engine"):
            self.run(folder)

    @pytest.mark.parametrize("how", ["kill -9 $$", "echo 'std::bad_alloc' >&2; exit 134"])
    def test_memory_runs_out(self, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        monkeypatch.setattr(tensorrt, "WORKER", ("sh", "-c", how))
        with pytest.raises(TargetUnavailableError, match="out of memory"):
            self.run(folder)

    def test_a_builder_that_hangs(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt, "WORKER", ("sh", "-c", "exec sleep 60"))
        monkeypatch.setattr(tensorrt, "MAX_SECONDS", 0.1)
        with pytest.raises(TargetUnavailableError, match="did not finish building"):
            self.run(folder)

    def test_a_builder_that_dies_otherwise(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt, "WORKER", ("sh", "-c", "echo '[E] no kernel for node one'; exit 7"))
        with pytest.raises(
            LoweringError,
            match=r"could not build the engine: \[E\] no kernel for node one \(in model\.head\)",
        ):
            self.run(folder)


class TestClassic:
    """The classic builder: recorded names of three releases, none of which can be called where it is gone."""

    @pytest.fixture(autouse=True)
    def device(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """A machine with a GPU of compute capability 8.7 and a home of its own."""
        monkeypatch.setattr(cuda_library, "candidates", lambda: iter([fake_cudart()._name]))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.syspath_prepend(RUNTIME / "fake_tensorrt")
        monkeypatch.setenv("PYTHONPATH", str(RUNTIME / "fake_tensorrt"))
        open_cuda.cache_clear()
        yield
        open_cuda.cache_clear()

    def build(
        self,
        monkeypatch: pytest.MonkeyPatch,
        release: str,
        spec: str,
        lowered: LoweredModel,
        precision: str,
        table: CalibrationTable,
        folder: Path,
    ) -> tuple[dict[str, Any], onnx.ModelProto]:
        """Build, and return what the builder was asked for and the ONNX file it was given."""
        monkeypatch.setenv("FAKE_TENSORRT", str(SHAPES[release]))
        folder.mkdir()
        result = get_target(spec).build(lowered.lowered, precision, folder, table=table)
        note, _, given = (folder / result.model_file).read_bytes().partition(b"\n")
        assert given == (folder / "model.onnx").read_bytes()
        facts = EngineFacts.from_json((folder / "engine.json").read_bytes())
        assert (facts.version, facts.capabilities) == (release, ((8, 7),))
        return json.loads(note), onnx.load_from_string(given)

    @pytest.mark.parametrize("release", SHAPES)
    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_strongly_typed_without_flags(
        self,
        release: str,
        precision: str,
        lowered: LoweredModel,
        table: CalibrationTable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        note, model = self.build(
            monkeypatch, release, "tensorrt", lowered, precision, table, tmp_path / "out"
        )
        assert note["strong"] and note["flags"] == [] and note["calibration"] == ""
        operators = {node.op_type for node in model.graph.node}
        assert ("QuantizeLinear" in operators) == (precision == "int8")
        assert list((tmp_path / "cache").rglob("timing-8.7.cache"))

    @pytest.mark.parametrize("release", ["10.3.0", "10.13.3"])
    def test_weakly_typed_with_flags_and_our_ranges(
        self,
        release: str,
        lowered: LoweredModel,
        table: CalibrationTable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        spec = "tensorrt:typing=weak"
        note, model = self.build(monkeypatch, release, spec, lowered, "int8", table, tmp_path / "out")
        assert not note["strong"]
        assert {"FP16", "INT8"} <= set(note["flags"]) and "TF32" not in note["flags"]
        assert not {node.op_type for node in model.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
        header, *lines = note["calibration"].splitlines()
        assert header == "TRT-100-EntropyCalibration2"
        ranges = dict(line.split(": ") for line in lines)
        values = {name for node in model.graph.node for name in node.output} | {"image"}
        assert ranges and set(ranges) <= values
        section = table.section(lowered.lowered.key)
        assert len(ranges) == len(section.tensors)
        steps = {struct.unpack(">f", bytes.fromhex(bits))[0] for bits in ranges.values()}
        expected = {
            struct.unpack("f", struct.pack("f", table.scale(lowered.lowered.key, name)))[0]
            for name in section.tensors
        }
        assert steps == expected

    def test_weak_typing_where_it_is_gone_is_refused_in_words(
        self,
        lowered: LoweredModel,
        table: CalibrationTable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with pytest.raises(TargetUnavailableError, match=r"tensorrt 11\.4\.1 has no weak typing"):
            self.build(
                monkeypatch, "11.4.1", "tensorrt:typing=weak", lowered, "int8", table, tmp_path / "out"
            )

    def test_transforms_stay_where_tensorrt_has_them(
        self,
        transforms: LoweredModel,
        table: CalibrationTable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        spec = "tensorrt:transforms=native"
        assert get_target(spec).profile == "tensorrt-native"
        _, model = self.build(monkeypatch, "11.4.1", spec, transforms, "fp32", table, tmp_path / "out")
        assert "DFT" in {node.op_type for node in model.graph.node}
        with pytest.raises(TargetUnavailableError, match=r"tensorrt 10\.3\.0 has no transform of its own"):
            self.build(monkeypatch, "10.3.0", spec, transforms, "fp32", table, tmp_path / "old")
        with pytest.raises(LoweringError, match="DFT"):
            self.build(monkeypatch, "11.4.1", "tensorrt", transforms, "fp32", table, tmp_path / "products")

    def test_without_a_gpu_nothing_is_built(
        self, lowered: LoweredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAKE_CUDART", "no_driver")
        with pytest.raises(TargetUnavailableError, match=r"target tensorrt cannot be built here: no NVIDIA"):
            get_target("tensorrt").build(lowered.lowered, "fp32", tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_long_log_keeps_both_ends_and_no_paths(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first /here/x\n" + "y\n" * KEPT_BYTES * 2 + "last\x1b[31m\n[V] Loaded Module: trt\n")
    text = condensed(log, {"/here": "."})
    assert text.startswith("first ./x\n") and "last [31m" in text and "bytes left out" in text
    assert len(text) < 2 * KEPT_BYTES + 100 and "Loaded Module" not in text


def test_the_diary_of_the_compiler_is_left_out_and_the_words_of_who_died_are_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "[V] a\n    b\n[X] Layers:\n    Name: c\n    Name: d\n[I] e\n    f\n[X] g\nstd::bad_alloc\n"
    )
    assert condensed(log, {}) == "[V] a\n    b\n[I] e\n    f\nstd::bad_alloc\n"


def test_warnings_become_notes_once_each() -> None:
    log = "[V] x\n[W] Detected layernorm nodes in FP16.\n[W] odd\n[W] odd\n" + "".join(
        f"[W] {i}\n" for i in range(9)
    )
    notes = warnings_in(log, "TensorRT")
    assert "expected: " in notes[0] and notes[1] == "TensorRT warns: odd"
    assert notes[-1] == "TensorRT warns 6 times more; see build.log" and len(notes) == 6


def test_only_a_want_of_memory_is_called_that() -> None:
    assert out_of_memory(-9, "", "") and out_of_memory(1, "", "out of memory")
    assert not out_of_memory(1, "[E] unsupported", "the builder failed")


def save(folder: Path, operator: str, module: str) -> None:
    """Write an ONNX file of one node that says which module it came from."""
    node = helper.make_node(operator, ["image"], ["deblurred"], name="one")
    entry = node.metadata_props.add()
    entry.key, entry.value = "module", module
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8))
        for name in ("image", "deblurred")
    ]
    graph = helper.make_graph([node], "main", ports[:1], ports[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        folder / "model.onnx",
    )


def limited(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Have the worker run under one of the shell's limits."""
    command = f'{limit}; exec "$0" "$@"'
    monkeypatch.setattr(tensorrt, "WORKER", ("sh", "-c", command, *tensorrt.WORKER))
