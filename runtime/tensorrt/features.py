"""What the TensorRTs can do, as features: the one place that knows their versions.

Two products share one API: *tensorrt* (10.3 on JetPack 6, 10.13 on JetPack 7, 11 on desktops) and
*tensorrt-rtx* (ahead of time, versions of its own). All other code asks ``features.has_weak_typing``, never
for a version. A feature follows from product and version, and is on only if the module at hand has what it
stands for (``attributes``), so that what a release removed cannot be called.

Sources: [migration] docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration (tensorrt-10x-to-11x-python-
api-reference), [releases] github.com/NVIDIA/TensorRT/releases, [bindings] github.com/NVIDIA/TensorRT,
python/src/infer/pyCore.cpp, [rtx] docs.nvidia.com/deeplearning/tensorrt-rtx, and the module itself, 1.7.1.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

Product = Literal["tensorrt", "tensorrt-rtx"]
Version = tuple[int, ...]

MODULES: dict[Product, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Product -> the module that Python knows it by."""

RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX builds for ahead of time: the members of its ``ComputeCapability``."""

_NEVER: tuple[Version, Version] = ((), ())
_EVER: Version = (9999,)


@dataclass(frozen=True)
class Feature:
    """One difference.

    ``classic`` and ``rtx`` are the versions (first that has it, first that has it no more; the same twice:
    none). ``attributes`` are names in the module, with dots, that exist exactly where the feature does.
    """

    classic: tuple[Version, Version]
    rtx: tuple[Version, Version]
    attributes: tuple[str, ...]
    source: str

    def within(self, product: Product, version: Version) -> bool:
        """Whether a release has it, by its version."""
        first, end = self.classic if product == "tensorrt" else self.rtx
        return first <= version < end


FEATURES: dict[str, Feature] = {
    "has_weak_typing": Feature(
        ((8, 0), (11, 0)),
        _NEVER,
        (
            "BuilderFlag.FP16",
            "BuilderFlag.INT8",
            "IBuilderConfig.int8_calibrator",
            "IInt8EntropyCalibrator2",
        ),
        "[migration] BuilderFlag.FP16, INT8 and IBuilderConfig.int8_calibrator removed in 11.0",
    ),
    "has_strong_typing_flag": Feature(
        ((9, 1), _EVER),
        ((1, 0), _EVER),
        ("NetworkDefinitionCreationFlag.STRONGLY_TYPED",),
        "[migration] kept in 11, where it is always on",
    ),
    "has_native_dft": Feature(
        ((11, 2), _EVER),
        _NEVER,
        (),  # a plugin of the library, not a name in the module
        "[releases] v11.2: FFTPlugin for the ONNX DFT operator; its source takes float16 and bfloat16 only "
        "for extents that are powers of two. TensorRT-RTX 1.7.1: 'Plugin not found'",
    ),
    "has_ahead_of_time": Feature(
        _NEVER,
        ((1, 0), _EVER),
        ("ComputeCapability", "IBuilderConfig.set_compute_capability"),
        "[rtx] engines for compute capabilities that are named, on a machine without a GPU",
    ),
    "has_quick_plugins": Feature(
        ((10, 6), _EVER),
        ((1, 0), _EVER),
        ("IPluginV3QuickCore",),
        "[releases] v10.6: quickly deployable Python plugins, so not on JetPack 6",
    ),
    "has_timing_cache": Feature(
        ((8, 0), _EVER),
        _NEVER,
        (),  # the names exist in RTX too, and do nothing
        "[bindings] 'Timing cache operations are no-ops in TensorRT-RTX', deprecated there in 1.2",
    ),
    "has_runtime_cache": Feature(
        _NEVER,
        ((1, 0), _EVER),
        ("IRuntimeCache", "IRuntimeConfig.create_runtime_cache"),
        "[rtx] IRuntimeCache: kernels compiled on the device, kept for the next time",
    ),
    "has_engine_validity": Feature(
        _NEVER,
        ((1, 1), _EVER),
        ("Runtime.get_engine_validity",),
        "[rtx] tells from an engine's header whether this device takes it",
    ),
}
"""Every difference that the code asks for."""


@dataclass(frozen=True)
class Features:
    """The features of one TensorRT, each true or false."""

    product: Product
    version: str
    has_weak_typing: bool
    has_strong_typing_flag: bool
    has_native_dft: bool
    has_ahead_of_time: bool
    has_quick_plugins: bool
    has_timing_cache: bool
    has_runtime_cache: bool
    has_engine_validity: bool

    def to_dict(self) -> dict[str, bool]:
        """Return feature -> whether it is there."""
        return {name: getattr(self, name) for name in FEATURES}


def features_of(product: Product, version: str) -> Features:
    """Return what a release has by its version, such as ``10.3.0.30``."""
    numbers = parse_version(version)
    has = {name: feature.within(product, numbers) for name, feature in FEATURES.items()}
    return Features(product=product, version=version, **has)


def features_of_module(module: ModuleType | Any) -> Features:
    """Return what a module has: what its version says, without what is not in it."""
    promised = features_of(product_of(module), str(module.__version__))
    missing: dict[str, Any] = {
        name: False for name, attributes in _absent(module).items() if attributes and getattr(promised, name)
    }
    return dataclasses.replace(promised, **missing)


def mismatches(module: ModuleType | Any) -> list[str]:
    """Say where a module is not what its version lets one expect; empty if the table above is right."""
    promised = features_of(product_of(module), str(module.__version__))
    problems = []
    for name, absent in _absent(module).items():
        attributes = FEATURES[name].attributes
        if getattr(promised, name) and absent:
            problems.append(f"{name} should be in {promised.product} {promised.version}; lacks {absent}")
        elif not getattr(promised, name) and attributes and len(absent) < len(attributes):
            present = [attribute for attribute in attributes if attribute not in absent]
            problems.append(f"{name} should not be in {promised.product} {promised.version}; has {present}")
    return problems


def product_of(module: ModuleType | Any) -> Product:
    """Return the product that a module belongs to."""
    return "tensorrt-rtx" if str(module.__name__).startswith(MODULES["tensorrt-rtx"]) else "tensorrt"


def parse_version(version: str) -> Version:
    """Return the leading numbers: ``10.3.0.30+cuda12`` -> (10, 3, 0, 30)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _absent(module: ModuleType | Any) -> dict[str, list[str]]:
    return {
        name: [attribute for attribute in feature.attributes if not _has(module, attribute)]
        for name, feature in FEATURES.items()
    }


def _has(module: ModuleType | Any, path: str) -> bool:
    place: Any = module
    for part in path.split("."):
        if not hasattr(place, part):
            return False
        place = getattr(place, part)
    return True
