"""Constants in fewer bytes: what is chosen, and what ONNX Runtime and OpenVINO make of the files."""

from __future__ import annotations

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
from fdikp_edge.export.onnx import build as onnx_target
from fdikp_edge.export.onnx import checks as onnx_checks
from fdikp_edge.export.onnx import storage as onnx_storage
from fdikp_edge.export.openvino import build as openvino_target
from fdikp_edge.export.storage import LEAST_SAVED, Array, choose, describe
from fdikp_edge.export.targets import BuildResult
from fdikp_edge.runtime.errors import BadInputError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper
from torch import Tensor, nn

SIZE = (64, 64)
FLOATS = st.sampled_from([np.dtype(np.float32), np.dtype(np.float16)])
SHAPES = st.sampled_from([(4096,), (64, 64), (3, 512), (32, 16, 3, 3), (1, 8, 1, 256), (9000,)])


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@st.composite
def constants(draw: st.DrawFn) -> Array:
    """Arrays of one to some hundred different values, of any bits, or of as many as there are elements."""
    dtype, shape = draw(FLOATS), draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.sampled_from([1, 2, 3, 20, 256, 257, 700]))
    kind = draw(st.sampled_from(["whole", "signed zeros", "any bits", "drawn", "weights"]))
    if kind == "weights":
        with np.errstate(over="ignore"):
            return rng.normal(0, 10.0 ** draw(st.integers(-9, 6)), shape).astype(dtype)
    if kind == "whole":
        table = rng.integers(-130, 131, width).astype(dtype)
    elif kind == "signed zeros":
        table = np.array([0.0, -0.0, 1.0, -1.0], dtype)
    elif kind == "any bits":  # NaNs with payloads, infinities, subnormal numbers
        table = rng.integers(0, 256, width * dtype.itemsize).astype(np.uint8).view(dtype)
    else:
        wide = np.dtype(dtype).itemsize * 8
        table = draw(arrays(dtype, width, elements=st.floats(width=wide)))  # type: ignore[call-overload]
    picked: Array = table[rng.integers(0, len(table), shape)]
    return picked


@given(constants())
@settings(max_examples=300, deadline=None)
def test_what_is_stored_exactly_is_the_constant_to_the_bit(value: Array) -> None:
    stored = choose(value)
    if stored is None:
        return
    assert same_bits(stored.value(), value)
    parts = [stored.data.nbytes, 0 if stored.table is None else stored.table.nbytes]
    assert LEAST_SAVED <= stored.saved == value.nbytes - sum(parts)


def weights(*shape: int) -> Array:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def test_each_form_is_chosen_where_it_fits() -> None:
    angles = np.cos(2 * np.pi * np.outer(np.arange(64), np.arange(64)) / 64)
    chosen = {
        "same": np.zeros((1, 48, 32, 32), np.float32),
        "whole": np.eye(64, dtype=np.float32),
        "few": np.round(angles, 12).astype(np.float32),
    }
    for form, value in chosen.items():
        stored = choose(value)
        assert stored is not None and stored.form == form
        assert stored.data.nbytes <= value.nbytes / 4
    many = np.tile(np.linspace(0, 1, 1000, dtype=np.float32), 20)  # more than a byte can tell apart
    stored = choose(many)
    assert stored is not None and (stored.form, stored.data.dtype) == ("few", np.uint16)
    assert choose(weights(128, 64)) is None


