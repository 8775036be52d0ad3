"""Packages that are corrupt, foreign, altered, newer or malicious end in a typed error that names why."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.errors import ArtifactError, BadInputError
from fdikp_edge.runtime.mil import Interpreter, Package
from fdikp_edge.runtime.mil.program import read_program
from hypothesis import given, settings
from hypothesis import strategies as st

ct = pytest.importorskip("coremltools", reason="building a package needs coremltools")

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = float16(relu(conv(x))), split in two, as a package with a weight file."""
    from coremltools.converters.mil import Builder as mb
    from fdikp_edge.export.coreml.build import quiet, write_package

    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec((1, 3, 6, 6))], opset_version=ct.target.iOS17)
    def network(x: Any) -> Any:
        y = mb.conv(x=x, weight=weight, pad_type="same", name="filtered")
        return mb.split(x=mb.relu(x=y), num_splits=2, axis=1, name="halves")

    folder = tmp_path_factory.mktemp("package") / "model.mlpackage"
    with quiet():
        model = ct.convert(
            network,
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT16,
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
    write_package(model, folder, {"compute_units": "ALL"})
    return folder


@pytest.fixture
def package(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "model.mlpackage")
    return tmp_path / "model.mlpackage"


def spec_of(folder: Path) -> Any:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((folder / MODEL).read_bytes())
    return spec


def edit(folder: Path, change: Callable[[Any, Any], None]) -> None:
    spec = spec_of(folder)
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    change(spec, block)
    (folder / MODEL).write_bytes(spec.SerializeToString())


def named(block: Any, kind: str) -> Any:
    return next(operation for operation in block.operations if operation.type == kind)


def test_reads_what_coremltools_wrote(written: Path) -> None:
    package = Package.open(written)
    assert package.specification == 8
    assert [(f.name, f.shape, f.dtype) for f in package.inputs] == [("x", (1, 3, 6, 6), "float32")]
    assert package.metadata["fdikp_edge.compute_units"] == "ALL"
    spec = spec_of(written)
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    operations = [(o.type, [n for n, _ in o.outputs]) for o in package.program.operations]
    assert operations == [(o.type, [v.name for v in o.outputs]) for o in block.operations]


def test_float16_is_rounded_after_every_operation(written: Path) -> None:
    x = np.random.default_rng(1).random((1, 3, 6, 6), dtype=np.float32)
    steps: dict[str, np.ndarray] = {}
    interpreter = Interpreter(Package.open(written))
    outputs = interpreter.run({"x": x}, lambda op, results: steps.update({op.type: results[0]}))
    assert steps["conv"].dtype == np.float16
    torch = pytest.importorskip("torch")
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32).astype(np.float16)
    halves = [torch.from_numpy(a.astype(np.float16)).double() for a in (x, weight)]
    exact = torch.relu(torch.conv2d(*halves, padding=1)).numpy()
    joined = np.concatenate(list(outputs.values()), axis=1)
    rounded = exact.astype(np.float16)
    assert np.array_equal(joined, joined.astype(np.float16)), "every value is a float16"
    # Within one unit in the last place of the correctly rounded result, and mostly equal to it.
    assert (joined == rounded).mean() > 0.97
    np.testing.assert_allclose(joined, rounded, rtol=2**-10, atol=1e-6)


def test_narrow_accumulation_is_coarser(written: Path) -> None:
    x = np.random.default_rng(1).random((1, 3, 6, 6), dtype=np.float32)
    package = Package.open(written)
    wide, narrow = (
        np.concatenate(list(Interpreter(package, accumulation=kind).run({"x": x}).values()), axis=1)
        for kind in ("float32", "float16")
    )
    assert 0 < np.abs(wide - narrow).max() < 0.05


def test_wrong_inputs(written: Path) -> None:
    interpreter = Interpreter(Package.open(written))
    with pytest.raises(BadInputError, match="expected the inputs"):
        interpreter.run({"y": np.zeros((1, 3, 6, 6), np.float32)})
    with pytest.raises(BadInputError, match=r"x: expected float32\[1, 3, 6, 6\]"):
        interpreter.run({"x": np.zeros((1, 3, 6, 7), np.float32)})


