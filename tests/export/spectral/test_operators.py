"""PyTorch's own operator samples as the judge of the lowering.

By default a few samples are judged. ``make judge`` sets ``FDIKP_JUDGE``, and every sample is. What is refused
stands in ``refused_operators.txt``, which may only shrink: a refusal that is not listed fails, and so does an
operator that is listed and refused no more.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.studies import judge as judging
from fdikp_edge.benchmarks.studies import operators
from fdikp_edge.benchmarks.studies.judge import (
    Judgement,
    Sample,
    SampleModule,
    Verdict,
    judge,
    judge_all,
    real_inputs,
    samples,
)
from fdikp_edge.export.openvino import build as openvino_target
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import onnx_file, run_onnx, run_openvino

ALL = bool(os.environ.get("FDIKP_JUDGE"))
LIST = Path(__file__).parent / "refused_operators.txt"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("expecttest") is None,
    reason="expecttest, which PyTorch's samples need, is not installed (it is in the dev extra)",
)
every_sample = pytest.mark.skipif(not ALL, reason="make judge runs it")

QUICK = ["fft.rfft2", "fft.irfftn", "fft.ihfft", "stft", "istft", "addbmm", "addmv", "cross", "cumprod"]
QUICK += ["linalg.inv", "nn.functional.conv_transpose2d", "index_put", "where", "acosh", "var"]


@cache
def listed() -> dict[str, str]:
    """Operators that may be refused, with the reason."""
    lines = [line.split("#", 1) for line in LIST.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    return {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) == 2}


def names(group: str) -> list[str]:
    """Operators of a group for the parameters of a test; importing the samples takes seconds."""
    if not ALL or importlib.util.find_spec("expecttest") is None:
        return []
    return judging.operator_names(group)


def faults(judgements: list[Judgement]) -> list[str]:
    """What must not be: wrong results, crashes, and refusals that are not listed."""
    unlisted = [j for j in judgements if j.verdict is Verdict.REFUSED and j.operator not in listed()]
    return [str(j) for j in [*(j for j in judgements if j.verdict.is_fault), *unlisted]]


def first_of(name: str) -> Iterator[Sample]:
    group = "fft" if name.startswith("fft.") else "stft" if name in ("stft", "istft") else "complex"
    return islice(samples(group, operators=[name], limit=2), 2)


@pytest.mark.parametrize("name", QUICK)
def test_some_samples_are_right(name: str) -> None:
    judgements = [judge(sample, "onnx") for sample in first_of(name)]
    assert [str(j) for j in judgements if j.verdict is not Verdict.RIGHT] == []
    assert judgements


def test_a_wrong_result_is_found() -> None:
    (sample,) = islice(first_of("addmv"), 1)
    narrow = judging.eager(sample, False)
    wide = judging.eager(sample, True)
    assert judging.difference(narrow, narrow, wide) == ""
    assert "off by" in judging.difference([narrow[0] * 1.01], narrow, wide)
    assert "shape" in judging.difference([narrow[0][None]], narrow, wide)
    assert "dtype" in judging.difference([narrow[0].double()], narrow, wide)
    assert "finite" in judging.difference([narrow[0] / 0], narrow, wide)


def test_the_table_counts_operators_and_samples(capsys: pytest.CaptureFixture[str]) -> None:
    status = operators.main(["--group", "complex", "--operator", "addmv", "--operator", "qr", "--limit", "2"])
    text = capsys.readouterr().out
    assert status == 0
    assert "each sample | 2 | 2 | 0 | 0 |" in text
    assert "each operator in all its samples | 1 | 1 | 0 | 0 |" in text


@every_sample
@pytest.mark.parametrize("name", [*names("fft"), *names("stft")])
@pytest.mark.parametrize("profile", judging.PROFILES)
def test_every_transform(name: str, profile: str) -> None:
    group = "fft" if name.startswith("fft.") else "stft"
    judgements = list(judge_all(samples(group, operators=[name]), profile))
    assert [str(j) for j in judgements if j.verdict is not Verdict.RIGHT] == []


@every_sample
@pytest.mark.parametrize("name", names("complex"))
def test_every_complex_operator(name: str) -> None:
    judgements = list(judge_all(samples("complex", operators=[name]), "onnx"))
    judgements += judge_all(samples("complex", operators=[name], limit=2), "coreml")
    assert faults(judgements) == []
    is_refused = any(j.verdict is Verdict.REFUSED for j in judgements)
    assert is_refused == (name in listed()), f"{name} is refused no more: take it off {LIST.name}"


def test_the_list_names_operators_that_exist() -> None:
    assert listed() and set(listed()) <= set(judging.operator_names("complex"))


@every_sample
@pytest.mark.parametrize("name", [*names("fft"), *names("stft"), *names("complex")])
def test_runtimes_compute_the_same(name: str, tmp_path: Path) -> None:
    group = "fft" if name.startswith("fft.") else "stft" if name in ("stft", "istft") else "complex"
    for sample in list(samples(group, operators=[name]))[::10]:
        if judge(sample, "onnx").verdict is not Verdict.RIGHT or not sample.inputs:
            continue
        inputs = real_inputs(sample)
        if any(value.numel() == 0 for value in inputs):
            continue  # runtimes take no empty tensors
        wanted = judging.eager(sample, False)
        if any(value.numel() == 0 or value.dtype == torch.bfloat16 for value in wanted):
            continue  # nor do they return any, and NumPy has no bfloat16
        file = onnx_file(lower(SampleModule(sample).eval(), inputs).program, tmp_path / "model.onnx")
        results_of = {"onnxruntime": run_onnx(file, inputs)}
        results_of["openvino"] = run_openvino(openvino_target.convert(file.read_bytes()), inputs)
        for runtime, results in results_of.items():
            for got, want in zip(results, wanted, strict=True):
                if want.is_floating_point():
                    error = judging.relative_error(torch.from_numpy(np.asarray(got)), want)
                    assert error < 1e-4, f"{name} #{sample.index} by {runtime}: {error:.1e}"
