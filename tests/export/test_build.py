"""From a network to an artifact: what the passport says, and what is refused before and after the work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.export.build import build_artifact, export_artifact, reference_for
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.lower import lower_traced
from fdikp_edge.export.targets import get_target
from fdikp_edge.models import zoo
from fdikp_edge.models.zoo import weights_sha256
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import (
    BadInputError,
    OutputError,
    SizeError,
    TargetUnavailableError,
    UnknownNameError,
)
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.pixels import crop
from fdikp_edge.runtime.samples import sample_photo
from fdikp_edge.runtime.sessions import open_session
from golden_pair import golden_pair
from torch import nn


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def artifact(
    request: pytest.FixtureRequest, lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[request.param])
    dest = tmp_path_factory.mktemp("artifacts") / request.param
    build_artifact(lowered, request.param, "fp32", dest)
    return Artifact.open(dest)


def test_the_passport_says_what_was_built(
    artifact: Artifact, lowered: LoweredModel, network: nn.Module
) -> None:
    passport = artifact.passport
    assert (passport.model, passport.precision, passport.state) == ("fourier-net", "fp32", "unverified")
    assert passport.weights_sha256 == weights_sha256(network)
    assert passport.program_sha256 == lowered.for_profile(passport.target).lowered.sha256
    assert [site["operator"] for site in passport.plan] == [
        "aten.fft_rfft2.default",
        "aten.fft_irfft2.default",
    ]
    assert {"fdikp-edge", "torch", "onnx"} <= set(passport.toolchain)
    assert ("openvino" in passport.toolchain) == (passport.target == "openvino")
    assert sum(passport.precision_census.values()) > 10
    assert (passport.input.name, passport.input.shape) == ("image", (1, 3, *lowered.size))


def test_the_golden_pair_is_a_photo_and_what_eager_makes_of_it(
    artifact: Artifact, network: nn.Module
) -> None:
    given, recorded = golden_pair(artifact)
    np.testing.assert_array_equal(given, crop(read_photo(sample_photo()), artifact.passport.input))
    with torch.no_grad():
        expected = network(torch.from_numpy(given))[-1].numpy()
    np.testing.assert_array_equal(recorded, expected)
    assert np.abs(recorded - given).max() > 1e-3  # the network does something


def test_the_artifact_runs(artifact: Artifact) -> None:
    given, recorded = golden_pair(artifact)
    with open_session(artifact, threads=1) as session:
        assert np.abs(session.run(given) - recorded).max() < 1e-5


def test_the_reference_is_found_again_from_the_artifact(
    artifact: Artifact, network: nn.Module, make_network: Callable[..., nn.Module]
) -> None:
    given, recorded = golden_pair(artifact)
    np.testing.assert_array_equal(reference_for(artifact, network)(given), recorded)
    with pytest.raises(BadInputError, match="other weights of fourier-net"):
        reference_for(artifact, make_network(seed=1))


def test_targets_whose_plans_agree_share_one_program(lowered: LoweredModel) -> None:
    own = lowered.for_profile(lowered.lowered.plan.target)
    assert own is lowered
    other = lowered.for_profile("tensorrt")
    assert other.lowered.program is lowered.lowered.program and other.lowered.sha256 == lowered.lowered.sha256
    assert other.lowered.plan.target == "tensorrt"


def test_a_profile_is_lowered_once_whatever_is_built_for_it(
    lowered: LoweredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {choice.strategy for choice in lowered.for_profile("openvino").lowered.plan.choices}
    other = next(name for name in ("flat", "separable") if chosen != {name})
    program = lower(lowered.deployable, lowered.deployable.example(), target="onnx", plan={"*": other})
    model = dataclasses.replace(lowered, lowered=program)
    runs: list[str] = []

    def counted(*args: Any, target: str, plan: Any) -> Any:
        runs.append(target)
        return lower_traced(*args, target=target, plan=plan)

    def no_trace(*args: Any) -> None:
        raise AssertionError("the trace is there already")

    monkeypatch.setattr("fdikp_edge.export.lowered.lower_traced", counted)
    monkeypatch.setattr("fdikp_edge.export.lowered.trace_network", no_trace)
    assert model.for_profile("openvino") is model.for_profile("openvino")
    assert runs == ["openvino"] and model.for_profile("onnx") is model


def test_a_plan_by_hand_reaches_the_passport(network: nn.Module, tmp_path: Path) -> None:
    artifact = export_artifact(network, "onnx", "fp32", (24, 40), tmp_path / "a", plan={"*": "separable"})
    assert {site["strategy"] for site in artifact.passport.plan} == {"separable"}
    assert artifact.passport.model == "FourierNet"
    given, recorded = golden_pair(artifact)
    with open_session(artifact, threads=1) as session:
        assert np.abs(session.run(given) - recorded).max() < 1e-5


def test_a_size_the_variant_does_not_take_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="256x256"):
        export_artifact(zoo.load("tiny"), "onnx", "fp32", (250, 256), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_precisions_that_do_not_exist_or_are_not_offered(lowered: LoweredModel, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="fp7"):
        build_artifact(lowered, "onnx", "fp7", tmp_path / "a")
    with pytest.raises(UnknownNameError, match="unknown target 'onxx'"):
        build_artifact(lowered, "onxx", "fp32", tmp_path / "a")
    only_fp32 = dataclasses.replace(get_target("onnx"), precisions=("fp32",))
    with pytest.raises(TargetUnavailableError, match="does not support int8"):
        build_artifact(lowered, only_fp32, "int8", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_is_replaced_only_when_asked(lowered: LoweredModel, tmp_path: Path) -> None:
    first = build_artifact(lowered, "onnx", "fp32", tmp_path / "a")
    with pytest.raises(OutputError, match="exists already"):
        build_artifact(lowered, "onnx", "fp32", tmp_path / "a")
    again = build_artifact(lowered, "onnx", "fp32", tmp_path / "a", overwrite=True)
    assert again.passport.files == first.passport.files
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_nothing_is_left_of_a_build_that_fails(lowered: LoweredModel, tmp_path: Path) -> None:
    broken = dataclasses.replace(get_target("onnx"), builder=".forbidden:check_census")
    with pytest.raises(TypeError):
        build_artifact(lowered, broken, "fp32", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
