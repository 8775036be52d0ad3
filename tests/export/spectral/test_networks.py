"""Whole networks through the lowering and every converter, against eager torch."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from fdikp_edge.export.spectral import LoweredProgram, lower
from fdikp_edge.export.spectral.lower import lower_traced
from spectral_networks import NETWORKS, Network, to_double
from spectral_networks.checks import (
    as_tuple,
    assert_close,
    assert_real,
    build_tensorrt_rtx,
    convert_coreml,
    onnx_file,
    onnx_operators,
    openvino_from_program,
    parse_tensorrt_rtx,
    run_coreml,
    run_onnx,
    run_openvino,
)

TOLERANCE = 1e-4
FORBIDDEN = {"DFT", "STFT", "Loop", "If", "Scan", "SequenceMap", "Complex"}

HEADS = [network for network in NETWORKS if network.name.endswith("_head")]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Converters announce their own deprecations; two threads keep the timings of a shared machine honest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def lowered() -> Callable[[Network], LoweredProgram]:
    """Each network lowered once for all tests of this file."""

    @cache
    def of(network: Network) -> LoweredProgram:
        return lower(network.build(), network.inputs())

    return of


@pytest.fixture(scope="module")
def onnx_of(
    lowered: Callable[[Network], LoweredProgram], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Network], Path]:
    """Each network's ONNX file, written once for all tests of this file."""
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def of(network: Network) -> Path:
        return onnx_file(lowered(network).program, folder / f"{network.name}.onnx")

    return of


@cache
def expected(network: Network) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return as_tuple(network.build()(*network.inputs()))


def test_collection_is_large_and_its_names_are_unique() -> None:
    assert len({network.name for network in NETWORKS}) == len(NETWORKS) >= 24


@every_network
def test_lowered_program_equals_eager(network: Network, lowered: Callable[[Network], LoweredProgram]) -> None:
    program = lowered(network).program
    assert_real(program)
    inputs = network.inputs()
    with torch.no_grad():
        got = as_tuple(program.module()(*inputs))
        wide = as_tuple(to_double(network.build())(*(x.double() for x in inputs)))
    assert_close(got, expected(network), TOLERANCE, "against float32")
    assert_close(got, wide, TOLERANCE, "against float64")


@every_network
def test_onnx_runtime_equals_eager(network: Network, onnx_of: Callable[[Network], Path]) -> None:
    path = onnx_of(network)
    assert not onnx_operators(path) & FORBIDDEN
    assert_close(run_onnx(path, network.inputs()), expected(network), TOLERANCE)


@needs("openvino")
@every_network
def test_openvino_equals_eager(network: Network, onnx_of: Callable[[Network], Path]) -> None:
    from fdikp_edge.export.openvino import build as target

    model = target.convert(onnx_of(network).read_bytes())
    target.check(model)
    assert_close(run_openvino(model, network.inputs()), expected(network), TOLERANCE)


@needs("openvino")
@pytest.mark.parametrize("network", NETWORKS[::6], ids=lambda network: network.name)
def test_openvino_takes_the_program_itself(
    network: Network, lowered: Callable[[Network], LoweredProgram]
) -> None:
    """OpenVINO's own `torch.export` front end, on some of the networks: it takes seconds for each."""
    model = openvino_from_program(lowered(network).program)
    assert_close(run_openvino(model, network.inputs()), expected(network), TOLERANCE)


class Phases(torch.nn.Module):
    """Phases and unit vectors of given numbers: zero, the four half axes, the four quadrants."""

    def forward(self, re: torch.Tensor, im: torch.Tensor) -> torch.Tensor:
        z = torch.complex(re, im)
        unit = torch.sgn(z)
        return torch.stack((torch.angle(z), unit.real, unit.imag, torch.sqrt(z).real, torch.sqrt(z).imag))


def test_phases_of_special_values_in_each_runtime(tmp_path: Path) -> None:
    """Exporters write `atan2` in their own ways; some are wrong on the negative half axis and at zero."""
    re = torch.tensor([0.0, 2.0, -2.0, 0.0, 0.0, 3.0, -3.0, -3.0, 3.0])
    im = torch.tensor([0.0, 0.0, 0.0, 2.0, -2.0, 4.0, 4.0, -4.0, -4.0])
    want = [Phases()(re, im)]
    program = lower(Phases().eval(), (re, im)).program
    assert_close([program.module()(re, im)], want, 1e-6, "torch")
    assert_close(run_onnx(onnx_file(program, tmp_path / "phases.onnx"), (re, im)), want, 1e-6, "onnxruntime")
    pytest.importorskip("openvino")
    assert_close(run_openvino(openvino_from_program(program), (re, im)), want, 1e-6, "openvino")


@needs("tensorrt_rtx")
@every_network
def test_tensorrt_rtx_parses(network: Network, onnx_of: Callable[[Network], Path]) -> None:
    assert parse_tensorrt_rtx(onnx_of(network)) > 0


@needs("coremltools")
@every_network
def test_coreml_equals_eager(
    network: Network, lowered: Callable[[Network], LoweredProgram], tmp_path: Path
) -> None:
    """coremltools called directly, without the `coreml` target, on a program of its profile."""
    traced = lowered(network).traced
    assert traced is not None
    program = lower_traced(traced, target="coreml").program
    assert_real(program)
    outputs = run_coreml(convert_coreml(program), tmp_path / "model.mlpackage", network.inputs())
    assert_close(outputs, expected(network), TOLERANCE)


@needs("coremltools")
@pytest.mark.parametrize("network", NETWORKS[::6], ids=lambda network: network.name)
def test_coreml_takes_a_plain_program(
    network: Network, lowered: Callable[[Network], LoweredProgram], tmp_path: Path
) -> None:
    """The same of a program that was lowered without a word on where it will run."""
    outputs = run_coreml(
        convert_coreml(lowered(network).program), tmp_path / "model.mlpackage", network.inputs()
    )
    assert_close(outputs, expected(network), TOLERANCE)


@needs("tensorrt_rtx")
@pytest.mark.parametrize("network", HEADS, ids=lambda network: network.name)
def test_tensorrt_rtx_builds_an_engine(network: Network, onnx_of: Callable[[Network], Path]) -> None:
    assert build_tensorrt_rtx(onnx_of(network))[:4] == b"vtrt"
