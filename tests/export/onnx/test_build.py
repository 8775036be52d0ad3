"""The onnx target: what is in the file, read with the onnx package, and what ONNX Runtime makes of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.onnx import checks as onnx_checks
from fdikp_edge.export.onnx import simplify
from fdikp_edge.export.onnx import storage as onnx_storage
from fdikp_edge.export.targets import BuildResult
from fdikp_edge.runtime.errors import LoweringError
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

PROVENANCE = {"model": "fourier-net", "plan": "by hand"}


@pytest.fixture(scope="module")
def built(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    folder = tmp_path_factory.mktemp("onnx")
    return folder, target.build(lowered.lowered, "fp32", folder, provenance=PROVENANCE)


@pytest.fixture
def model(built: tuple[Path, BuildResult]) -> onnx.ModelProto:
    return onnx.load(built[0] / built[1].model_file)


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = ort.InferenceSession(path).run(["output"], {"image": x})[0]
    return result


def test_one_file_with_named_static_ports(built: tuple[Path, BuildResult], model: onnx.ModelProto) -> None:
    assert [entry.name for entry in built[0].iterdir()] == ["model.onnx"]
    for ports, name in ((model.graph.input, "image"), (model.graph.output, "output")):
        (port,) = ports
        assert port.name == name
        assert [d.dim_value for d in port.type.tensor_type.shape.dim] == [1, 3, 24, 40]
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT


def test_opset_and_ir_are_those_of_the_oldest_runtime(model: onnx.ModelProto) -> None:
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert model.ir_version == 10
    onnx.checker.check_model(model, full_check=True)


def test_nothing_of_the_transforms_is_left(built: tuple[Path, BuildResult], model: onnx.ModelProto) -> None:
    types = {node.op_type for node in model.graph.node}
    assert not types & {
        "DFT",
        "STFT",
        "Loop",
        "If",
        "Scan",
        "Cos",
        "Sin",
        "Range",
        "Shape",
        "ConstantOfShape",
    }
    assert {"MatMul", "Conv"} <= types
    assert not model.functions
    assert onnx_storage.restore(model) == 4  # matrices of the transforms, stored in fewer bytes
    assert not onnx_checks.constant_nodes(model)
    (note,) = built[1].notes
    assert note.startswith("storage: ") and "4 as a table" in note


def test_every_shape_in_between_is_fixed(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert {o for n in model.graph.node for o in n.output} <= {
        info.name for info in (*inferred.graph.value_info, *inferred.graph.output)
    }
    for info in inferred.graph.value_info:
        assert all(d.WhichOneof("value") == "dim_value" for d in info.type.tensor_type.shape.dim), info.name


def test_the_census_counts_the_file(built: tuple[Path, BuildResult], model: onnx.ModelProto) -> None:
    assert sum(built[1].census.values()) == len(model.graph.node)
    assert built[1].census["Conv"] == sum(node.op_type == "Conv" for node in model.graph.node)
    onnx_storage.restore(model)
    assert built[1].precisions == {"float": len(model.graph.node)}


def test_provenance_travels_in_the_file(lowered: LoweredModel, model: onnx.ModelProto) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["fdikp_edge.model"] == "fourier-net"
    assert metadata["fdikp_edge.plan"] == "by hand"
    assert metadata["fdikp_edge.precision"] == "fp32"
    assert metadata["fdikp_edge.program_sha256"] == lowered.lowered.sha256
    assert f"torch {torch.__version__}" in metadata["fdikp_edge.toolchain"]
    assert model.producer_name == "fdikp-edge"


def test_nodes_know_their_module_and_nothing_of_this_machine(
    built: tuple[Path, BuildResult], model: onnx.ModelProto
) -> None:
    paths = [
        entry.value for node in model.graph.node for entry in node.metadata_props if entry.key == "module"
    ]
    assert {"model.head", "model.tail"} <= set(paths)
    computing = len(model.graph.node) - len(onnx_checks.constant_nodes(model))
    assert len(paths) > 0.8 * computing
    data = (built[0] / "model.onnx").read_bytes()
    for private in (str(Path(__file__).parent), str(Path(torch.__file__).parent), "stack_trace", "onnxsim."):
        assert private.encode() not in data


def test_the_file_computes_what_eager_does(built: tuple[Path, BuildResult], network: nn.Module) -> None:
    x = np.random.default_rng(3).random((1, 3, 24, 40), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x))[-1].numpy()
    assert np.abs(run(built[0] / "model.onnx", x) - expected).max() < 1e-5


def test_bytes_in_and_out(lowered_bytes: LoweredModel, network: nn.Module, tmp_path: Path) -> None:
    result = target.build(lowered_bytes.lowered, "fp32", tmp_path)
    x = np.random.default_rng(4).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
    with torch.no_grad():
        unit = network(torch.from_numpy(x).permute(0, 3, 1, 2) / 255)[-1]
    expected = np.rint(np.clip(unit.permute(0, 2, 3, 1).numpy() * 255, 0, 255))
    output = run(tmp_path / result.model_file, x)
    assert output.dtype == np.uint8
    assert np.abs(output - expected).max() <= 1
    assert (output != expected).mean() < 0.005


def test_equal_programs_give_equal_files_also_in_another_process(
    built: tuple[Path, BuildResult], lowered: LoweredModel, tmp_path: Path
) -> None:
    first = (built[0] / "model.onnx").read_bytes()
    target.build(lowered.lowered, "fp32", tmp_path, provenance=PROVENANCE)
    assert (tmp_path / "model.onnx").read_bytes() == first
    code = (
        "import sys, hashlib, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        "from conftest import FourierNet, SIZE\n"
        "from fdikp_edge.export import lower_model\n"
        "from fdikp_edge.export.onnx import build as onnx\n"
        "from fdikp_edge.export.openvino import build as openvino\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "model = lower_model(FourierNet().eval(), SIZE, name='fourier-net')\n"
        f"onnx.build(model.lowered, 'fp32', folder, provenance={PROVENANCE!r})\n"
        "openvino.build(model.lowered, 'fp32', folder)\n"
        "for name in ('model.onnx', 'model.xml', 'model.bin'):\n"
        "    print(hashlib.sha256((folder / name).read_bytes()).hexdigest())\n"
    )
    pytest.importorskip("openvino")
    from fdikp_edge.export.openvino import build as openvino_target

    openvino_target.build(lowered.lowered, "fp32", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "elsewhere")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = [
        hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()
        for n in ("model.onnx", "model.xml", "model.bin")
    ]
    assert done.stdout.split() == here


def test_several_inputs_and_outputs_have_their_names() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x + y, x - y

    program = torch.export.export(Two(), (torch.zeros(1), torch.zeros(1)))
    for names in (None, (("a", "b"), ("sum", "difference"))):
        model, _ = target.convert(program, names=names)
        ports = tuple(tuple(port.name for port in ports) for ports in (model.graph.input, model.graph.output))
        assert ports == (names or (("x", "y"), ("output_0", "output_1")))


def test_a_program_that_was_not_lowered_is_refused(network: nn.Module) -> None:
    program = torch.export.export(network, (torch.zeros(1, 3, 24, 40),))

    with pytest.raises(LoweringError):
        target.convert(program)


def planted(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (4, 4), **more: Any) -> onnx.ModelProto:
    """A valid model with these nodes from x to y."""
    graph = helper.make_graph(
        list(nodes),
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", more.pop("kind", TensorProto.FLOAT), more.pop("out", shape))],
        [numpy_helper.from_array(np.ones((4, 4), np.float32), "w"), *more.pop("tensors", [])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def branch(name: str, op: str) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node(op, ["x"], [name])],
        name,
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (4, 4))],
    )


def test_a_clean_model_passes() -> None:
    notes: list[str] = []
    onnx_checks.check(planted(helper.make_node("MatMul", ["x", "w"], ["y"])), notes)
    assert notes == []


def test_a_transform_is_refused_by_name() -> None:
    dft = helper.make_node("DFT", ["x"], ["y"], axis=1)
    with pytest.raises(LoweringError, match=r"1 DFT \(a Fourier transform\)"):
        onnx_checks.check(planted(dft, shape=(1, 8, 1), out=(1, 8, 2)), [])


def test_a_branch_is_refused_and_what_it_holds_is_seen() -> None:
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node(
        "If", ["yes"], ["y"], then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")
    )
    model = planted(node, tensors=[yes])
    assert onnx_checks.census(model) == {"If": 1, "Neg": 1, "Relu": 1}
    with pytest.raises(LoweringError, match=r"1 If \(control flow at run time\)"):
        onnx_checks.check(model, [])


def test_an_open_size_is_refused() -> None:
    with pytest.raises(LoweringError, match="size of 'x' is not fixed"):
        onnx_checks.check(planted(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 4)), [])


def test_a_complex_constant_is_refused() -> None:
    tensors = [numpy_helper.from_array(np.ones(2, np.complex64), "c")]
    with pytest.raises(LoweringError, match="complex values remain: c"):
        onnx_checks.check(planted(helper.make_node("Relu", ["x"], ["y"]), tensors=tensors), [])


def test_an_operator_outside_the_standard_is_refused() -> None:
    model = planted(helper.make_node("FFT", ["x"], ["y"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(LoweringError, match=r"com\.example::FFT"):
        onnx_checks.check(model, [])


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(LoweringError, match="not valid ONNX"):
        onnx_checks.check(planted(helper.make_node("Relu", ["nobody"], ["y"])), [])


def test_constants_computed_at_every_run_are_noted() -> None:
    notes: list[str] = []
    nodes = [
        helper.make_node("Cos", ["w"], ["c"]),
        helper.make_node("Neg", ["c"], ["n"]),
        helper.make_node("Add", ["x", "n"], ["y"]),
    ]
    onnx_checks.check(planted(*nodes), notes)
    assert notes == ["model.onnx: recomputes constants on every run: 1 Cos, 1 Neg"]


def test_a_simplified_model_that_does_harm_is_left_out() -> None:
    good = planted(helper.make_node("MatMul", ["x", "w"], ["y"]))
    other = planted(helper.make_node("Add", ["x", "w"], ["y"]))
    broken = planted(helper.make_node("MatMul", ["x", "nobody"], ["y"]))
    longer = planted(helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Neg", ["t"], ["y"]))
    large = planted(
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        tensors=[numpy_helper.from_array(np.zeros(2**19, np.float32), "big")],
    )
    assert simplify.harm(good, good) is None
    assert "changed the result" in str(simplify.harm(good, other))
    assert "not valid ONNX" in str(simplify.harm(good, broken))
    assert "made 2 nodes out of 1" in str(simplify.harm(good, longer))
    assert "MB out of" in str(simplify.harm(good, large))
