"""Features against the module that is installed and the recorded names of four releases."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fdikp_edge.runtime.tensorrt.features import (
    FEATURES,
    RTX_CAPABILITIES,
    features_of,
    features_of_module,
    mismatches,
    parse_version,
    product_of,
)

SHAPES = sorted((Path(__file__).parent.parent / "tensorrt_api").glob("*.json"))
EXPECTED = {
    # What the releases are documented to do, written down apart from the table that is tested.
    "10.3.0": {"has_weak_typing", "has_strong_typing_flag", "has_timing_cache"},
    "10.13.3": {"has_weak_typing", "has_strong_typing_flag", "has_timing_cache", "has_quick_plugins"},
    "10.16.0": {"has_weak_typing", "has_strong_typing_flag", "has_timing_cache", "has_quick_plugins"},
    "11.4.1": {"has_strong_typing_flag", "has_timing_cache", "has_quick_plugins", "has_native_dft"},
}


def module_of(shape: dict[str, Any]) -> Any:
    """A module with the recorded names and no others."""
    classes = {name: type(name, (), dict.fromkeys(members)) for name, members in shape["attributes"].items()}
    return SimpleNamespace(__name__="tensorrt", __version__=shape["version"], **classes)


@pytest.fixture(params=SHAPES, ids=lambda path: path.stem)
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return loaded


def on(features: Any) -> set[str]:
    return {name for name, there in features.to_dict().items() if there}


def test_each_recorded_release_has_its_features(shape: dict[str, Any]) -> None:
    assert on(features_of("tensorrt", shape["version"])) == EXPECTED[shape["version"]]
    assert on(features_of_module(module_of(shape))) == EXPECTED[shape["version"]]
    assert mismatches(module_of(shape)) == []
    assert all(source.startswith("https://") for source in shape["sources"])


@pytest.mark.parametrize("name", [name for name, feature in FEATURES.items() if feature.attributes])
def test_a_wrong_feature_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [json.loads(path.read_text(encoding="utf-8")) for path in SHAPES]
    wrong = type(FEATURES[name])(
        classic=((), ()) if FEATURES[name].classic != ((), ()) else ((1,), (9999,)),
        rtx=FEATURES[name].rtx,
        attributes=FEATURES[name].attributes,
        source="",
    )
    assert not any(mismatches(module_of(shape)) for shape in shapes)
    monkeypatch.setitem(FEATURES, name, wrong)
    assert any(name in line for shape in shapes for line in mismatches(module_of(shape)))


@pytest.mark.parametrize(
    ("version", "weak", "dft"),
    [
        ("8.6.1.6", True, False),
        ("10.16.1", True, False),
        ("11.0.0", False, False),
        ("11.1.99", False, False),
        ("11.2", False, True),
        ("11.2.1.5+cuda13", False, True),
    ],
)
def test_borders_between_versions(version: str, weak: bool, dft: bool) -> None:
    features = features_of("tensorrt", version)
    assert (features.has_weak_typing, features.has_native_dft) == (weak, dft)


def test_what_a_module_lacks_is_off_whatever_its_version_says() -> None:
    shape = json.loads(SHAPES[1].read_text(encoding="utf-8"))
    shape["attributes"]["BuilderFlag"].remove("FP16")
    module = module_of(shape)
    assert not features_of_module(module).has_weak_typing
    assert any("has_weak_typing should be in" in line and "FP16" in line for line in mismatches(module))


def test_the_installed_tensorrt_rtx_is_as_the_table_says() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    assert product_of(trt) == "tensorrt-rtx"
    assert mismatches(trt) == []
    features = features_of_module(trt)
    assert features.has_ahead_of_time and features.has_runtime_cache
    assert not features.has_weak_typing and not hasattr(trt.BuilderFlag, "FP16")
    named = {f"SM{text.replace('.', '')}" for text in RTX_CAPABILITIES}
    assert named == {name for name in vars(trt.ComputeCapability) if name.startswith("SM")}


@pytest.mark.parametrize(("text", "numbers"), [("10.3.0.30", (10, 3, 0, 30)), ("11.4+x", (11, 4)), ("?", ())])
def test_versions_are_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


def test_the_recordings_are_of_releases_that_jetpack_has() -> None:
    """11.4.1 is the first 11 that supports JetPack, and 10.3 has no runtime configuration yet."""
    recorded = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SHAPES}
    assert "11.4.0" not in recorded and recorded["11.4.1"]["version"] == "11.4.1"
    assert "IRuntimeConfig" not in recorded["10.3.0"]["attributes"]
    assert "IRuntimeConfig" in recorded["11.4.1"]["attributes"]


def test_a_runtime_configuration_came_after_10_3() -> None:
    """So the session of JetPack 6 makes its context without one."""
    with_it = {path.stem for path in SHAPES if "IRuntimeConfig" in path.read_text(encoding="utf-8")}
    assert with_it == {"10.13.3", "10.16.0", "11.4.1"}
