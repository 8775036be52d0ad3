"""Build an engine on the device it is for, with nothing but the ``tensorrt`` module that is there.

The types are those in the ONNX file (casts, quantise and dequantise), which every release from 10 takes as a
strongly typed network. Where a release still has weak typing (8.6 to 10), ``weak`` lets builder flags choose
types instead, for a file in float32 with a calibration cache and a list of layers to leave alone beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .. import strict_json
from ..artifact import Artifact
from ..errors import ArtifactError, CheckFailedError, DeviceError, TargetUnavailableError
from ..onnx_nodes import OnnxNode, onnx_nodes
from ..strict_json import printable
from ..tensorrt.cuda import OUT_OF_MEMORY
from ..tensorrt.engines import Capability, name_places, refusals
from ..tensorrt.features import Features
from .build_log import WARNING, BuildLog, kept_by

CACHE_FILE = "calibration.cache"
FLOAT32_LAYERS_FILE = "float32_layers.json"
"""What an artifact in float32 carries for weakly typed builds: ranges, and layers to keep in float32."""
_FORMER_NAME = "wide.json"
"""Of :data:`FLOAT32_LAYERS_FILE` in older bundles."""
MAX_LAYERS_BYTES = 1 << 24

_MEMORY = re.compile(r"out of memory|outofmemory|cuda error 2\b", re.IGNORECASE)
"""What TensorRT writes into its log when memory runs out; it reports that in no other way."""


@dataclass(frozen=True)
class Settings:
    """How to build.

    ``weak`` is the precision that builder flags ask for; ``None`` takes types from the file.
    ``workspace_mib`` bounds what one layer may use (TensorRT's own choice when ``None``); ``capability`` is
    what a TensorRT that builds ahead of time builds for, and others take the device they run on. ``log`` is a
    file that every message of the builder is appended to.
    """

    weak: Literal["fp16", "int8"] | None = None
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    capability: Capability | None = None
    log: Path | None = None


@dataclass
class Built:
    """An engine, the timings learnt for it, and what the builder said (severity, text)."""

    engine: bytes
    timing_cache: bytes | None
    log: list[tuple[int, str]] = field(default_factory=list)


def warnings_in(log: Sequence[tuple[int, str]], nodes: dict[str, OnnxNode] | Any) -> list[str]:
    """Return the warnings and errors of a builder's log, each with the modules it names."""
    texts = []
    for severity, text in log:
        if severity <= WARNING:
            places = name_places(text, nodes)
            texts.append(text + (f" (in {', '.join(places)})" if places else ""))
    return list(dict.fromkeys(texts))


def check_weak(source: Artifact, settings: Settings) -> None:
    """Check that an artifact has what a weakly typed build needs, if one is asked for.

    Raises:
        ArtifactError: it has no ranges, or no list of layers to keep in float32.
    """
    if settings.weak and (CACHE_FILE not in source.passport.files or float32_layers_file(source) is None):
        raise ArtifactError(
            f"{source.path}: has no {CACHE_FILE}, which --weak needs: make the bundle from a float32 "
            "artifact with --table, or build without --weak"
        )


def float32_layers_file(source: Artifact) -> str | None:
    """Return the name of the file that lists the layers to keep in float32, if the artifact has one."""
    names = (FLOAT32_LAYERS_FILE, _FORMER_NAME)
    return next((name for name in names if name in source.passport.files), None)


def build(
    trt: Any,
    features: Features,
    onnx: bytes,
    source: Artifact,
    settings: Settings,
    timing: bytes | None = None,
    log: BuildLog | None = None,
) -> Built:
    """Parse and build in this process, with a given TensorRT module.

    Raises:
        TargetUnavailableError: weak typing, and this release has none.
        ArtifactError: TensorRT refuses the file (names operator and module), or it lacks the ranges.
        CheckFailedError: the builder failed, for example because it ran out of memory.
    """
    if settings.weak and not features.has_weak_typing:
        raise TargetUnavailableError(
            f"{features.product} {features.version} has no weak typing; build without --weak"
        )
    check_weak(source, settings)
    layers_file = float32_layers_file(source)
    log = BuildLog() if log is None else log
    logger = kept_by(trt, log)
    builder = trt.Builder(logger)
    flags = 0
    if not settings.weak and features.has_strong_typing_flag:
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        refused = refusals(parser, onnx_nodes(onnx)) or ["no reason given"]
        raise ArtifactError(f"{source.path}: TensorRT {features.version} refuses {'; '.join(refused[:5])}")
    config = builder.create_builder_config()
    keep = _configure(trt, features, config, source, settings, timing)
    if settings.weak and layers_file is not None:
        names = strict_json.parse(source.read(layers_file, MAX_LAYERS_BYTES))
        keep_in_float32(trt, network, config, names)
    try:
        engine = builder.build_serialized_network(network, config)
    except MemoryError as error:
        raise _gave_up(source, [(1, f"out of memory: {error}")], memory=True) from error
    except DeviceError as error:
        raise _gave_up(source, [(1, str(error))], memory=error.code == OUT_OF_MEMORY) from error
    if engine is None:
        raise _gave_up(source, log.entries())
    del keep
    learnt = config.get_timing_cache() if features.has_timing_cache else None
    return Built(bytes(engine), None if learnt is None else bytes(learnt.serialize()), log.entries())


def _configure(
    trt: Any, features: Features, config: Any, source: Artifact, settings: Settings, timing: bytes | None
) -> list[Any]:
    """Set the builder's options, and return what must stay alive while it works."""
    keep: list[Any] = []
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers keep their names
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa are not float32
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    if features.has_ahead_of_time and settings.capability is not None:
        config.num_compute_capabilities = 1
        name = "SM{}{}".format(*settings.capability)
        config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)
    if features.has_timing_cache:
        cache = config.create_timing_cache(timing or b"")
        keep.append(cache)
        if not config.set_timing_cache(cache, False):  # of another device or release
            cache = config.create_timing_cache(b"")
            keep.append(cache)
            config.set_timing_cache(cache, False)
    if settings.weak:
        config.set_flag(trt.BuilderFlag.FP16)
    if settings.weak == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
        config.int8_calibrator = calibrator = cached_calibrator(trt, source.read(CACHE_FILE, 1 << 26))
        keep.append(calibrator)
    return keep


def mark_float32(trt: Any, network: Any, names: Iterable[str]) -> None:
    """Name float32 as the type of layers, for a weakly typed builder that is told to prefer such types."""
    wanted = set(names)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name in wanted:
            layer.precision = trt.DataType.FLOAT


def keep_in_float32(trt: Any, network: Any, config: Any, names: Iterable[str]) -> None:
    """Ask a weakly typed builder to leave layers in float32."""
    mark_float32(trt, network, names)
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)


def cached_calibrator(trt: Any, cache: bytes) -> Any:
    """Return a calibrator that has nothing but a finished cache."""

    class Cached(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Any) -> None:
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, data: Any) -> None:
            return None

    return Cached()


def _gave_up(source: Artifact, log: list[tuple[int, str]], *, memory: bool | None = None) -> CheckFailedError:
    """Return the error for a failed build; without ``memory`` the log tells whether memory ran out."""
    errors = [text for severity, text in log if severity < WARNING]
    if memory is None:
        memory = any(_MEMORY.search(text) for text in errors)
    advice = "; close other programs, or limit it with --workspace" if memory else ""
    first = printable(errors[0])[:300] if errors else "the builder gave no reason"
    what = "ran out of memory" if memory else "gave up"
    return CheckFailedError(f"{source.path}: TensorRT {what}: {first}{advice}")
