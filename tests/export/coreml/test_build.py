"""The coreml target: what is in the package, what it computes, and that `verify` notices a planted fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.parity import verify
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.coreml.activations import plain as plain_name
from fdikp_edge.export.coreml.precision import islands
from fdikp_edge.export.coreml.prepare import named_axes, prepare
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.spectral import lower
from fdikp_edge.models.fdikp.dsrm import LayerNorm2d
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, LoweringError
from fdikp_edge.runtime.mil import Package
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import open_session
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

pytest.importorskip("coremltools")

from fdikp_edge.export.coreml import build as target

Build = Callable[[str], Artifact]


@pytest.fixture(scope="module")
def model(network: nn.Module) -> LoweredModel:
    return lower_model(network, (24, 40), name="fourier-net", profile="coreml")


@pytest.fixture(scope="module")
def built(model: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("coreml")
    artifacts: dict[str, Artifact] = {}

    def of(precision: str) -> Artifact:
        if precision not in artifacts:
            artifacts[precision] = build_artifact(model, "coreml", precision, folder / precision)
        return artifacts[precision]

    return of


@pytest.mark.parametrize(("precision", "most"), [("fp32", 2e-6), ("fp16", 5e-3), ("int8", 2e-2)])
def test_computes_what_eager_does_within_the_budget(
    built: Build, model: LoweredModel, precision: str, most: float
) -> None:
    with open_session(built(precision)) as session:
        parity = verify(session, model.reference)
        assert session.caveat == "MIL reference interpreter, not Apple hardware"
        assert session.describe()["runtime"] == "MIL reference interpreter"
    assert parity.within_budget, parity.problems
    assert parity.max_abs < most


def test_precisions_differ_in_the_file(built: Build) -> None:
    censuses = {p: built(p).passport.precision_census for p in ("fp32", "fp16", "int8")}
    assert set(censuses["fp32"]) == {"float"}
    assert censuses["fp16"]["float16"] > 10
    sizes = {
        p: (built(p).model_path / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size for p in censuses
    }
    assert sizes["fp32"] > 1.7 * sizes["fp16"]
    package = Package.open(built("int8").model_path)
    eight = {o.outputs[0][0] for o in package.program.operations if o.type == "constexpr_affine_dequantize"}
    readers = {
        o.type for o in package.program.operations for name in o.inputs.get("weight", ()) if name in eight
    }
    assert readers == {"conv"}, "a transform, which is a linear layer here, is never quantised"
    assert not any("spectral" in name for name in eight)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_passport_claims_no_table_that_was_not_used(built: Build, precision: str) -> None:
    assert (built(precision).passport.calibration_sha256 is None) is (precision != "int8")


class Mixed(nn.Module):
    """Convolutions with what a converter fuses around them, and one on a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.mix = nn.Conv2d(32, 32, 1)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.head(x))
        z = torch.fft.rfft2(f, norm="ortho")
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        f = f + torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")
        return x + 0.3 * self.tail(f)


def test_int8_rounds_what_the_tables_convolutions_read(tmp_path: Path) -> None:
    model = lower_model(Mixed().eval(), (64, 64), name="mixed", profile="coreml")
    table = calibrate(model, count=2, least_work=0)
    layers = table.section(model.lowered.key).layers
    spectral = {layer.node: "on the spectrum" for layer in layers if layer.module.endswith("mix")}
    table = table.to_float(model.lowered.key, spectral)
    section = table.section(model.lowered.key)
    artifact = build_artifact(model, "coreml", "int8", tmp_path / "int8", table=table)
    assert artifact.passport.calibration_sha256 == table.sha256
    assert artifact.passport.precision_census["int8 layers"] == len(section.quantised()) == 2
    package = Package.open(artifact.model_path)
    producers = {o.outputs[0][0]: o for o in package.program.operations}
    pairs = [o for o in package.program.operations if o.type == "dequantize"]
    assert len(pairs) == 2 and all(producers[o.inputs["input"][0]].type == "quantize" for o in pairs)
    readers = [
        o
        for o in package.program.operations
        for x in o.inputs.get("x", ())
        if x in {p.outputs[0][0] for p in pairs}
    ]
    assert {o.type for o in readers} == {"conv"} and len(readers) == 2
    # Against an emulation that knows nothing of the package: inputs and weights of those layers rounded.
    x = choose(shipped_photos(), (64, 64), count=2, seed=3).arrays()[1]
    scales = {name: table.scale(model.lowered.key, name) for name in section.tensors}
    program = model.lowered.program
    expected, plain = Int8Runner(program, section.quantised(), scales)(x), Runner(program)(x)
    with open_session(artifact) as session:
        output = session.run(x)
    assert psnr_db(output, expected) > psnr_db(output, plain) + 3, "it is rounded as the table says"
    assert psnr_db(output, plain) > 40
    # With all layers in floats nothing but the weights is rounded.
    wide = table.to_float(model.lowered.key, {layer.node: "for the test" for layer in section.layers})
    other = build_artifact(model, "coreml", "int8", tmp_path / "wide", table=wide)
    assert "quantize" not in {o.type for o in Package.open(other.model_path).program.operations}