def test_what_is_small_or_no_float_stays() -> None:
    assert choose(np.zeros(LEAST_SAVED // 4 - 1, np.float32)) is None
    assert choose(np.zeros(10**5, np.int64)) is None
    assert choose(np.zeros(10**5, np.float64)) is None
    assert choose(np.float32(0)) is None
    assert choose(np.zeros((0, 5), np.float32)) is None


def test_notes_say_what_was_done() -> None:
    stored = [choose(np.zeros((100, 100), np.float32)), choose(np.eye(100, dtype=np.float32))]
    (note,) = describe([entry for entry in stored if entry])
    assert note.startswith("storage: 70 kB ") and "(1 as one value, 1 as 8-bit integers" in note
    assert describe([]) == []


class Stores(nn.Module):
    """Something of each: windows with a filter, an identity of channels, an empty memory, a wide product."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 24, 3, padding=1)
            self.mix = nn.Conv2d(24, 24, 1)
            self.sense = nn.Linear(24, 256)
            self.gate = nn.Linear(256, 48)
            self.tail = nn.Conv2d(24, 3, 3, padding=1)
            self.copy = nn.Conv2d(48, 24, 1, bias=False)
            with torch.no_grad():
                self.copy.weight.copy_(torch.eye(24).repeat(1, 2)[:, :, None, None])
        self.register_buffer("memory", torch.zeros(1, 24, 64, 64))

    def forward(self, x: Tensor) -> Tensor:
        memory: Any = self.memory
        f = torch.relu(self.mix(torch.relu(self.head(x))))
        f = self.copy(torch.cat([f, memory], 1))
        z = torch.fft.rfft2(f, norm="ortho")
        gain = self.gate(torch.relu(self.sense(f.mean((2, 3))))).sigmoid()
        re, im = gain[:, :24, None, None] * z.real, gain[:, 24:, None, None] * z.imag
        f = f + torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")
        return x + 0.3 * self.tail(f)


@pytest.fixture(scope="module")
def models() -> dict[str, LoweredModel]:
    model = lower_model(Stores().eval(), SIZE, name="stores")
    return {name: model.for_profile(name) for name in ("onnx", "openvino")}


@pytest.fixture(scope="module")
def table(models: dict[str, LoweredModel]) -> CalibrationTable:
    return calibrate(list(models.values()), count=4)


@pytest.fixture
def picture() -> Array:
    return np.random.default_rng(1).random((1, 3, *SIZE), dtype=np.float32)


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Builders that store every constant as it is."""
    for target in (onnx_target, openvino_target):
        monkeypatch.setattr(target, "store", lambda model: [])
    yield monkeypatch


BUILDERS = {"onnx": onnx_target.build, "openvino": openvino_target.build}


def both(
    name: str,
    precision: str,
    models: dict[str, LoweredModel],
    table: CalibrationTable,
    folder: Path,
    patch: pytest.MonkeyPatch,
) -> tuple[tuple[Path, BuildResult], tuple[Path, BuildResult]]:
    """Build with every constant as it is (``patch`` sees to that), and then as it should be."""
    files = []
    for word in ("before", "after"):
        (folder / word).mkdir()
        result = BUILDERS[name](models[name].lowered, precision, folder / word, table=table)
        files.append((folder / word / result.model_file, result))
        patch.undo()
    return files[0], files[1]


def run(path: Path, x: Array) -> Array:
    if path.suffix == ".onnx":
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(path, options)
        result: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
        return result
    ov = pytest.importorskip("openvino")
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([x])[0])


def size(path: Path) -> int:
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_files_are_smaller_and_compute_the_same(
    name: str,
    precision: str,
    models: dict[str, LoweredModel],
    table: CalibrationTable,
    picture: Array,
    tmp_path: Path,
    as_it_was: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    (before, plain), (after, result) = both(name, precision, models, table, tmp_path, as_it_was)
    assert size(after) < (0.75 if precision == "fp16" else 0.5) * size(before)
    old, new = run(before, picture), run(after, picture)
    assert old.std() > 0.1 and np.array_equal(old, new)
    assert sum(note.startswith("storage: ") for note in result.notes) == 1
    assert result.precisions == plain.precisions  # what makes constants computes nothing in a call
    (tmp_path / "again").mkdir()
    BUILDERS[name](models[name].lowered, precision, tmp_path / "again", table=table)
    for file in after.parent.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_restored_file_has_every_constant_as_it_was(
    precision: str, models: dict[str, LoweredModel], table: CalibrationTable
) -> None:
    lowered = models["onnx"].lowered
    graph, _ = onnx_target.convert_to(lowered, precision, table, unsigned=True)
    before = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    nodes = [(node.op_type, *node.output) for node in graph.graph.node]
    stored = onnx_storage.store(graph)
    assert {"same", "few"} <= {entry.form for entry in stored}
    assert len(onnx_checks.constant_nodes(graph)) >= len(stored)
    assert onnx_storage.restore(graph) == len(stored)
    onnx.checker.check_model(graph, full_check=True)
    assert [(node.op_type, *node.output) for node in graph.graph.node] == nodes
    after = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    assert set(after) <= set(before)
    assert all(same_bits(value, before[name]) for name, value in after.items())
    assert {before[name].dtype.kind for name in set(before) - set(after)} <= {"i", "u"}  # equal integers
    assert onnx_storage.restore(graph) == 0


def test_what_a_runtimes_own_kernel_reads_is_left_alone() -> None:
    from fdikp_edge.export import lower

    class Filter(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(2 * torch.fft.rfft2(x), s=x.shape[-2:])

    lowered = lower(Filter(), (torch.zeros(1, 3, 64, 64),), plan={"*": "custom-op"})
    graph, _ = onnx_target.convert_to(lowered, "fp32", None, functions=True)
    assert any(node.domain for node in graph.graph.node)
    assert onnx_storage.store(graph) == []


@pytest.mark.parametrize(
    ("shape", "message"),
    [([2**20, 2**20], "too large"), ([-3, 5], "cannot be made"), ([70_000, 70_000], "too large")],
)
def test_a_hostile_constant_is_refused_before_it_takes_the_memory(shape: list[int], message: str) -> None:
    fill = helper.make_tensor("", onnx.TensorProto.FLOAT, [1], [0.0])
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["memory"], "memory/fill", value=fill),
            helper.make_node("Add", ["image", "memory"], ["deblurred"]),
        ],
        "main",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("deblurred", onnx.TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(shape, np.int64), "shape")],
    )
    with pytest.raises(BadInputError, match=message):
        onnx_storage.restore(helper.make_model(graph))


def test_results_that_are_constants_stay_results() -> None:
    ports = [("fixed", onnx.TensorProto.FLOAT, (1, 3, 32, 32)), ("shape", onnx.TensorProto.INT64, (4,))]
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, (3, 32, 32))
    twins = {name: np.array([1, 3, 32, 32]) for name in ("target", "shape")}  # equal integers
    constants = {"fixed": np.full((1, 3, 32, 32), 0.5, np.float32), **twins}
    node = onnx.helper.make_node("Reshape", ["image", "target"], ["deblurred"])
    graph = onnx.helper.make_graph(
        [node],
        "constant results",
        [image],
        [onnx.helper.make_tensor_value_info(*port) for port in (*ports, ("deblurred", *ports[0][1:]))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    assert len(onnx_storage.store(model)) == 1
    picture = np.zeros((3, 32, 32), np.float32)
    for step in (lambda: 1, lambda: onnx_storage.restore(model)):
        assert step() == 1
        onnx.checker.check_model(model, full_check=True)
        session = ort.InferenceSession(model.SerializeToString())
        fixed, shape, _ = session.run(None, {"image": picture})
        assert same_bits(fixed, constants["fixed"]) and same_bits(shape, constants["shape"])