def refused(folder: Path, why: str) -> None:
    with pytest.raises(ArtifactError, match=why) as caught:
        Interpreter(Package.open(folder)).run({"x": np.zeros((1, 3, 6, 6), np.float32)})
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("file", [Path("Manifest.json"), MODEL, WEIGHTS])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_damaged_files(package: Path, file: Path, damage: str) -> None:
    data = (package / file).read_bytes()
    (package / file).unlink()
    noise = np.random.default_rng(0).integers(0, 256, len(data), dtype=np.uint8).tobytes()
    changed = {"empty": b"", "cut": data[: len(data) // 2], "noise": noise}
    if damage in changed:
        (package / file).write_bytes(changed[damage])
    refused(package, r"package|weights")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("fileFormatVersion", "2.0.0", "format version"),
        ("fileFormatVersion", None, "format version"),
        ("rootModelIdentifier", "other", "names no model"),
        ("itemInfoEntries", [], "lists no items"),
    ],
)
def test_foreign_manifests(package: Path, key: str, value: Any, why: str) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest[key] = value
    (package / "Manifest.json").write_text(json.dumps(manifest))
    refused(package, why)


def test_a_manifest_that_leads_out_of_the_package(package: Path) -> None:
    text = (package / "Manifest.json").read_text()
    (package / "Manifest.json").write_text(
        text.replace("com.apple.CoreML/model.mlmodel", "../../model.mlmodel")
    )
    refused(package, "names no model inside it")


def test_newer_and_other_models(package: Path) -> None:
    edit(package, lambda spec, block: setattr(spec, "specificationVersion", 99))
    refused(package, "99 is newer than this release reads")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s, b: s.ClearField("mlProgram"), "holds no ML program"),
        (lambda s, b: setattr(s.mlProgram, "version", 2), "program version 2"),
        (lambda s, b: setattr(s.mlProgram.functions["main"], "opset", "CoreML99"), "CoreML99"),
        (
            lambda s, b: setattr(named(b, "relu"), "type", "einsum_of_tomorrow"),
            "einsum_of_tomorrow.*does not know",
        ),
        (lambda s, b: named(b, "relu").inputs["x"].arguments[0].__setattr__("name", "lost"), "reads 'lost'"),
        (lambda s, b: b.outputs.__setitem__(0, "lost"), "no operation makes the output 'lost'"),
        (lambda s, b: named(b, "relu").blocks.add(), "control flow"),
        (lambda s, b: setattr(dimension(named(b, "relu"), 1), "size", 7), "declared as float16"),
        (lambda s, b: setattr(dimension(named(b, "relu"), 1), "size", 1 << 40), "a tensor of the sizes"),
        (lambda s, b: named(b, "conv").inputs.pop("weight"), "'weight' is missing"),
        (lambda s, b: stored(b, lambda v: setattr(v, "offset", 1 << 40)), "no header can be there"),
        (lambda s, b: stored(b, lambda v: setattr(v, "offset", 128)), "no header is there"),
        (lambda s, b: stored(b, lambda v: setattr(v, "fileName", "/etc/passwd")), "no plain path"),
        (lambda s, b: stored(b, lambda v: setattr(v, "fileName", "@model_path/../../x")), "no plain path"),
        (lambda s, b: stored(b, lambda v: setattr(v, "fileName", "@model_path/weights/x")), "is missing"),
    ],
)
def test_altered_programs(package: Path, change: Callable[[Any, Any], None], why: str) -> None:
    edit(package, change)
    refused(package, why)


def dimension(operation: Any, axis: int) -> Any:
    return operation.outputs[0].type.tensorType.dimensions[axis].constant


def stored(block: Any, change: Callable[[Any], None]) -> None:
    values = [o.attributes["val"] for o in block.operations if o.type == "const"]
    change(next(v.blobFileValue for v in values if v.WhichOneof("value") == "blobFileValue"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_program_or_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_program(data, (0, len(data)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(position=st.floats(0, 0.9999), byte=st.integers(0, 255))
def test_one_changed_byte_never_escapes_the_typed_errors(written: Path, position: float, byte: int) -> None:
    from fdikp_edge.runtime.mil.package import _read

    data = bytearray((written / MODEL).read_bytes())
    data[int(position * len(data))] = byte
    with contextlib.suppress(ValueError, ArtifactError):
        Interpreter(_read(written, written / MODEL, bytes(data)))