def test_int8_without_a_table_rounds_weights_alone_and_says_so(model: LoweredModel, tmp_path: Path) -> None:
    result = target.build(model.lowered, "int8", tmp_path)
    assert "quantize" not in result.census and any("weights only" in note for note in result.notes)


class SharedZeros(nn.Module):
    """The bias of a convolution is zero, like that of a normalisation: coremltools stores both as one."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.enter = nn.Conv2d(3, 128, 1, bias=False)
            self.folded, self.alone = nn.BatchNorm2d(128), nn.BatchNorm2d(128)
            self.leave = nn.Conv2d(128, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.folded(self.enter(x)))
        result: Tensor = x + self.leave(self.alone(torch.fft.fft2(f).real / 16))
        return result


def test_int8_of_a_constant_that_other_layers_read_too(tmp_path: Path) -> None:
    model = lower_model(SharedZeros().eval(), (16, 16), profile="coreml")
    artifact = build_artifact(model, "coreml", "int8", tmp_path / "int8")
    (name, x), (result, _) = (next(iter(entry.items())) for entry in artifact.golden())
    with open_session(artifact) as session:
        got = session.run({name: x})[result]
    wanted = model.reference(x)
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("conv2d_3_cast_fp16", "conv2d_3"),
        ("image_to_fp16", "image"),
        ("relu_1", "relu_1"),
        ("cat_cast_fp16_to_fp32", "cat"),
    ],
)
def test_names_of_values_without_casts(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_ports_metadata_and_target(built: Build, model: LoweredModel) -> None:
    package = Package.open(built("fp16").model_path)
    assert package.specification == 8  # iOS 17, macOS 14
    (source,), (result,) = package.inputs, package.outputs
    assert (source.name, source.shape, source.dtype) == ("image", (1, 3, 24, 40), "float32")
    assert (result.name, result.dtype) == ("output", "float32")
    assert package.metadata["fdikp_edge.program_sha256"] == model.lowered.sha256
    assert package.metadata["fdikp_edge.compute_units"] == "CPU_AND_NE"
    assert not any("date" in key for key in package.metadata)


def test_coremltools_loads_the_package(built: Build) -> None:
    import coremltools as ct

    with target.quiet():
        loaded = ct.models.MLModel(str(built("fp32").model_path), skip_model_load=True)
    assert loaded.get_spec().description.input[0].name == "image"


def test_the_same_bytes_every_time(built: Build, model: LoweredModel, tmp_path: Path) -> None:
    again = build_artifact(model, "coreml", "fp32", tmp_path / "again")
    before = {k: v for k, v in built("fp32").passport.files.items() if "mlpackage" in k}
    assert before == {k: v for k, v in again.passport.files.items() if "mlpackage" in k}


def test_images_in_and_out(network: nn.Module, tmp_path: Path) -> None:
    model = lower_model(network, (24, 40), name="fourier-net", profile="coreml", contract="uint8_nhwc")
    artifact = build_artifact(model, "coreml", "fp32", tmp_path / "images")
    package = Package.open(artifact.model_path)
    assert [(f.name, f.shape, f.colour) for f in (*package.inputs, *package.outputs)] == [
        ("image", (24, 40), "RGB"),
        ("output", (24, 40), "RGB"),
    ]
    with open_session(artifact) as session:
        assert verify(session, model.reference).within_budget
        x = np.random.default_rng(0).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
        output = session.run(x)
    assert output.dtype == np.uint8
    assert np.abs(output.astype(int) - model.reference(x).astype(int)).max() <= 1


def operations(spec: Any, kind: str) -> list[Any]:
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return [operation for operation in block.operations if operation.type == kind]


def constant(spec: Any, operation: Any, key: str) -> Any:
    name = operation.inputs[key].arguments[0].name
    return next(o for o in operations(spec, "const") if o.outputs[0].name == name).attributes["val"]


def one_constant(spec: Any, weights: bytearray) -> None:
    """One weight of one convolution, 0.25 more."""
    start = constant(spec, operations(spec, "conv")[0], "weight").blobFileValue.offset
    data = int.from_bytes(weights[start + 16 : start + 24], "little")
    changed = np.frombuffer(weights, np.float32, 1, data) + np.float32(0.25)
    weights[data : data + 4] = changed.tobytes()


def one_axis(spec: Any, weights: bytearray) -> None:
    """The products of a square transform from the other side: the matrix transposed, the other axis."""
    for product in operations(spec, "matmul"):
        flag = constant(spec, product, "transpose_x").immediateValue.tensor.bools
        rows = [d.constant.size for d in product.outputs[0].type.tensorType.dimensions]
        flag.values[0] = not flag.values[0]
        assert rows
        return
    for linear in operations(spec, "linear"):
        kind = constant(spec, linear, "weight").type.tensorType.dimensions
        assert len(kind) == 2
        kind[0].constant.size, kind[1].constant.size = kind[1].constant.size, kind[0].constant.size
        return


def padding(spec: Any, weights: bytearray) -> None:
    """A convolution that pads more above and less below."""
    pad = constant(spec, operations(spec, "conv")[0], "pad").immediateValue.tensor.ints
    assert list(pad.values) == [1, 1, 1, 1]
    pad.values[0], pad.values[1] = 2, 0


def altered(artifact: Artifact, dest: Path, change: Callable[[Any, bytearray], None]) -> Artifact:
    """The artifact with a fault in its package and a passport that vouches for it."""
    from coremltools.proto import Model_pb2

    with ArtifactWriter(dest) as writer:
        for name in artifact.passport.files:
            (writer.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / name, writer.folder / name)
        home = writer.folder / "model.mlpackage/Data/com.apple.CoreML"
        spec = Model_pb2.Model()
        spec.ParseFromString((home / "model.mlmodel").read_bytes())
        weights = bytearray((home / "weights/weight.bin").read_bytes())
        change(spec, weights)
        (home / "model.mlmodel").write_bytes(spec.SerializeToString())
        (home / "weights/weight.bin").write_bytes(weights)
        return writer.commit(artifact.passport)


@pytest.mark.parametrize("fault", [one_constant, one_axis, padding])
def test_verify_catches_a_planted_fault(
    built: Build, model: LoweredModel, tmp_path: Path, fault: Callable[[Any, bytearray], None]
) -> None:
    artifact = altered(built("fp32"), tmp_path / "fault", fault)
    try:
        with open_session(artifact) as session:
            problems = verify(session, model.reference).problems
    except ArtifactError as error:  # a fault that no longer fits together is caught earlier still
        problems = (str(error),)
    assert problems


def test_an_altered_package_without_a_passport_that_vouches_does_not_open(
    built: Build, tmp_path: Path
) -> None:
    shutil.copytree(built("fp32").path, tmp_path / "a")
    weights = tmp_path / "a/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match="was altered"):
        open_session(tmp_path / "a")


def test_a_package_that_is_not_what_the_passport_says(built: Build, tmp_path: Path) -> None:
    def rename(spec: Any, weights: bytearray) -> None:
        spec.description.input[0].name = "picture"

    artifact = altered(built("fp32"), tmp_path / "renamed", rename)
    with pytest.raises(ArtifactError, match="has the input"):
        open_session(artifact)


class Loud(nn.Module):
    """A map transform of a bright image, unnormalised: its mean alone overflows float16."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(100 * x)
        return torch.fft.irfft2(spectrum * 0.01, s=x.shape[-2:])


