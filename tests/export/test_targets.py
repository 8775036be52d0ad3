"""The target table: names, precisions, and what this machine can do."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest
from fdikp_edge.export.targets import PRECISIONS, TARGETS, capability, get_target, select
from fdikp_edge.runtime.errors import BadInputError, TargetUnavailableError, UnknownNameError
from fdikp_edge.runtime.installed.packages import Requirement
from fdikp_edge.runtime.sessions import SESSIONS

MISSING = Requirement("no_such_module_here", "no-such-module-here", "1", "pip install it")
OLD = Requirement("numpy", "numpy", "9999.1", "pip install numpy")


def no_gpu() -> str | None:
    return "this machine has no GPU"


def resolved(reference: str) -> Any:
    module, _, function = reference.partition(":")
    return getattr(importlib.import_module(module, "fdikp_edge.export"), function)


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_is_whole(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name
    assert name in SESSIONS
    assert set(target.precisions) <= set(PRECISIONS)
    assert target.precisions
    probes = (target.run_probe, target.build_probe, target.unasked_probe)
    others = (*probes, target.parts, target.layer_runs, *target.devices.values())
    for reference in filter(None, others):
        assert callable(resolved(reference)), reference
    assert {"lowered", "precision", "folder", "table", "provenance"} <= set(
        inspect.signature(resolved(target.builder)).parameters
    )


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"tensorflow.*onnx, openvino"):
        get_target("tensorflow")


def test_an_unknown_precision_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"fp12.*fp32, fp16, bf16, int8"):
        get_target("onnx").check("fp12")


def test_a_precision_that_is_not_offered_says_which_are() -> None:
    only_fp32 = dataclasses.replace(get_target("onnx"), precisions=("fp32",))
    with pytest.raises(TargetUnavailableError, match="onnx does not support int8, only fp32"):
        only_fp32.check("int8")


def test_a_missing_module_is_named_with_its_cure() -> None:
    target = dataclasses.replace(get_target("onnx"), build_needs=(MISSING,))
    able = capability(target)
    assert (able.can_build, able.can_run) == (False, True)
    assert "no_such_module_here is not installed (pip install it)" in able.reason
    with pytest.raises(TargetUnavailableError, match="no_such_module_here"):
        target.check("fp32")


def test_a_module_that_is_too_old_is_named_with_both_versions() -> None:
    able = capability(dataclasses.replace(get_target("onnx"), run_needs=(OLD,)))
    assert (able.can_build, able.can_run) == (True, False)
    assert "is older than 9999.1" in able.reason


def test_a_probe_decides_where_modules_do_not() -> None:
    probed = dataclasses.replace(get_target("onnx"), run_probe=f"{__name__}:no_gpu")
    able = capability(probed)
    assert (able.can_build, able.can_run, able.reason) == (True, False, "this machine has no GPU")


def test_what_is_installed_here_can_be_built_and_run() -> None:
    pytest.importorskip("openvino")
    elsewhere = {"litert", "executorch"}  # built with what the extra `all` does not install
    for name in TARGETS.keys() - elsewhere:
        if TARGETS[name].run_probe is None:  # whether there is a GPU is not for a test to say
            assert capability(TARGETS[name]).reason == ""


def test_all_means_every_target_at_what_it_offers() -> None:
    pairs = [(target.name, precision) for target, precision in select(["all"], ["all"])]
    assert pairs == [(t.name, p) for t in TARGETS.values() for p in PRECISIONS if p in t.precisions]


def test_a_precision_by_name_is_paired_with_every_target_even_if_not_offered() -> None:
    assert [(t.name, p) for t, p in select(["openvino", "onnx", "onnx"], ["int8", "fp32"])] == [
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("openvino", "fp32"),
        ("openvino", "int8"),
    ]


def test_options_of_a_target_are_set_by_name() -> None:
    assert get_target("tensorrt-rtx").spec == "tensorrt-rtx"
    set_here = get_target("tensorrt-rtx:capabilities=8.9")
    assert (set_here.name, dict(set_here.chosen)) == ("tensorrt-rtx", {"capabilities": "8.9"})
    assert get_target(set_here.spec) == set_here
    ((target, _),) = select(["tensorrt-rtx:capabilities=8.6", set_here.spec], ["fp32"])
    assert target == set_here
    assert set_here in [target for target, _ in select(["all", set_here.spec], ["fp32"])]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("coreml:opset=18", r"coreml has no option 'opset=18'; it has none"),
        (
            "tensorrt-rtx:capability=8.6",
            r"no option 'capability=8\.6'; its options: capabilities=8\.6,8\.9,12\.0 \(",
        ),
        ("tensorrt-rtx:capabilities=86", r"no option 'capabilities=86'"),
        (
            "tensorrt-rtx:capabilities=8.6,1.0",
            r"capabilities: 1\.0 is not allowed; expected: 7\.5, 8\.0, 8\.6, 8\.9, 12\.0, 12\.1$",
        ),
        ("tensorrt:typing=loose", r"no option 'typing=loose'"),
    ],
)
def test_an_unknown_option_lists_those_of_the_target(spec: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        select([spec], ["fp32"])


def test_a_probe_of_building_stops_before_any_work() -> None:
    probed = dataclasses.replace(get_target("onnx"), build_probe=f"{__name__}:no_gpu")
    assert (capability(probed).can_build, capability(probed).can_run) == (False, True)
    with pytest.raises(TargetUnavailableError, match="onnx cannot be built here: this machine has no GPU"):
        probed.check("fp32")


@pytest.mark.parametrize(("names", "precisions"), [(["onxx"], ["fp32"]), (["all"], ["fp8"])])
def test_selecting_refuses_names_that_do_not_exist(names: list[str], precisions: list[str]) -> None:
    with pytest.raises(UnknownNameError, match="expected one of: "):
        select(names, precisions)


def test_looking_at_the_table_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import fdikp_edge.export\n"
        "from fdikp_edge.export.targets import TARGETS, capability\n"
        "for target in TARGETS.values(): capability(target)\n"
        "print(sorted({'torch', 'onnx', 'openvino', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from fdikp_edge.export import lower", "fdikp_edge.export.lower"),
        ("from fdikp_edge.export import lower_model", "fdikp_edge.export.lower_model"),
        ("from fdikp_edge.models.sources import of", "fdikp_edge.models.sources.of"),
    ],
)
def test_without_torch_an_import_says_what_to_install(statement: str, name: str) -> None:
    code = f"import sys\nsys.modules['torch'] = None\n{statement}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *frames, last = done.stderr.strip().splitlines()
    assert last.startswith(
        f"ModuleNotFoundError: {name} needs torch, which is not installed here: pip install"
    )
    assert "fdikp-edge[export]" in last
    assert not any(
        "lowered.py" in frame or "spectral" in frame or "import torch" in frame for frame in frames
    )
