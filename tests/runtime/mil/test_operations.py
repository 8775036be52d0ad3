"""Each operation of the interpreter against torch, and against coremltools' own value inference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from fdikp_edge.runtime.mil.ops import OPERATIONS, Call
from fdikp_edge.runtime.mil.ops.linear import product
from fdikp_edge.runtime.mil.program import Operation, TensorType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mil_cases import CASES

# Not operations of the iOS 17 set, or folded at conversion only.
NOT_INFERRED = {"constexpr_blockwise_shift_scale", "constexpr_affine_dequantize"}


def drawn(name: str, data: st.DataObject) -> tuple[dict[str, Any], list[Any]]:
    arguments, wanted = CASES[name](data.draw)
    own = arguments.pop("*", {}).get(
        name, {}
    )  # where operations of one case name their arguments differently
    arguments = {**arguments, **own}
    wanted = wanted[name] if isinstance(wanted, dict) else wanted
    return arguments, [w.numpy() for w in wanted] if isinstance(wanted, tuple) else [wanted.numpy()]


def computed(name: str, arguments: dict[str, Any], wanted: list[Any], narrow: bool = False) -> list[Any]:
    declared = tuple((f"y{i}", TensorType(str(w.dtype), w.shape)) for i, w in enumerate(wanted))
    # A program's scalars are arrays without axes.
    arguments = {k: np.asarray(v) if isinstance(v, np.generic) else v for k, v in arguments.items()}
    result = OPERATIONS[name](Call(Operation(name, {}, declared, {}), arguments, narrow))
    return list(result) if isinstance(result, tuple) else [result]


def inferred(name: str, arguments: dict[str, Any]) -> list[Any] | None:
    """What coremltools computes when it folds the operation, if it can."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=ct.target.iOS17):
        results = getattr(mb, name)(**arguments)
    results = results if isinstance(results, (list, tuple)) else [results]
    return None if any(var.val is None for var in results) else [np.asarray(var.val) for var in results]


def agree(results: list[Any], wanted: list[Any]) -> None:
    assert len(results) == len(wanted)
    for a, b in zip(results, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=2e-5, atol=2e-5)


def test_every_operation_has_a_case() -> None:
    assert set(CASES) == set(OPERATIONS)


def test_the_documentation_lists_every_operation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "coreml.md").read_text(encoding="utf-8")
    by_file: dict[str, set[str]] = {}
    for name, function in OPERATIONS.items():
        by_file.setdefault(f"{function.__module__.rpartition('.')[2]}.py", set()).add(name)
    rows = re.findall(r"^\| `(\w+\.py)` \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert {file: set(re.findall(r"`(\w+)`", names)) for file, _, names in rows} == by_file
    assert [int(count) for _, count, _ in rows] == [len(by_file[file]) for file, _, _ in rows]
    assert f"It knows {len(OPERATIONS)}," in text


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_equals_torch(name: str, data: st.DataObject) -> None:
    arguments, wanted = drawn(name, data)
    results = computed(name, arguments, wanted)
    agree(results, wanted)
    for a, b in zip(results, wanted, strict=True):
        assert a.dtype == b.dtype or (a.dtype.kind == "f" and b.dtype.kind == "f")


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - NOT_INFERRED))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_equals_what_coremltools_infers(name: str, data: st.DataObject) -> None:
    pytest.importorskip("coremltools")
    arguments, wanted = drawn(name, data)
    if name == "concat":  # coremltools 9 infers plain concatenation whatever `interleave` says
        hypothesis.assume(not arguments["interleave"])
    if name == "cumsum":  # coremltools 9 fails to infer an exclusive one
        hypothesis.assume(not arguments["exclusive"])
    if name == "scatter_along_axis":  # coremltools 9 infers an update whatever `mode` says
        hypothesis.assume(arguments["mode"] == "update")
    inference = inferred(name, arguments)
    if inference is not None:
        agree([np.reshape(i, w.shape) for i, w in zip(inference, wanted, strict=True)], wanted)
        agree(
            computed(name, arguments, wanted),
            [np.reshape(i, w.shape) for i, w in zip(inference, wanted, strict=True)],
        )


@pytest.mark.parametrize("kind", ["same", "same_lower", "valid"])
def test_padding_by_name_is_torchs(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 8, 9)).astype(np.float32)
    weight = rng.standard_normal((3, 2, 4, 3)).astype(np.float32)
    if kind == "valid":
        wanted = torch.conv2d(torch.from_numpy(x), torch.from_numpy(weight))
    else:
        before, after = (1, 2) if kind == "same" else (2, 1)
        padded = torch.nn.functional.pad(torch.from_numpy(x), (1, 1, before, after))
        wanted = torch.conv2d(padded, torch.from_numpy(weight))
    agree(computed("conv", {"x": x, "weight": weight, "pad_type": kind}, [wanted.numpy()]), [wanted.numpy()])


def test_narrow_sums_round_after_every_addition() -> None:
    x = np.full((1, 4096), 1.0, np.float32)
    y = np.full((4096, 1), 1.0, np.float32)
    assert product(x, y, narrow=False)[0, 0] == 4096
    # 2048 + 1 is not a float16: a narrow sum of ones stands still there.
    assert product(x, y, narrow=True)[0, 0] == 2048
    total = computed(
        "reduce_sum", {"x": x, "axes": np.array([1], np.int32)}, [np.zeros(1, np.float16)], narrow=True
    )
    assert total[0][0] == 2048


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_narrow_products_are_a_loop_of_float16(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal(s).astype(np.float16) for s in ((3, 7), (7, 2)))
    wanted = np.zeros((3, 2), np.float16)
    for k in range(7):
        wide = x[:, k, None].astype(np.float64) * y[k].astype(np.float64) + wanted.astype(np.float64)
        wanted = wide.astype(np.float16)
    result = product(x.astype(np.float32), y.astype(np.float32), narrow=True)
    # float32 holds the sum of an 22-bit product and an 11-bit sum to within one rounding.
    np.testing.assert_allclose(result, wanted.astype(np.float32), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gather", {"x": np.ones(3, np.float32), "indices": np.array([3], np.int32)}),
        ("gather", {"x": np.ones(3, np.float32), "indices": np.array([-1], np.int32)}),
        ("pad", {"x": np.ones(3, np.float32), "pad": np.array([0, 1 << 30], np.int32), "mode": "constant"}),
        ("tile", {"x": np.ones(3, np.float32), "reps": np.array([1 << 30], np.int32)}),
        ("pad", {"x": np.ones(1, np.float32), "pad": np.array([0, 0], np.int32), "mode": "wrap"}),
        ("conv", {"x": np.ones((1, 3, 4), np.float32), "weight": np.ones((1, 2, 1), np.float32)}),
        ("add", {"x": np.ones((1 << 14, 1), np.float32), "y": np.ones((1, 1 << 14), np.float32)}),
        ("add", {"x": np.ones(3, np.float32)}),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_large_is_made(
    name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        computed(name, arguments, [np.zeros(1, np.float32)])