def test_a_transform_whose_certificate_does_not_hold_stays_in_float32(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh(), Loud()).eval()
    model = lower_model(network, (48, 48), name="loud", profile="coreml")
    kept = islands(model.lowered)
    assert set(kept) == {"model.2"}
    artifact = build_artifact(model, "coreml", "fp16", tmp_path / "loud")
    assert any("float32 in" in note for note in artifact.passport.notes)
    census = artifact.passport.precision_census
    assert census["float"] > 0
    assert census["float16"] > 0
    with open_session(artifact) as session:
        assert verify(session, model.reference).within_budget


def test_the_samples_given_decide_what_stays_in_float32() -> None:
    network = nn.Sequential(Loud()).eval()
    bright, black = (np.full((1, 3, 48, 48), value, np.float32) for value in (1.0, 0.0))
    for samples, kept in (([black], set()), ([black, bright], {"model.0"})):
        model = lower_model(network, (48, 48), name="loud", profile="coreml", samples=samples)
        assert set(islands(model.lowered)) == kept
        assert set(islands(model.for_profile("onnx").lowered)) == kept


def test_a_calibration_table_counts_beside_the_samples() -> None:
    network = nn.Sequential(Loud()).eval()
    black = np.zeros((1, 3, 48, 48), np.float32)
    model = lower_model(network, (48, 48), name="loud", profile="coreml", samples=[black])
    assert islands(model.lowered) == {}
    assert set(islands(model.lowered, calibrate(model, count=2))) == {"model.0"}


