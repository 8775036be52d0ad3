"""Where operators run: told by real runtimes where they are here, and by recorded words of the others."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import TargetUnavailableError
from fdikp_edge.runtime.sessions import Session, open_session
from fdikp_edge.runtime.sessions.coreml_session import planned
from fdikp_edge.runtime.sessions.onnxruntime_profile import ran_of_events
from fdikp_edge.runtime.sessions.placement import Ran, collect, kernel_place, layers_on_dla

Maker = Callable[..., Artifact]

RAN = [Ran("Conv", "GPU", 6.0), Ran("Conv", "GPU", 3.0), Ran("Gather", "CPU", 1.0)]


def test_a_fallback_is_a_problem_unless_it_is_allowed_by_name() -> None:
    placement = collect(RAN, "a profile", {"CPU"})
    assert placement.line() == "2 on GPU (90%), 1 on CPU (10%)"
    (problem,) = placement.problems()
    assert "1 operators ran on CPU" in problem and "Gather" in problem and "--allow-fallback CPU" in problem
    assert placement.problems(["GPU"]) == [problem] and placement.problems(["CPU"]) == []
    assert placement.to_dict()["places"][1] == {
        "name": "CPU", "operators": 1, "share": 0.1, "fallback": True, "examples": ["Gather"]
    }  # fmt: skip


def test_without_times_there_are_counts_alone() -> None:
    placement = collect([*RAN, Ran("Add", "GPU")], "a plan")
    assert placement.line() == "3 on GPU, 1 on CPU" and placement.places[0].share is None


@pytest.mark.parametrize(("target", "place"), [("onnx", "CPUExecutionProvider"), ("openvino", "f32")])
def test_real_runtimes_say_where_it_ran(make_artifact: Maker, target: str, place: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(target, target))
    with open_session(make_artifact("half", target=target), threads=1) as session:
        x = {"image": np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)}
        placement = session.placement(x, 3)
    assert any(place in entry.name and entry.operators > 0 for entry in placement.places)
    assert sum(entry.share or 0.0 for entry in placement.places) == pytest.approx(1)
    assert placement.problems() == []


def event(name: str, operator: str, provider: str) -> dict[str, Any]:
    facts = {"op_name": operator, "provider": provider}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 500, "args": facts}


def test_a_provider_that_was_not_asked_for_is_told_apart() -> None:
    events = 2 * [event("a", "Conv", "CUDAExecutionProvider"), event("b", "If", "CPUExecutionProvider")]
    events.append({"cat": "Session", "name": "model_run", "dur": 9000})
    ran = ran_of_events(events)
    assert [(entry.operator, entry.place, entry.ms) for entry in ran] == [
        ("Conv", "CUDAExecutionProvider", 1.0),
        ("If", "CPUExecutionProvider", 1.0),
    ]


@pytest.mark.parametrize(
    ("kernel", "place"),
    [
        ("ref_any_f32", "reference"),
        ("ref", "reference"),
        ("jit_avx2_f32", "jit_avx2_f32"),
        ("reformat_f32", "reformat_f32"),
        ("", "unknown"),
    ],
)
def test_reference_kernels_of_openvino_have_a_place_of_their_own(kernel: str, place: str) -> None:
    assert kernel_place(kernel) == place


LOG = """\
[I] [TRT] ---------- Layers Running on DLA ----------
[I] [TRT] [DlaLayer] {ForeignNode[conv1_1...pool5]}
[I] [TRT] [DlaLayer] {ForeignNode[(Unnamed Layer* 0) [ElementWise]]},
[I] [TRT] ---------- Layers Running on GPU ----------
[I] [TRT] [GpuLayer] SHUFFLE: shuffle
"""


def test_the_builder_lists_what_runs_on_a_dla() -> None:
    assert layers_on_dla(LOG) == {
        "{ForeignNode[conv1_1...pool5]}",
        "{ForeignNode[(Unnamed Layer* 0) [ElementWise]]}",
    }
    assert layers_on_dla("[GpuLayer] CONVOLUTION: conv") == frozenset()


def test_core_ml_plans_units_and_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On names of coremltools 9 (``MLComputePlan``); not Apple's plan itself."""
    unit = {"conv": "MLNeuralEngineComputeDevice", "gather": "MLCPUComputeDevice", "const": None}

    class Plan:
        def __init__(self) -> None:
            operations = [types.SimpleNamespace(operator_name=name) for name in ("const", "conv", "gather")]
            block = types.SimpleNamespace(operations=operations)
            program = types.SimpleNamespace(functions={"main": types.SimpleNamespace(block=block)})
            self.model_structure = types.SimpleNamespace(program=program)

        @classmethod
        def load_from_path(cls, path: str, compute_units: Any) -> Plan:
            assert path == str(Path("/compiled")) and compute_units == "CPU_AND_NE"
            return cls()

        def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
            name = unit[operation.operator_name]
            return name and types.SimpleNamespace(preferred_compute_device=type(name, (), {})())

        def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
            return types.SimpleNamespace(weight={"conv": 0.75, "gather": 0.25}[operation.operator_name])

    module = types.ModuleType("coremltools.models.compute_plan")
    module.MLComputePlan = Plan  # type: ignore[attr-defined]
    for name in ("coremltools", "coremltools.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    model = types.SimpleNamespace(get_compiled_model_path=lambda: "/compiled")
    placement = collect(planned(model, "CPU_AND_NE"), "a plan", {"CPU"})
    assert placement.line() == "1 on NE (75%), 1 on CPU (25%)" and placement.problems()


def test_a_session_that_cannot_know_says_so(make_artifact: Maker) -> None:
    session = open_session(make_artifact(target="onnx"), threads=1)
    with session, pytest.raises(TargetUnavailableError, match="not available for target onnx"):
        Session.placement(session, {}, 1)