def test_a_network_that_takes_no_photographs_is_measured_on_its_example() -> None:
    for scale, kept in ((1.0, {"0"}), (1e-6, set())):
        example = scale * torch.rand(1, 2, 48, 48, generator=torch.Generator().manual_seed(0))
        program = lower(nn.Sequential(Loud()).eval(), (example,), target="coreml")
        assert set(islands(program)) == kept


class Normalised(nn.Module):
    """A normalisation as training leaves it: neither factors of one nor summands of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = LayerNorm2d(4)
        self.mix = nn.Conv2d(3, 4, 3, padding=1)
        self.back = nn.Conv2d(4, 3, 1)
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([0.5, 1.5, -0.7, 1.1]))
            self.norm.bias.copy_(torch.tensor([0.2, -0.1, 0.3, -0.4]))

    def forward(self, image: Tensor) -> Tensor:
        return image + 0.1 * self.back(self.norm(self.mix(image)))


def test_what_training_moves_is_computed_too(tmp_path: Path) -> None:
    model = lower_model(Normalised().eval(), (24, 40), name="normalised", profile="coreml")
    artifact = build_artifact(model, "coreml", "fp32", tmp_path / "artifact")
    # coremltools writes factor and summand of a channel as one operation, where there is something to do.
    assert "batch_norm" in {o.type for o in Package.open(artifact.model_path).program.operations}
    with open_session(artifact) as session:
        assert verify(session, model.reference).max_abs < 2e-6


class OwnKernel(nn.Module):
    """Filters with kernels that the network makes, dilated and in groups."""

    def forward(self, x: Tensor) -> Tensor:
        kernels = x.mean(dim=(2, 3)).reshape(3, 1, 1, 1) * torch.ones(3, 1, 3, 3) / 9
        y = nn.functional.conv2d(x, kernels, bias=kernels[:, 0, 0, 0], padding=2, dilation=2, groups=3)
        return x + y


def test_no_convolution_has_kernels_made_at_run_time(tmp_path: Path) -> None:
    network = OwnKernel().eval()
    x = torch.rand(1, 3, 16, 20)
    theirs = lower(network, (x,), target="onnx")
    assert "aten.conv2d.default" in theirs.audit.operators
    ours = lower(network, (x,), target="coreml")
    assert "aten.conv2d.default" not in ours.audit.operators
    torch.testing.assert_close(ours.program.module()(x), network(x), atol=1e-6, rtol=1e-5)
    assert "conv" not in target.build(ours, "fp32", tmp_path).census


def test_types_that_core_ml_has_not_are_refused() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return torch.where(mask, x, -x)

    program = lower(Masked(), (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8) > 0.5)).program
    with pytest.raises(LoweringError, match="Core ML takes and returns float32 and int32 arrays, not bool"):
        prepare(program)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(lead=st.lists(st.integers(1, 3), max_size=3), other=st.integers(0, 3))
def test_spelled_out_einsum_is_the_same(lead: list[int], other: int) -> None:
    x, y = torch.rand(*lead, 2, 3), torch.rand(*lead[len(lead) - min(other, len(lead)) :], 3, 4)
    for equation in ("...bi,...io->...bo", "...bi, ...io", "...bi,...io->ob..."):
        spelled = named_axes(equation, [x.dim(), y.dim()])
        assert "." not in spelled
        torch.testing.assert_close(torch.einsum(spelled, x, y), torch.einsum(equation, x, y))
